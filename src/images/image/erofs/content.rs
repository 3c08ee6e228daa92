//! What files, directories and links hold.

use super::Erofs;
use super::index::Map;
use super::inode::{Layout, Own};
use crate::base::bytes::{u16_at, u32_at};
use crate::images::image::tree::Content;
use anyhow::{Context, Result, ensure};
use std::rc::Rc;

/// A chunk that is a hole.
const NOWHERE: u32 = u32::MAX;

/// Entries for chunks that are read at once, and so the holes that are found in one go.
const CHUNKS: u64 = 512;

/// An inode and where its content is.
pub(super) struct File {
    pub(super) own: Own,
    place: Place,
}

enum Place {
    /// From this byte of the disk on.
    Plain(u64),
    /// The same, up to a byte of the file; the rest lies behind the inode.
    Inline(u64, u64),
    Chunks(Chunks),
    Compressed(Map),
}

/// Chunks of equal size, each with its own place.
struct Chunks {
    /// Bytes of a chunk.
    size: u64,
    /// The byte of the disk with the first entry, and bytes of an entry.
    at: u64,
    entry: u64,
}

/// A file that is being read.
pub(super) struct Open<'a> {
    fs: &'a Erofs,
    file: Rc<File>,
}

impl Content for Open<'_> {
    fn fill(&mut self, buffer: &mut [u8], at: u64) -> Result<()> {
        self.fs.fill(&self.file, buffer, at)
    }

    fn hole(&self, at: u64) -> Option<u64> {
        let Place::Chunks(chunks) = &self.file.place else {
            return None;
        };
        let first = at / chunks.size;
        let last = self.file.own.size.div_ceil(chunks.size);
        let entries = self.fs.chunks(chunks, first, last).ok()?;
        let holes = entries.iter().take_while(|block| **block == NOWHERE);
        let count = holes.count() as u64;
        (count > 0).then(|| (first + count) * chunks.size)
    }
}

impl Erofs {
    /// The content of `own`.
    pub(super) fn open(&self, own: &Own) -> Result<Open<'_>> {
        Ok(Open {
            fs: self,
            file: Rc::new(self.file(own)?),
        })
    }

    /// The inode with the ends of files; its map is made once.
    pub(super) fn packed(&self) -> Result<Rc<File>> {
        let number = self.sb.packed.context("there are no ends of files")?;
        if let Some(file) = &*self.packed.borrow() {
            return Ok(Rc::clone(file));
        }
        let own = self.own(number)?;
        let file = Rc::new(self.file(&own)?);
        *self.packed.borrow_mut() = Some(Rc::clone(&file));
        Ok(file)
    }

    /// Finds the content of `own`.
    fn file(&self, own: &Own) -> Result<File> {
        let place = match own.layout {
            Layout::Plain => Place::Plain(self.block_at(own.value)),
            Layout::Inline => {
                let block = self.sb.block;
                let last = own.size.div_ceil(block).saturating_sub(1) * block;
                Place::Inline(self.block_at(own.value), last)
            }
            Layout::Chunks => {
                let form = own.value & 0xffff;
                let log = self.sb.block_log + (form & 0x1f);
                ensure!(
                    form & !0x3f == 0,
                    "its chunks are of the unknown form {form:#x}"
                );
                let entry = if form & 0x20 != 0 { 8 } else { 4 };
                Place::Chunks(Chunks {
                    size: 1 << log,
                    at: own.end().next_multiple_of(entry),
                    entry,
                })
            }
            Layout::Full | Layout::Compact => Place::Compressed(self.map(own)?),
        };
        Ok(File {
            own: own.clone(),
            place,
        })
    }

    /// The byte of the disk at which a block begins.
    pub(super) fn block_at(&self, block: u32) -> u64 {
        u64::from(block) << self.sb.block_log
    }

    /// Fills `buffer` with the content from byte `at` on.
    pub(super) fn fill(&self, file: &File, buffer: &mut [u8], at: u64) -> Result<()> {
        let end = at.checked_add(buffer.len() as u64);
        let end = end.filter(|end| *end <= file.own.size);
        let end = end.context("a file is read beyond its end")?;
        let mut read = || match &file.place {
            Place::Plain(start) => self.read_from(*start, at, buffer),
            Place::Inline(start, last) => {
                let before = usize::try_from(end.min(*last).saturating_sub(at))?;
                let (blocks, rest) = buffer.split_at_mut(before);
                self.read_from(*start, at, blocks)?;
                self.read_from(file.own.end(), at.max(*last) - last, rest)
            }
            Place::Chunks(chunks) => self.fill_chunks(chunks, buffer, at),
            Place::Compressed(map) => self.fill_compressed(file, map, buffer, at),
        };
        read().with_context(|| format!("reading inode {}", file.own.number))
    }

    /// Fills `buffer` from the byte `at` behind byte `start` of the disk on.
    fn read_from(&self, start: u64, at: u64, buffer: &mut [u8]) -> Result<()> {
        if buffer.is_empty() {
            return Ok(());
        }
        let at = start.checked_add(at).context("a file has no place")?;
        self.read(at, buffer)
    }

    /// The first blocks of the chunks from `first` on, up to `end`, or as many as are looked at
    /// in one go.
    fn chunks(&self, chunks: &Chunks, first: u64, end: u64) -> Result<Vec<u32>> {
        let count = end.saturating_sub(first).min(CHUNKS);
        let mut bytes = vec![0; usize::try_from(count * chunks.entry)?];
        let at = first.checked_mul(chunks.entry);
        self.read_from(chunks.at, at.context("finding a chunk")?, &mut bytes)?;
        let blocks = bytes.chunks_exact(usize::try_from(chunks.entry)?);
        blocks
            .map(|entry| {
                if entry.len() == 4 {
                    return Ok(u32_at(entry, 0));
                }
                let (device, block) = (u16_at(entry, 2), u32_at(entry, 4));
                ensure!(
                    device == 0 || block == NOWHERE,
                    "a chunk is on another device"
                );
                Ok(block)
            })
            .collect()
    }

    fn fill_chunks(&self, chunks: &Chunks, buffer: &mut [u8], at: u64) -> Result<()> {
        let end = at + buffer.len() as u64;
        let (mut at, mut rest) = (at, buffer);
        while !rest.is_empty() {
            let first = at / chunks.size;
            for block in self.chunks(chunks, first, end.div_ceil(chunks.size))? {
                let inside = at % chunks.size;
                let length = usize::try_from((chunks.size - inside).min(rest.len() as u64))?;
                let (part, left) = rest.split_at_mut(length);
                if block == NOWHERE {
                    part.fill(0);
                } else {
                    self.read_from(self.block_at(block), inside, part)?;
                }
                at += length as u64;
                rest = left;
            }
        }
        Ok(())
    }
}
