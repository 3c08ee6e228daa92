//! What files, directories and links hold.

use super::map::{Extent, Walk};
use super::{Ext4, Own};
use crate::base::bytes::{u16_at, u32_at};
use crate::images::image::tree::names::{self, LARGEST_DIRECTORY};
use crate::images::image::tree::{Content, Kind};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;

const EXTENTS_FLAG: u32 = 0x8_0000;
const INLINE_FLAG: u32 = 0x1000_0000;

/// Where the content is.
pub(super) enum Place {
    /// In the inode itself and in its attributes.
    Inside(Vec<u8>),
    Mapped(Vec<Extent>),
}

impl Place {
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

/// A file that is being read.
pub(super) struct Open<'a> {
    pub(super) fs: &'a Ext4,
    pub(super) inode: Own,
    pub(super) place: Place,
}

impl Content for Open<'_> {
    fn fill(&mut self, buffer: &mut [u8], at: u64) -> Result<()> {
        self.fs.fill(&self.inode, &self.place, buffer, at)
    }

    fn hole(&self, at: u64) -> Option<u64> {
        self.place.hole(self.fs.sb.block, at)
    }
}

impl Ext4 {
    /// Names and inode numbers in a directory, without `.` and `..`, in byte order.
    pub(super) fn names(&self, directory: &Own) -> Result<BTreeMap<Vec<u8>, u64>> {
        ensure!(directory.kind == Kind::Directory, "it is not a directory");
        let number = directory.number;
        let mut names = BTreeMap::new();
        let place = self
            .place(directory)
            .with_context(|| format!("reading directory {number}"))?;
        if let Place::Inside(bytes) = &place {
            // The parent's number, entries in the inode, and entries among the attributes.
            let bytes = bytes.get(4..).unwrap_or_default();
            let (first, second) = bytes.split_at(bytes.len().min(super::INSIDE - 4));
            entries(first, number, &mut names)?;
            entries(second, number, &mut names)?;
            return Ok(names);
        }
        let bytes = self.whole_at(directory, &place, LARGEST_DIRECTORY)?;
        for block in bytes.chunks_exact(usize::try_from(self.sb.block)?) {
            entries(block, number, &mut names)?;
        }
        Ok(names)
    }

    /// The whole content of a file, or the target of a symbolic link, of at most `limit` bytes.
    pub(super) fn whole(&self, inode: &Own, limit: u64) -> Result<Vec<u8>> {
        self.whole_at(inode, &self.place(inode)?, limit)
    }

    fn whole_at(&self, inode: &Own, place: &Place, limit: u64) -> Result<Vec<u8>> {
        ensure!(
            inode.size <= limit,
            "inode {} has {} bytes, more than the {limit} that it can sensibly have",
            inode.number,
            inode.size
        );
        let mut bytes = vec![0; usize::try_from(inode.size)?];
        self.fill(inode, place, &mut bytes, 0)?;
        Ok(bytes)
    }

    /// Where the content of `inode` is.
    pub(super) fn place(&self, inode: &Own) -> Result<Place> {
        let flags = inode.flags();
        if flags & INLINE_FLAG != 0 {
            let mut bytes = inode.inside().to_vec();
            let more = self.attributes_of(inode)?.remove("system.data");
            bytes.extend(more.unwrap_or_default());
            if inode.kind != Kind::Directory {
                bytes.resize(usize::try_from(inode.size.min(1 << 20))?, 0);
                ensure!(bytes.len() as u64 == inode.size, "its size is damaged");
            }
            return Ok(Place::Inside(bytes));
        }
        let extents = flags & EXTENTS_FLAG != 0;
        if !extents && inode.kind == Kind::Symlink && inode.size < super::INSIDE as u64 {
            let bytes = inode.inside()[..usize::try_from(inode.size)?].to_vec();
            return Ok(Place::Inside(bytes));
        }
        let walk = Walk::new(self);
        let map = if extents {
            walk.extents(inode)
        } else {
            walk.blocks(inode)
        };
        map.map(Place::Mapped)
            .with_context(|| format!("following inode {}", inode.number))
    }

    /// Fills `buffer` with the content from byte `at` on; it must not end beyond the file.
    fn fill(&self, inode: &Own, place: &Place, buffer: &mut [u8], at: u64) -> Result<()> {
        let map = match place {
            Place::Inside(bytes) => {
                let from = usize::try_from(at)?;
                let part = bytes.get(from..from + buffer.len());
                buffer.copy_from_slice(part.context("reading data in an inode")?);
                return Ok(());
            }
            Place::Mapped(map) => map,
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
fn entries(block: &[u8], number: u32, names: &mut BTreeMap<Vec<u8>, u64>) -> Result<()> {
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
        if u32_at(entry, 0) != 0 && !name.is_empty() {
            names::add(names, name, u64::from(u32_at(entry, 0)))
                .with_context(|| format!("reading directory {number}"))?;
        }
        at += length;
    }
    Ok(())
}
