//! Reading ext4 without mounting it.
//!
//! Own code, because a comparison of images needs what the read-only crates leave out:
//! extended attributes, inode numbers (for hard links) and device numbers. Format: the
//! kernel's Documentation/filesystems/ext4 (super.rst, group_descr.rst, inodes.rst,
//! ifork.rst, directory.rst, attributes.rst); numbers are little-endian. Only what mke2fs
//! makes is understood: files made of extents, and a journal that need not be replayed.

use super::disk::Slice;
use super::table::uuid;
use super::xattr;
use crate::base::bytes::{u16_at, u32_at};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;

/// Inode number of `/`.
pub(crate) const ROOT: u32 = 2;

const INCOMPAT_RECOVER: u32 = 0x4;
const INCOMPAT_64BIT: u32 = 0x80;
/// What needs nothing of a reader, or is done here: file types in directories, extents,
/// 64 bits, flexible groups, attributes in inodes, checksum seeds, large directories.
const INCOMPAT_KNOWN: u32 = 0x2 | 0x40 | INCOMPAT_64BIT | 0x200 | 0x400 | 0x2000 | 0x4000;
const EXTENTS_FLAG: u32 = 0x8_0000;

/// An ext4 file system in an image.
pub(crate) struct Ext4 {
    disk: Slice,
    block: u64,
    blocks: u64,
    free_blocks: u64,
    inodes: u32,
    inodes_per_group: u32,
    inode_size: usize,
    /// First byte of each group's inode table.
    tables: Vec<u64>,
    pub(crate) label: String,
    pub(crate) uuid: String,
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

/// A stretch of a file's blocks: the first one in the file, how many, the first one on the
/// disk; `None` if allocated but never written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    logical: u64,
    count: u64,
    physical: Option<u64>,
}

impl Ext4 {
    /// Opens the file system in `disk`.
    pub(crate) fn open(disk: Slice) -> Result<Self> {
        let mut s = [0; 1024];
        disk.read_at(&mut s, 1024)
            .context("reading the superblock")?;
        ensure!(u16_at(&s, 0x38) == 0xef53, "there is no ext4");
        let incompatible = u32_at(&s, 0x60);
        if incompatible & INCOMPAT_RECOVER != 0 {
            bail!("the ext4 was not unmounted cleanly; run e2fsck on it first");
        }
        let unknown = incompatible & !INCOMPAT_KNOWN;
        ensure!(unknown == 0, "the ext4 has unknown features {unknown:#x}");
        let wide = incompatible & INCOMPAT_64BIT != 0;
        let high = |at| {
            if wide {
                u64::from(u32_at(&s, at)) << 32
            } else {
                0
            }
        };
        let log = u32_at(&s, 0x18);
        ensure!(log <= 6, "the ext4's block size is out of range");
        let mut ext4 = Self {
            block: 1024 << log,
            blocks: u64::from(u32_at(&s, 4)) | high(0x150),
            free_blocks: u64::from(u32_at(&s, 0x0c)) | high(0x158),
            inodes: u32_at(&s, 0),
            inodes_per_group: u32_at(&s, 0x28),
            inode_size: usize::from(u16_at(&s, 0x58)),
            tables: Vec::new(),
            label: text(&s[0x78..0x88]),
            uuid: uuid(&s[0x68..0x78]),
            disk,
        };
        let (first, per_group) = (u32_at(&s, 0x14), u32_at(&s, 0x20));
        ensure!(
            ext4.inode_size >= 128 && ext4.inodes_per_group > 0 && per_group > 0,
            "the ext4's superblock is damaged"
        );
        let width = if wide {
            u64::from(u16_at(&s, 0xfe)).max(32)
        } else {
            32
        };
        let groups = (ext4.blocks.saturating_sub(u64::from(first))).div_ceil(u64::from(per_group));
        for group in 0..groups {
            let mut d = [0; 64];
            let length = usize::try_from(width.min(64))?;
            let at = (u64::from(first) + 1) * ext4.block + group * width;
            ext4.disk
                .read_at(&mut d[..length], at)
                .context("reading the group descriptors")?;
            let table = u64::from(u32_at(&d, 8)) | u64::from(u32_at(&d, 0x28)) << 32;
            ext4.tables.push(table * ext4.block);
        }
        Ok(ext4)
    }

    /// Bytes of the file system.
    pub(crate) fn size(&self) -> u64 {
        self.blocks * self.block
    }

    /// Bytes not in use.
    pub(crate) fn free(&self) -> u64 {
        self.free_blocks * self.block
    }

    /// The inode `number`.
    pub(crate) fn inode(&self, number: u32) -> Result<Inode> {
        ensure!(
            number >= 1 && number <= self.inodes,
            "inode {number} is out of range"
        );
        let (group, index) = (
            (number - 1) / self.inodes_per_group,
            (number - 1) % self.inodes_per_group,
        );
        let table = self
            .tables
            .get(group as usize)
            .context("finding an inode's group")?;
        let mut raw = vec![0; self.inode_size];
        self.disk
            .read_at(&mut raw, table + u64::from(index) * self.inode_size as u64)
            .with_context(|| format!("reading inode {number}"))?;
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

    /// Names and inode numbers in a directory, without `.` and `..`, in byte order.
    pub(crate) fn list(&self, directory: &Inode) -> Result<BTreeMap<Vec<u8>, u32>> {
        ensure!(directory.kind == Kind::Directory, "it is not a directory");
        let bytes = self.read(directory)?;
        let mut names = BTreeMap::new();
        for block in bytes.chunks_exact(usize::try_from(self.block)?) {
            let mut at = 0;
            while at + 8 <= block.len() {
                let entry = &block[at..];
                // 65 535 and 0 stand for a whole block of 64 KiB.
                let length = match u16_at(entry, 4) {
                    0 | 0xffff => block.len(),
                    length => usize::from(length),
                };
                let name_length = usize::from(entry[6]);
                ensure!(
                    length >= 8 && length <= entry.len() && 8 + name_length <= length,
                    "directory inode {} is damaged",
                    directory.number
                );
                let name = &entry[8..8 + name_length];
                // Unused entries, and the index and checksum blocks that look like some.
                if u32_at(entry, 0) != 0 && !matches!(name, b"" | b"." | b"..") {
                    names.insert(name.to_vec(), u32_at(entry, 0));
                }
                at += length;
            }
        }
        Ok(names)
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
            let target = self.read(&inode)?;
            if target.starts_with(b"/") {
                parents.truncate(1);
            }
            rest.extend(split(&target));
        }
        Ok(parents.pop())
    }

    /// The content of the file at `path`, symbolic links followed; `None` without a file.
    pub(crate) fn file(&self, path: &str) -> Result<Option<Vec<u8>>> {
        match self.lookup(path)? {
            Some(inode) if inode.kind == Kind::File => Ok(Some(
                self.read(&inode)
                    .with_context(|| format!("reading {path} in the image"))?,
            )),
            _ => Ok(None),
        }
    }

    /// The whole content of a file or directory, or the target of a symbolic link.
    pub(crate) fn read(&self, inode: &Inode) -> Result<Vec<u8>> {
        let size = usize::try_from(inode.size)?;
        ensure!(
            inode.size <= self.size(),
            "inode {} is too large",
            inode.number
        );
        let mut bytes = vec![0; size];
        self.read_at(inode, &self.map(inode)?, &mut bytes, 0)?;
        Ok(bytes)
    }

    /// Whether two files, of this and perhaps another file system, have the same content.
    pub(crate) fn same(&self, inode: &Inode, other: &Self, inode2: &Inode) -> Result<bool> {
        if inode.size != inode2.size {
            return Ok(false);
        }
        let (map, map2) = (self.map(inode)?, other.map(inode2)?);
        let mut buffers = (vec![0; 1 << 20], vec![0; 1 << 20]);
        let mut at = 0;
        while at < inode.size {
            if let Some(end) = hole(&map, self.block, at).min(hole(&map2, other.block, at)) {
                at = end.min(inode.size);
                continue;
            }
            let length = usize::try_from((inode.size - at).min(1 << 20))?;
            let (a, b) = (&mut buffers.0[..length], &mut buffers.1[..length]);
            self.read_at(inode, &map, a, at)?;
            other.read_at(inode2, &map2, b, at)?;
            if a != b {
                return Ok(false);
            }
            at += length as u64;
        }
        Ok(true)
    }

    /// Major and minor number of a device.
    pub(crate) fn device(inode: &Inode) -> (u32, u32) {
        let (old, new) = (u32_at(&inode.raw, 0x28), u32_at(&inode.raw, 0x2c));
        if old != 0 {
            (old >> 8 & 0xff, old & 0xff)
        } else {
            (new >> 8 & 0xfff, new & 0xff | new >> 12 & 0xf_ff00)
        }
    }

    /// Extended attributes by their full names.
    pub(crate) fn attributes(&self, inode: &Inode) -> Result<BTreeMap<String, Vec<u8>>> {
        let large = |number| self.read(&self.inode(number)?);
        let mut found = BTreeMap::new();
        if self.inode_size > 128 + 4 {
            let extra = 128 + usize::from(u16_at(&inode.raw, 0x80));
            if let Some(area) = inode.raw.get(extra..) {
                xattr::in_inode(area, &large, &mut found)?;
            }
        }
        let block = u64::from(u32_at(&inode.raw, 0x68)) | u64::from(u16_at(&inode.raw, 0x76)) << 32;
        if block != 0 {
            let mut bytes = vec![0; usize::try_from(self.block)?];
            self.disk
                .read_at(&mut bytes, block * self.block)
                .context("reading an attribute block")?;
            xattr::in_block(&bytes, &large, &mut found)?;
        }
        Ok(found)
    }

    /// A file's extents in order; none for what lies in the inode itself.
    fn map(&self, inode: &Inode) -> Result<Vec<Extent>> {
        if u32_at(&inode.raw, 0x20) & EXTENTS_FLAG == 0 {
            let inside = inode.size == 0 || (inode.kind == Kind::Symlink && inode.size < 60);
            ensure!(
                inside,
                "inode {} is not made of extents, which only ext2 and ext3 do",
                inode.number
            );
            return Ok(Vec::new());
        }
        let mut extents = Vec::new();
        self.tree(&inode.raw[0x28..0x64], 5, &mut extents)
            .with_context(|| format!("following inode {}", inode.number))?;
        Ok(extents)
    }

    /// Adds the extents below one node of a tree of at most `levels` levels.
    fn tree(&self, node: &[u8], levels: u16, extents: &mut Vec<Extent>) -> Result<()> {
        ensure!(u16_at(node, 0) == 0xf30a, "an extent tree is damaged");
        let (entries, depth) = (usize::from(u16_at(node, 2)), u16_at(node, 6));
        ensure!(
            depth <= levels && 12 + entries * 12 <= node.len(),
            "an extent tree is damaged"
        );
        for entry in node[12..].chunks_exact(12).take(entries) {
            if depth == 0 {
                let count = u64::from(u16_at(entry, 4));
                let physical = u64::from(u32_at(entry, 8)) | u64::from(u16_at(entry, 6)) << 32;
                // Counts above 32 768 mark what was allocated but never written.
                let written = count <= 0x8000;
                extents.push(Extent {
                    logical: u64::from(u32_at(entry, 0)),
                    count: if written { count } else { count - 0x8000 },
                    physical: written.then_some(physical),
                });
            } else {
                let child = u64::from(u32_at(entry, 4)) | u64::from(u16_at(entry, 8)) << 32;
                let mut block = vec![0; usize::try_from(self.block)?];
                self.disk.read_at(&mut block, child * self.block)?;
                self.tree(&block, depth - 1, extents)?;
            }
        }
        Ok(())
    }

    /// Fills `buffer` with the content from byte `at` on; it must not end beyond the file.
    fn read_at(&self, inode: &Inode, map: &[Extent], buffer: &mut [u8], at: u64) -> Result<()> {
        if map.is_empty() && inode.kind == Kind::Symlink && inode.size < 60 {
            buffer.copy_from_slice(&inode.raw[0x28..0x28 + buffer.len()]);
            return Ok(());
        }
        buffer.fill(0);
        let end = at + buffer.len() as u64;
        for extent in map {
            let first = extent.logical * self.block;
            let last = first + extent.count * self.block;
            let (from, to) = (first.max(at), last.min(end));
            if let (Some(physical), true) = (extent.physical, from < to) {
                let part = usize::try_from(from - at)?..usize::try_from(to - at)?;
                self.disk
                    .read_at(&mut buffer[part], physical * self.block + (from - first))
                    .with_context(|| format!("reading inode {}", inode.number))?;
            }
        }
        Ok(())
    }
}

/// The end of the hole at byte `at`, or `None` if there is data.
fn hole(map: &[Extent], block: u64, at: u64) -> Option<u64> {
    let at_block = at / block;
    let next = map
        .iter()
        .filter(|e| e.physical.is_some())
        .find(|e| e.logical + e.count > at_block);
    match next {
        None => Some(u64::MAX),
        Some(extent) if extent.logical <= at_block => None,
        Some(extent) => Some(extent.logical * block),
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
#[path = "ext4_tests.rs"]
mod tests;
