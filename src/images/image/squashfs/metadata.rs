//! Metadata: inodes, directories and tables lie in blocks of 8 KiB, each compressed by itself.
//! "Metadata" in squashfs.rst.

use super::Squashfs;
use crate::base::bytes::u64_at;
use anyhow::{Context, Result, ensure};
use std::rc::Rc;

/// Bytes of a block of metadata when it is unpacked; only the last one of a table has less.
pub(super) const METADATA: usize = 8192;

/// A block of metadata.
pub(super) struct Block {
    bytes: Vec<u8>,
    /// Where the next one begins on the disk.
    next: u64,
}

/// A place in metadata: the byte of the disk at which a block begins, and a byte of that block.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) block: u64,
    pub(super) offset: usize,
}

impl Place {
    /// The place that is `reference` in the table that begins at byte `table`.
    pub(super) fn of(table: u64, reference: u64) -> Result<Self> {
        let block = table.checked_add(reference >> 16);
        Ok(Self {
            block: block.context("finding a block of metadata")?,
            offset: usize::try_from(reference & 0xffff)?,
        })
    }
}

impl Squashfs {
    /// Fills `buffer` from `place` on, which moves behind what was read.
    pub(super) fn fill_metadata(&self, place: &mut Place, buffer: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            let block = self.metadata_block(place.block)?;
            ensure!(
                place.offset <= block.bytes.len() && !block.bytes.is_empty(),
                "a place in metadata is out of range"
            );
            let rest = &block.bytes[place.offset..];
            let part = rest.len().min(buffer.len() - filled);
            buffer[filled..filled + part].copy_from_slice(&rest[..part]);
            self.disk.work(part)?;
            filled += part;
            place.offset += part;
            if filled < buffer.len() {
                *place = Place {
                    block: block.next,
                    offset: 0,
                };
            }
        }
        Ok(())
    }

    /// The block of metadata at byte `at` of the disk.
    fn metadata_block(&self, at: u64) -> Result<Rc<Block>> {
        let read = || {
            let mut header = [0; 2];
            self.read(at, &mut header)?;
            let header = u16::from_le_bytes(header);
            let (plain, length) = (header & 0x8000 != 0, usize::from(header & 0x7fff));
            ensure!((1..=METADATA).contains(&length), "its size is damaged");
            let mut bytes = vec![0; length];
            self.read(at + 2, &mut bytes)?;
            if !plain {
                bytes = self.unpack(&bytes, METADATA)?;
            }
            let block = Block {
                bytes,
                next: at + 2 + length as u64,
            };
            Ok((block, METADATA))
        };
        self.metadata
            .get(at, read)
            .with_context(|| format!("reading the block of metadata at byte {at}"))
    }

    /// Unpacks a block of at most `most` bytes.
    pub(super) fn unpack(&self, packed: &[u8], most: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; most];
        self.disk.work(most)?;
        let length = self.sb.method.unpack(packed, &mut bytes)?;
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Fills `buffer` from byte `at` of the disk on; an error beyond the file system's end.
    pub(super) fn read(&self, at: u64, buffer: &mut [u8]) -> Result<()> {
        let end = at.checked_add(buffer.len() as u64);
        ensure!(
            end.is_some_and(|end| end <= self.sb.end),
            "it lies beyond the file system's end"
        );
        Ok(self.disk.read_at(buffer, at)?)
    }

    /// Where the blocks of a table of `count` entries, each of `size` bytes, begin: the list of
    /// them is at byte `at`.
    pub(super) fn pointers(&self, at: u64, count: u32, size: usize) -> Result<Vec<u64>> {
        let blocks = (count as usize * size).div_ceil(METADATA);
        // Nothing is allocated that the file system does not have.
        ensure!(
            blocks as u64 * 8 <= self.sb.end,
            "it is larger than the file system"
        );
        let mut list = vec![0; blocks * 8];
        if !list.is_empty() {
            self.read(at, &mut list)?;
        }
        Ok(list.chunks_exact(8).map(|bytes| u64_at(bytes, 0)).collect())
    }

    /// Entry `index`, of `SIZE` bytes, of the table whose blocks are at `pointers`.
    pub(super) fn entry<const SIZE: usize>(
        &self,
        pointers: &[u64],
        index: u32,
    ) -> Result<[u8; SIZE]> {
        let at = index as usize * SIZE;
        let block = pointers.get(at / METADATA);
        let mut place = Place {
            block: *block.with_context(|| format!("there is no entry {index}"))?,
            offset: at % METADATA,
        };
        let mut entry = [0; SIZE];
        self.fill_metadata(&mut place, &mut entry)?;
        Ok(entry)
    }
}
