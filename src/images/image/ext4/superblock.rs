//! The superblock of ext2, ext3 and ext4, read once: super.rst in the kernel's
//! Documentation/filesystems/ext4.

use super::text;
use crate::base::bytes::{u16_at, u32_at};
use crate::images::image::table::uuid;
use anyhow::{Result, bail, ensure};

const COMPAT_JOURNAL: u32 = 0x4;
const COMPAT_SPARSE2: u32 = 0x200;
const RO_SPARSE: u32 = 0x1;

const INCOMPAT_RECOVER: u32 = 0x4;
const INCOMPAT_JOURNAL_DEVICE: u32 = 0x8;
const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_64BIT: u32 = 0x80;

/// What needs nothing of a reader, or is done here: file types in directories, descriptors
/// among their groups, extents, 64 bits, protection against two mounts, flexible groups,
/// attributes in inodes, checksum seeds, large directories, data in inodes, encryption (whose
/// bytes can be compared), names without case.
const INCOMPAT_KNOWN: u32 = 0x2
    | INCOMPAT_META_BG
    | 0x40
    | INCOMPAT_64BIT
    | 0x100
    | 0x200
    | 0x400
    | 0x2000
    | 0x4000
    | 0x8000
    | 0x1_0000
    | 0x2_0000;

/// Features that ext2 and ext3 know, too.
const INCOMPAT_OLD: u32 = 0x2 | INCOMPAT_RECOVER | INCOMPAT_META_BG;
const RO_OLD: u32 = 0x1 | 0x2 | 0x4;

/// The facts of a superblock.
pub(crate) struct Superblock {
    /// Bytes of a block.
    pub(super) block: u64,
    pub(super) blocks: u64,
    free_blocks: u64,
    first_block: u64,
    blocks_per_group: u64,
    pub(super) inodes: u32,
    pub(super) inodes_per_group: u32,
    /// Bytes of an inode.
    pub(super) inode_size: usize,
    /// Bytes of a group's descriptor.
    pub(super) descriptor: u64,
    /// First block of descriptors that lie among their groups.
    first_meta: Option<u64>,
    compatible: u32,
    incompatible: u32,
    read_only: u32,
    pub(crate) label: String,
    pub(crate) uuid: String,
}

impl Superblock {
    /// The facts in the 1024 bytes `s`, whose mark was seen.
    ///
    /// # Errors
    /// When no file system can have these numbers.
    pub(super) fn parse(s: &[u8]) -> Result<Self> {
        let (compatible, incompatible, read_only) =
            (u32_at(s, 0x5c), u32_at(s, 0x60), u32_at(s, 0x64));
        let wide = incompatible & INCOMPAT_64BIT != 0;
        let high = |at| {
            if wide {
                u64::from(u32_at(s, at)) << 32
            } else {
                0
            }
        };
        let log = u32_at(s, 0x18);
        ensure!(log <= 6, "its block size is out of range");
        let old = u32_at(s, 0x4c) == 0;
        let meta = incompatible & INCOMPAT_META_BG != 0;
        let found = Self {
            block: 1024 << log,
            blocks: u64::from(u32_at(s, 4)) | high(0x150),
            free_blocks: u64::from(u32_at(s, 0x0c)) | high(0x158),
            first_block: u64::from(u32_at(s, 0x14)),
            blocks_per_group: u64::from(u32_at(s, 0x20)),
            inodes: u32_at(s, 0),
            inodes_per_group: u32_at(s, 0x28),
            // The first revision had no field for it.
            inode_size: if old {
                128
            } else {
                usize::from(u16_at(s, 0x58))
            },
            descriptor: if wide {
                u64::from(u16_at(s, 0xfe)).max(32)
            } else {
                32
            },
            first_meta: meta.then(|| u64::from(u32_at(s, 0x104))),
            compatible,
            incompatible,
            read_only,
            label: text(&s[0x78..0x88]),
            uuid: uuid(&s[0x68..0x78]),
        };
        ensure!(
            (128..=found.block).contains(&(found.inode_size as u64))
                && found.inodes_per_group > 0
                && found.blocks_per_group > 0
                && found.first_block < found.blocks
                && found.descriptor <= found.block,
            "its superblock is damaged"
        );
        Ok(found)
    }

    /// As `mount -t` calls it.
    pub(crate) fn kind(&self) -> &'static str {
        if self.incompatible & !INCOMPAT_OLD != 0 || self.read_only & !RO_OLD != 0 {
            "ext4"
        } else if self.compatible & COMPAT_JOURNAL != 0 {
            "ext3"
        } else {
            "ext2"
        }
    }

    /// Bytes of the file system; the largest number if there is none.
    pub(crate) fn size(&self) -> u64 {
        self.blocks.saturating_mul(self.block)
    }

    /// Bytes not in use.
    pub(crate) fn free(&self) -> u64 {
        self.free_blocks.saturating_mul(self.block).min(self.size())
    }

    /// An error, for a reader of files, unless they can be read from a partition of `room` bytes.
    pub(super) fn check_readable(&self, room: u64) -> Result<()> {
        if self.incompatible & INCOMPAT_JOURNAL_DEVICE != 0 {
            bail!("it is only the journal of another file system");
        }
        if self.incompatible & INCOMPAT_RECOVER != 0 {
            bail!("it was not unmounted cleanly; run e2fsck on it first");
        }
        let unknown = self.incompatible & !INCOMPAT_KNOWN;
        ensure!(unknown == 0, "it has unknown features {unknown:#x}");
        ensure!(
            self.size() <= room,
            "it claims {} bytes, and {room} are there",
            self.size()
        );
        ensure!(
            self.first_meta.is_none() || self.compatible & COMPAT_SPARSE2 == 0,
            "its group descriptors are at places that this command does not know"
        );
        Ok(())
    }

    /// The byte at which a group's descriptor lies.
    pub(super) fn descriptor_at(&self, group: u64) -> u64 {
        // The superblock lies at byte 1024, so in the first or second block, whatever
        // the first data block is.
        let table = 1024 / self.block + 1;
        let per_block = self.block / self.descriptor;
        let (meta, index) = (group / per_block, group % per_block);
        let block = match self.first_meta {
            Some(first) if meta >= first => {
                let head = meta * per_block;
                let backup = u64::from(self.has_superblock(head));
                let at = self.first_block + head.saturating_mul(self.blocks_per_group);
                at + backup
            }
            _ => return table * self.block + group * self.descriptor,
        };
        block.saturating_mul(self.block) + index * self.descriptor
    }

    /// Whether a group begins with a copy of the superblock.
    fn has_superblock(&self, group: u64) -> bool {
        let power = |of: u64| {
            let mut n = of;
            while n < group {
                n *= of;
            }
            n == group
        };
        self.read_only & RO_SPARSE == 0 || group <= 1 || power(3) || power(5) || power(7)
    }
}
