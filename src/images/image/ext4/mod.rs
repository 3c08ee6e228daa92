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
use crate::base::bytes::{u16_at, u32_at};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;

pub(crate) use superblock::Superblock;

/// Inode number of `/`.
pub(crate) const ROOT: u32 = 2;

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

/// What an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    CharDevice,
    BlockDevice,
    Fifo,
    Socket,
}

/// One inode.
#[derive(Debug, Clone)]
pub(crate) struct Inode {
    pub(crate) number: u32,
    pub(crate) kind: Kind,
    /// The lower twelve bits.
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    raw: Vec<u8>,
}

impl Inode {
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

    /// Major and minor number of a device.
    pub(crate) fn device(&self) -> (u32, u32) {
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
    pub(crate) fn inode(&self, number: u32) -> Result<Inode> {
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
        let kind = match mode >> 12 {
            0x1 => Kind::Fifo,
            0x2 => Kind::CharDevice,
            0x4 => Kind::Directory,
            0x6 => Kind::BlockDevice,
            0x8 => Kind::File,
            0xa => Kind::Symlink,
            0xc => Kind::Socket,
            other => bail!("inode {number} is of the unknown type {other:#x}"),
        };
        let wide = |low, high| u32::from(u16_at(&raw, low)) | u32::from(u16_at(&raw, high)) << 16;
        Ok(Inode {
            number,
            kind,
            mode: mode & 0o7777,
            uid: wide(0x02, 0x78),
            gid: wide(0x18, 0x7a),
            size: u64::from(u32_at(&raw, 4)) | u64::from(u32_at(&raw, 0x6c)) << 32,
            raw,
        })
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

    /// The inode at an absolute path; symbolic links are followed. `None` if there is none.
    pub(crate) fn lookup(&self, path: &str) -> Result<Option<Inode>> {
        let mut links = 0;
        let mut parents = vec![self.inode(ROOT)?];
        let mut rest: Vec<Vec<u8>> = split(path.as_bytes());
        while let Some(name) = rest.pop() {
            if name == b".." {
                if parents.len() > 1 {
                    parents.pop();
                }
                continue;
            }
            let here = &parents[parents.len() - 1];
            if here.kind != Kind::Directory {
                return Ok(None);
            }
            let Some(&number) = self.list(here)?.get(&name) else {
                return Ok(None);
            };
            let inode = self.inode(number)?;
            if inode.kind != Kind::Symlink {
                parents.push(inode);
                continue;
            }
            links += 1;
            ensure!(links <= 40, "too many symbolic links in {path}");
            let target = self.target(&inode)?;
            if target.starts_with(b"/") {
                parents.truncate(1);
            }
            rest.extend(split(&target));
        }
        Ok(parents.pop())
    }

    /// Where a symbolic link leads to.
    pub(crate) fn target(&self, link: &Inode) -> Result<Vec<u8>> {
        self.read(link, LONGEST_TARGET)
    }

    /// Extended attributes by their full names.
    pub(crate) fn attributes(&self, inode: &Inode) -> Result<BTreeMap<String, Vec<u8>>> {
        let large = |number| {
            let inode = self.inode(number)?;
            // Such a value never lies in an attribute again.
            ensure!(inode.flags() & 0x1000_0000 == 0, "an attribute is damaged");
            self.read(&inode, LARGEST_ATTRIBUTE)
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

/// A path's components, last one first.
fn split(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|b| *b == b'/')
        .filter(|name| !matches!(*name, b"" | b"."))
        .rev()
        .map(<[u8]>::to_vec)
        .collect()
}

/// Text up to the first zero.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests;
