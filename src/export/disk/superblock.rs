//! The superblock of an ext4, as far as the exporter needs it, where its copies are, and the
//! checksum of everything in the file system. Format: the kernel's
//! Documentation/filesystems/ext4 (super.rst, checksums.rst); numbers are little-endian.

use crate::base::bytes::{u16_at, u32_at};
use anyhow::{Result, ensure};
use std::fs::File;
use std::os::unix::fs::FileExt;

const METADATA_CSUM: u32 = 0x400;
const CSUM_SEED: u32 = 0x2000;
/// The facts of a superblock that lead to the inodes.
pub(super) struct Super {
    /// Bytes of a block.
    pub(super) block: u64,
    pub(super) groups: u64,
    pub(super) blocks_per_group: u64,
    pub(super) first_data_block: u64,
    pub(super) inodes_per_group: u64,
    pub(super) inode_size: usize,
    /// Bytes of a group descriptor.
    pub(super) descriptor: u64,
    /// Blocks kept for more descriptors.
    pub(super) reserved_descriptors: u64,
    pub(super) checksummed: bool,
    pub(super) seed: u32,
}

impl Super {
    /// Reads the superblock of the ext4 at byte `offset` of `file`.
    pub(super) fn read(file: &File, offset: u64) -> Result<Self> {
        let mut s = [0; 1024];
        file.read_exact_at(&mut s, offset + 1024)?;
        ensure!(u16_at(&s, 0x38) == 0xef53, "no ext4 at byte {offset}");
        let block = 1024u64 << u32_at(&s, 0x18);
        let blocks = u64::from(u32_at(&s, 4)) | u64::from(u32_at(&s, 0x150)) << 32;
        let first_data_block = u64::from(u32_at(&s, 0x14));
        let seed = if u32_at(&s, 0x60) & CSUM_SEED != 0 {
            u32_at(&s, 0x270)
        } else {
            crc32c(!0, &s[0x68..0x78])
        };
        Ok(Self {
            block,
            blocks_per_group: u64::from(u32_at(&s, 0x20)),
            groups: (blocks - first_data_block).div_ceil(u64::from(u32_at(&s, 0x20))),
            first_data_block,
            inodes_per_group: u64::from(u32_at(&s, 0x28)),
            inode_size: usize::from(u16_at(&s, 0x58)),
            descriptor: u64::from(u16_at(&s, 0xfe)).max(32),
            reserved_descriptors: u64::from(u16_at(&s, 0xce)),
            checksummed: u32_at(&s, 0x64) & METADATA_CSUM != 0,
            seed,
        })
    }

    /// First block of `group`.
    pub(super) fn start_of(&self, group: u64) -> u64 {
        self.first_data_block + group * self.blocks_per_group
    }
}

/// Whether `group` has a copy of the superblock and the descriptors (`sparse_super`): 0, 1 and
/// powers of 3, 5 and 7.
pub(super) fn has_copy(group: u64) -> bool {
    let power = |of: u64| std::iter::successors(Some(of), move |n| n.checked_mul(of));
    let is_power = |of| power(of).take_while(|n| *n <= group).any(|n| n == group);
    group <= 1 || is_power(3) || is_power(5) || is_power(7)
}

pub(super) fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// CRC-32C (Castagnoli) without the final inversion, as ext4 chains it.
pub(super) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    bytes.iter().fold(seed, |crc, byte| {
        TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8)
    })
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    #[test]
    fn crc32c_check_value() {
        assert_eq!(!super::crc32c(!0, b"123456789"), 0xe306_9283);
    }

    #[test]
    fn groups_with_superblocks() {
        let groups: Vec<_> = (0..30).filter(|group| super::has_copy(*group)).collect();
        assert_eq!(groups, [0, 1, 3, 5, 7, 9, 25, 27]);
    }
}
