//! What files, directories and links hold.

use super::map::{Extent, Walk};
use super::{Ext4, Inode, Kind};
use crate::base::bytes::{u16_at, u32_at};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;

const EXTENTS_FLAG: u32 = 0x8_0000;
const INLINE_FLAG: u32 = 0x1000_0000;

/// Bytes of a directory, and names in it, that are read.
const LARGEST_DIRECTORY: u64 = 16 << 20;
const MOST_NAMES: usize = 250_000;

/// Where the content is.
pub(super) enum Content {
    /// In the inode itself and in its attributes.
    Inside(Vec<u8>),
    Mapped(Vec<Extent>),
}

impl Content {
    /// The end of the hole at byte `at`, or `None` if there is data.
    fn hole(&self, block: u64, at: u64) -> Option<u64> {
        let Self::Mapped(map) = self else {
            return None;
        };
        let at_block = at / block;
        let first = map.partition_point(|e| e.logical + e.count <= at_block);
        let next = map[first..].iter().find(|e| e.physical.is_some());
        match next {
            None => Some(u64::MAX),
            Some(extent) if extent.logical <= at_block => None,
            Some(extent) => Some(extent.logical * block),
        }
    }
}

impl Ext4 {
    /// Names and inode numbers in a directory, without `.` and `..`, in byte order.
    pub(crate) fn list(&self, directory: &Inode) -> Result<BTreeMap<Vec<u8>, u32>> {
        ensure!(directory.kind == Kind::Directory, "it is not a directory");
        let number = directory.number;
        let mut names = BTreeMap::new();
        let content = self
            .content(directory)
            .with_context(|| format!("reading directory {number}"))?;
        if let Content::Inside(bytes) = &content {
            // The parent's number, entries in the inode, and entries among the attributes.
            let bytes = bytes.get(4..).unwrap_or_default();
            let (first, second) = bytes.split_at(bytes.len().min(super::INSIDE - 4));
            entries(first, number, &mut names)?;
            entries(second, number, &mut names)?;
            return Ok(names);
        }
        let bytes = self.whole(directory, &content, LARGEST_DIRECTORY)?;
        for block in bytes.chunks_exact(usize::try_from(self.sb.block)?) {
            entries(block, number, &mut names)?;
        }
        Ok(names)
    }

    /// The content of the file at `path`, symbolic links followed; `None` without a file. An
    /// error if it is encrypted or has more than `limit` bytes.
    pub(crate) fn file(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        match self.lookup(path)? {
            Some(inode) if inode.kind == Kind::File => {
                let read = || {
                    ensure!(!inode.is_encrypted(), "it is encrypted");
                    self.read(&inode, limit)
                };
                let read = read().with_context(|| format!("reading {path} in the image"))?;
                Ok(Some(read))
            }
            _ => Ok(None),
        }
    }

    /// The whole content of a file, or the target of a symbolic link, of at most `limit` bytes.
    pub(crate) fn read(&self, inode: &Inode, limit: u64) -> Result<Vec<u8>> {
        self.whole(inode, &self.content(inode)?, limit)
    }

    fn whole(&self, inode: &Inode, content: &Content, limit: u64) -> Result<Vec<u8>> {
        ensure!(
            inode.size <= limit,
            "inode {} has {} bytes, more than the {limit} that it can sensibly have",
            inode.number,
            inode.size
        );
        let mut bytes = vec![0; usize::try_from(inode.size)?];
        self.fill(inode, content, &mut bytes, 0)?;
        Ok(bytes)
    }

    /// Whether two files, of this and perhaps another file system, have the same content.
    pub(crate) fn same(&self, inode: &Inode, other: &Self, inode2: &Inode) -> Result<bool> {
        if inode.size != inode2.size {
            return Ok(false);
        }
        let (content, content2) = (self.content(inode)?, other.content(inode2)?);
        let mut buffers = (vec![0; 1 << 20], vec![0; 1 << 20]);
        let mut at = 0;
        while at < inode.size {
            let holes = (
                content.hole(self.sb.block, at),
                content2.hole(other.sb.block, at),
            );
            if let (Some(end), Some(end2)) = holes {
                at = end.min(end2).min(inode.size);
                continue;
            }
            let length = usize::try_from((inode.size - at).min(1 << 20))?;
            let (a, b) = (&mut buffers.0[..length], &mut buffers.1[..length]);
            self.fill(inode, &content, a, at)?;
            other.fill(inode2, &content2, b, at)?;
            if a != b {
                return Ok(false);
            }
            at += length as u64;
        }
        Ok(true)
    }

    fn content(&self, inode: &Inode) -> Result<Content> {
        let flags = inode.flags();
        if flags & INLINE_FLAG != 0 {
            let mut bytes = inode.inside().to_vec();
            let more = self.attributes(inode)?.remove("system.data");
            bytes.extend(more.unwrap_or_default());
            if inode.kind != Kind::Directory {
                bytes.resize(usize::try_from(inode.size.min(1 << 20))?, 0);
                ensure!(bytes.len() as u64 == inode.size, "its size is damaged");
            }
            return Ok(Content::Inside(bytes));
        }
        let extents = flags & EXTENTS_FLAG != 0;
        if !extents && inode.kind == Kind::Symlink && inode.size < super::INSIDE as u64 {
            let bytes = inode.inside()[..usize::try_from(inode.size)?].to_vec();
            return Ok(Content::Inside(bytes));
        }
        let walk = Walk::new(self);
        let map = if extents {
            walk.extents(inode)
        } else {
            walk.blocks(inode)
        };
        map.map(Content::Mapped)
            .with_context(|| format!("following inode {}", inode.number))
    }

    /// Fills `buffer` with the content from byte `at` on; it must not end beyond the file.
    fn fill(&self, inode: &Inode, content: &Content, buffer: &mut [u8], at: u64) -> Result<()> {
        let map = match content {
            Content::Inside(bytes) => {
                let from = usize::try_from(at)?;
                let part = bytes.get(from..from + buffer.len());
                buffer.copy_from_slice(part.context("reading data in an inode")?);
                return Ok(());
            }
            Content::Mapped(map) => map,
        };
        buffer.fill(0);
        let (block, end) = (self.sb.block, at + buffer.len() as u64);
        let skipped = map.partition_point(|e| (e.logical + e.count) * block <= at);
        for extent in map[skipped..]
            .iter()
            .take_while(|e| e.logical * block < end)
        {
            let first = extent.logical * block;
            let last = first + extent.count * block;
            let (from, to) = (first.max(at), last.min(end));
            if let (Some(physical), true) = (extent.physical, from < to) {
                let part = usize::try_from(from - at)?..usize::try_from(to - at)?;
                self.disk
                    .read_at(&mut buffer[part], physical * block + (from - first))
                    .with_context(|| format!("reading inode {}", inode.number))?;
            }
        }
        Ok(())
    }
}

/// Adds the entries in one block of directory `number`.
fn entries(block: &[u8], number: u32, names: &mut BTreeMap<Vec<u8>, u32>) -> Result<()> {
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
            "directory {number} is damaged"
        );
        let name = &entry[8..8 + name_length];
        // Unused entries, and the index and checksum blocks that look like some.
        if u32_at(entry, 0) != 0 && !matches!(name, b"" | b"." | b"..") {
            ensure!(
                !name.contains(&b'/') && !name.contains(&0),
                "directory {number} has a name that no file can have"
            );
            ensure!(
                names.len() < MOST_NAMES,
                "directory {number} has more than {MOST_NAMES} names"
            );
            names.insert(name.to_vec(), u32_at(entry, 0));
        }
        at += length;
    }
    Ok(())
}
