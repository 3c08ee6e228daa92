//! Reading ext2, ext3 and ext4 without mounting them.
//!
//! Own code, because a comparison of images needs what the read-only crates leave out:
//! extended attributes, inode numbers (for hard links), device numbers and the space in use
//! (`ext4-view` 1.0 has none of them, and allocates what a superblock claims). Format: the
//! kernel's Documentation/filesystems/ext4 (super.rst, group_descr.rst, inodes.rst,
//! ifork.rst, directory.rst, inlinedata.rst, attributes.rst); numbers are little-endian. A
//! journal that has to be replayed is not.

mod content;
mod map;
mod superblock;
mod xattr;

use super::disk::Slice;
use super::tree::{Content, Inode, Kind, Reader};
use crate::base::bytes::{u16_at, u32_at};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;

pub(crate) use superblock::Superblock;

/// Inode number of `/`.
const ROOT: u32 = 2;

/// Bytes for a map, or for data, in an inode.
const INSIDE: usize = 60;

/// A symbolic link's target, and an attribute that has an inode of its own, bytes.
const LONGEST_TARGET: u64 = 4096;
const LARGEST_ATTRIBUTE: u64 = 64 << 10;

const ENCRYPTED_FLAG: u32 = 0x800;

/// A file system in an image.
pub(crate) struct Ext4 {
    disk: Slice,
    sb: Superblock,
}

/// One inode, and its bytes.
#[derive(Debug, Clone)]
struct Own {
    number: u32,
    kind: Kind,
    size: u64,
    raw: Vec<u8>,
}

impl Own {
    /// The room for a map or for data.
    fn inside(&self) -> &[u8] {
        &self.raw[0x28..0x28 + INSIDE]
    }

    fn flags(&self) -> u32 {
        u32_at(&self.raw, 0x20)
    }

    /// Whether names or content are there only with a key.
    fn is_encrypted(&self) -> bool {
        self.flags() & ENCRYPTED_FLAG != 0
    }

    /// Seconds since 1970; two bits more where the inode has room for them (inodes.rst,
    /// "Inode Timestamps").
    fn mtime(&self) -> i64 {
        let low = i64::from(u32_at(&self.raw, 0x10) as i32);
        let roomy = self.raw.len() > 128 + 12 && u16_at(&self.raw, 0x80) >= 12;
        if roomy {
            low + (i64::from(u32_at(&self.raw, 0x88) & 3) << 32)
        } else {
            low
        }
    }

    /// Major and minor number of a device.
    fn device(&self) -> (u32, u32) {
        let (old, new) = (u32_at(&self.raw, 0x28), u32_at(&self.raw, 0x2c));
        if old != 0 {
            (old >> 8 & 0xff, old & 0xff)
        } else {
            (new >> 8 & 0xfff, new & 0xff | new >> 12 & 0xf_ff00)
        }
    }
}

/// The facts of the file system in `disk`, whether its files can be read or not.
pub(crate) fn superblock(disk: &Slice) -> Result<Superblock> {
    let mut bytes = [0; 1024];
    disk.read_at(&mut bytes, 1024)
        .context("reading the superblock")?;
    ensure!(u16_at(&bytes, 0x38) == 0xef53, "there is no ext4");
    Superblock::parse(&bytes)
}

impl Ext4 {
    /// The file system whose superblock is `sb`.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub(crate) fn new(disk: Slice, sb: Superblock) -> Result<Self> {
        sb.check_readable(disk.size)?;
        Ok(Self { disk, sb })
    }

    /// The inode `number`.
    fn own(&self, number: u32) -> Result<Own> {
        ensure!(
            number >= 1 && number <= self.sb.inodes,
            "inode {number} is out of range"
        );
        let (group, index) = (
            (number - 1) / self.sb.inodes_per_group,
            (number - 1) % self.sb.inodes_per_group,
        );
        let mut raw = vec![0; self.sb.inode_size];
        let mut read = || {
            let table = self.inode_table(u64::from(group))?;
            let at = table.checked_add(u64::from(index) * self.sb.inode_size as u64)?;
            self.disk.read_at(&mut raw, at).ok()
        };
        read().with_context(|| format!("reading inode {number}"))?;
        let mode = u16_at(&raw, 0);
        let kind = Kind::of_mode(mode)
            .with_context(|| format!("inode {number} is of the unknown type {:#x}", mode >> 12))?;
        Ok(Own {
            number,
            kind,
            size: u64::from(u32_at(&raw, 4)) | u64::from(u32_at(&raw, 0x6c)) << 32,
            raw,
        })
    }

    /// The bytes of an inode that has been given out.
    fn again(&self, inode: &Inode) -> Result<Own> {
        self.own(u32::try_from(inode.number).context("finding an inode")?)
    }

    /// First byte of a group's inodes.
    fn inode_table(&self, group: u64) -> Option<u64> {
        let mut d = [0; 64];
        let length = usize::try_from(self.sb.descriptor.min(64)).ok()?;
        self.disk
            .read_at(&mut d[..length], self.sb.descriptor_at(group))
            .ok()?;
        let block = u64::from(u32_at(&d, 8)) | u64::from(u32_at(&d, 0x28)) << 32;
        block.checked_mul(self.sb.block)
    }

    /// One block.
    fn block(&self, number: u64) -> Result<Vec<u8>> {
        let mut block = vec![0; usize::try_from(self.sb.block)?];
        let at = number.checked_mul(self.sb.block);
        self.disk
            .read_at(&mut block, at.context("finding a block")?)
            .with_context(|| format!("reading block {number}"))?;
        Ok(block)
    }

    /// Extended attributes by their full names.
    fn attributes_of(&self, inode: &Own) -> Result<BTreeMap<String, Vec<u8>>> {
        let large = |number| {
            let inode = self.own(number)?;
            // Such a value never lies in an attribute again.
            ensure!(inode.flags() & 0x1000_0000 == 0, "an attribute is damaged");
            self.whole(&inode, LARGEST_ATTRIBUTE)
        };
        let mut found = BTreeMap::new();
        if inode.raw.len() > 128 + 4 {
            let extra = 128 + usize::from(u16_at(&inode.raw, 0x80));
            if let Some(area) = inode.raw.get(extra..) {
                xattr::in_inode(area, &large, &mut found)?;
            }
        }
        let block = u64::from(u32_at(&inode.raw, 0x68)) | u64::from(u16_at(&inode.raw, 0x76)) << 32;
        if block != 0 {
            let bytes = self.block(block).context("reading an attribute block")?;
            xattr::in_block(&bytes, &large, &mut found)?;
        }
        Ok(found)
    }
}

impl Reader for Ext4 {
    fn root(&self) -> u64 {
        u64::from(ROOT)
    }

    fn inode(&self, number: u64) -> Result<Inode> {
        let own = self.own(u32::try_from(number).context("finding an inode")?)?;
        let half = |at| u16_at(&own.raw, at);
        let wide = |low, high| u32::from(half(low)) | u32::from(half(high)) << 16;
        Ok(Inode {
            number,
            kind: own.kind,
            mode: half(0) & 0o7777,
            uid: wide(0x02, 0x78),
            gid: wide(0x18, 0x7a),
            size: own.size,
            mtime: own.mtime(),
            device: match own.kind {
                Kind::CharDevice | Kind::BlockDevice => own.device(),
                _ => (0, 0),
            },
            encrypted: own.is_encrypted(),
        })
    }

    fn list(&self, directory: &Inode) -> Result<BTreeMap<Vec<u8>, u64>> {
        self.names(&self.again(directory)?)
    }

    fn target(&self, link: &Inode) -> Result<Vec<u8>> {
        self.whole(&self.again(link)?, LONGEST_TARGET)
    }

    fn attributes(&self, inode: &Inode) -> Result<BTreeMap<String, Vec<u8>>> {
        self.attributes_of(&self.again(inode)?)
    }

    fn content<'a>(&'a self, file: &Inode) -> Result<Box<dyn Content + 'a>> {
        let inode = self.again(file)?;
        let place = self.place(&inode)?;
        Ok(Box::new(content::Open {
            fs: self,
            inode,
            place,
        }))
    }
}

/// Text up to the first zero.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests;
