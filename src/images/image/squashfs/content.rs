//! What files hold: blocks, each compressed by itself, and for the end of a file perhaps a part
//! of a block of fragments, which it shares with other files.

use super::Squashfs;
use super::inode::Own;
use crate::base::bytes::{u32_at, u64_at};
use crate::images::image::tree::Content;
use anyhow::{Context, Result, ensure};

/// Blocks of a file: 16 GiB in the smallest ones, four terabytes in the largest.
const MOST_BLOCKS: u64 = 1 << 22;

/// Blocks of a hole that are looked at in one go; a longer one is several.
const HOLE: usize = 4096;

/// Bytes of an entry in the table of fragments.
pub(super) const FRAGMENT_ENTRY: usize = 16;

/// Marks a block that is not compressed.
const PLAIN: u32 = 1 << 24;

/// A file that is being read.
pub(super) struct Open<'a> {
    fs: &'a Squashfs,
    size: u64,
    /// The size of each block on the disk, with its mark; 0 is a hole.
    blocks: Vec<u32>,
    /// The byte of the disk at which the first block begins.
    start: u64,
    fragment: Option<(u32, u32)>,
    /// The block at which the reading is, and where it begins on the disk.
    cursor: (usize, u64),
    /// The block that was unpacked last.
    last: Option<(usize, Vec<u8>)>,
}

impl<'a> Open<'a> {
    pub(super) fn new(fs: &'a Squashfs, inode: &Own) -> Result<Self> {
        let block = fs.sb.block as u64;
        let count = if inode.fragment.is_some() {
            inode.size / block
        } else {
            inode.size.div_ceil(block)
        };
        ensure!(count <= MOST_BLOCKS, "it has {count} blocks");
        let (mut place, mut blocks) = (inode.rest.clone(), Vec::new());
        let mut left = usize::try_from(count)?;
        // Piece by piece: what is not there is not allocated.
        let mut piece = [0; 4096];
        while left > 0 {
            let piece = &mut piece[..4 * left.min(1024)];
            fs.fill_metadata(&mut place, piece)?;
            blocks.extend(piece.chunks_exact(4).map(|size| u32_at(size, 0)));
            left -= piece.len() / 4;
        }
        Ok(Self {
            fs,
            size: inode.size,
            blocks,
            start: inode.start,
            fragment: inode.fragment,
            cursor: (0, inode.start),
            last: None,
        })
    }

    /// Where block `index` begins on the disk.
    fn find(&mut self, index: usize) -> Result<u64> {
        if self.cursor.0 > index {
            self.cursor = (0, self.start);
        }
        for size in &self.blocks[self.cursor.0..index] {
            let next = self.cursor.1.checked_add(u64::from(size & !PLAIN));
            self.cursor.1 = next.context("finding a block")?;
        }
        self.cursor.0 = index;
        Ok(self.cursor.1)
    }

    /// Fills `out` with the bytes from `from` on of block `index`.
    fn block(&mut self, index: usize, from: usize, out: &mut [u8]) -> Result<()> {
        let size = self.blocks.get(index).copied();
        if size == Some(0) {
            out.fill(0);
            return Ok(());
        }
        self.fs.disk.work(out.len())?;
        let Some(size) = size else {
            let (index, offset) = self.fragment.context("there is no such block")?;
            let block = self.fs.fragment(index)?;
            return copy(&block, from + offset as usize, out);
        };
        if self.last.as_ref().is_none_or(|(last, _)| *last != index) {
            let at = self.find(index)?;
            self.last = Some((index, self.fs.data_block(at, size)?));
        }
        let block = self.last.as_ref().map(|(_, block)| &block[..]);
        copy(block.unwrap_or_default(), from, out)
    }
}

/// Fills `out` from byte `from` of a block on.
fn copy(block: &[u8], from: usize, out: &mut [u8]) -> Result<()> {
    let part = block.get(from..).and_then(|rest| rest.get(..out.len()));
    out.copy_from_slice(part.context("a block is shorter than it should be")?);
    Ok(())
}

impl Content for Open<'_> {
    fn fill(&mut self, buffer: &mut [u8], at: u64) -> Result<()> {
        let end = at.checked_add(buffer.len() as u64);
        ensure!(
            end.is_some_and(|end| end <= self.size),
            "a file is read beyond its end"
        );
        let block = self.fs.sb.block;
        let mut index = usize::try_from(at / block as u64)?;
        let mut from = usize::try_from(at % block as u64)?;
        let mut rest = buffer;
        while !rest.is_empty() {
            let (part, left) = rest.split_at_mut(rest.len().min(block - from));
            self.block(index, from, part)
                .with_context(|| format!("reading block {index} of a file"))?;
            (rest, index, from) = (left, index + 1, 0);
        }
        Ok(())
    }

    fn hole(&self, at: u64) -> Option<u64> {
        let block = self.fs.sb.block as u64;
        let first = usize::try_from(at / block).ok()?;
        let rest = self.blocks.get(first..)?;
        let holes = rest.iter().take(HOLE).take_while(|size| **size == 0);
        let count = holes.count();
        (count > 0).then(|| (first + count) as u64 * block)
    }
}

impl Squashfs {
    /// A block of fragments.
    fn fragment(&self, index: u32) -> Result<std::rc::Rc<Vec<u8>>> {
        let entry: [u8; FRAGMENT_ENTRY] = self.entry(&self.fragments, index)?;
        let (at, size) = (u64_at(&entry, 0), u32_at(&entry, 8));
        self.data.get(at, || {
            let block = self.data_block(at, size)?;
            let bytes = block.len();
            Ok((block, bytes))
        })
    }

    /// The block of data at byte `at`, of the size and with the mark `size`.
    fn data_block(&self, at: u64, size: u32) -> Result<Vec<u8>> {
        let length = (size & !PLAIN) as usize;
        ensure!(
            (1..=self.sb.block).contains(&length),
            "the block at byte {at} is too large"
        );
        let mut bytes = vec![0; length];
        self.read(at, &mut bytes)
            .with_context(|| format!("reading the block at byte {at}"))?;
        if size & PLAIN != 0 {
            return Ok(bytes);
        }
        self.unpack(&bytes, self.sb.block)
            .with_context(|| format!("reading the block at byte {at}"))
    }
}
