//! Bounding the time stamps inside a finished ext4.
//!
//! `mke2fs -d` copies access and change times from the source tree (before
//! e2fsprogs 1.47.1 without any bound), and nobody can set a change time. Touching
//! the tree instead would copy every file up into an overlay and split hard links.
//! So the inodes are corrected in place. Format: the kernel's
//! Documentation/filesystems/ext4 (super.rst, group_descr.rst, inodes.rst,
//! checksums.rst); numbers are little-endian.

use super::superblock::{Super, crc32c, put};
use crate::base::bytes::{u16_at, u32_at};
use anyhow::{Context, Result};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

const INODE_UNINIT: u16 = 1;

/// Bounds the times of every inode in the ext4 at byte `offset` of `image`: access
/// time becomes modification time, none is later than `epoch` (seconds).
pub(super) fn clamp(image: &Path, offset: u64, epoch: i64) -> Result<()> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(image)
        .with_context(|| format!("opening {}", image.display()))?;
    let sb = Super::read(&file, offset)?;
    let epoch = u32::try_from(epoch.clamp(0, i64::from(i32::MAX)))?;
    let table_start = (sb.first_data_block + 1) * sb.block;
    for group in 0..sb.groups {
        let mut d = [0; 64];
        let length = usize::try_from(sb.descriptor.min(64))?;
        let at = offset + table_start + group * sb.descriptor;
        file.read_exact_at(&mut d[..length], at)?;
        if u16_at(&d, 0x12) & INODE_UNINIT != 0 {
            continue;
        }
        let table = u64::from(u32_at(&d, 8)) | u64::from(u32_at(&d, 0x28)) << 32;
        let unused = u64::from(u16_at(&d, 0x1c)) | u64::from(u16_at(&d, 0x32)) << 16;
        let used = usize::try_from(sb.inodes_per_group.saturating_sub(unused))?;
        let mut inodes = vec![0; used * sb.inode_size];
        let place = offset + table * sb.block;
        file.read_exact_at(&mut inodes, place)?;
        for (index, inode) in inodes.chunks_exact_mut(sb.inode_size).enumerate() {
            let number = u32::try_from(group * sb.inodes_per_group + index as u64 + 1)?;
            clamp_inode(inode, number, epoch, &sb);
        }
        file.write_all_at(&inodes, place)?;
    }
    Ok(())
}

/// Corrects one inode in use, and its checksum.
fn clamp_inode(inode: &mut [u8], number: u32, epoch: u32, sb: &Super) {
    const ATIME: usize = 8;
    const CTIME: usize = 0xc;
    const MTIME: usize = 0x10;
    const CRTIME: usize = 0x90;
    // Each time's fraction and high bits.
    const EXTRA: [(usize, usize); 4] =
        [(CTIME, 0x84), (MTIME, 0x88), (ATIME, 0x8c), (CRTIME, 0x94)];
    if u16_at(inode, 0) == 0 {
        return;
    }
    let extended = sb.inode_size > 128;
    for (time, extra) in EXTRA {
        if time == CRTIME && !extended {
            continue;
        }
        let later = extended && u32_at(inode, extra) & 3 != 0;
        let seconds = u32_at(inode, time);
        let negative = seconds > i32::MAX as u32;
        if later || (!negative && seconds > epoch) {
            put(inode, time, epoch);
        }
        if extended {
            put(inode, extra, 0);
        }
    }
    let modified = u32_at(inode, MTIME);
    put(inode, ATIME, modified);
    if sb.checksummed {
        checksum(inode, number, sb);
    }
}

/// Inode checksum: seed, inode number, generation, the inode with empty sums.
pub(super) fn checksum(inode: &mut [u8], number: u32, sb: &Super) {
    let high = sb.inode_size > 128 && u16_at(inode, 0x80) >= 4;
    inode[0x7c..0x7e].fill(0);
    if high {
        inode[0x82..0x84].fill(0);
    }
    let generation = u32_at(inode, 0x64).to_le_bytes();
    let seed = crc32c(crc32c(sb.seed, &number.to_le_bytes()), &generation);
    let sum = crc32c(seed, inode).to_le_bytes();
    inode[0x7c..0x7e].copy_from_slice(&sum[..2]);
    if high {
        inode[0x82..0x84].copy_from_slice(&sum[2..]);
    }
}
