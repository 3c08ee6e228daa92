//! A part of a disk or image as something to read, write and seek in.

use anyhow::{Context, Result};
use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};

/// The bytes from `start` on, `size` of them; positions are relative to `start`.
///
/// It may be read a few times over and no more: whoever follows the structures of a file
/// system that lead in circles comes to an end, whichever structures they are.
pub(crate) struct Slice {
    file: File,
    start: u64,
    pub(crate) size: u64,
    at: u64,
    /// Bytes that may still be read.
    left: Cell<u64>,
}

/// How often a part may be read over.
const TIMES: u64 = 8;

/// The same for what the file really holds: a few kilobytes can claim to be a terabyte of
/// zeros.
const TIMES_ALLOCATED: u64 = 64;

/// What may be read in any case, bytes.
const AT_LEAST: u64 = 64 << 20;

/// What may be read of a file that is mostly holes, bytes.
const OF_HOLES: u64 = 4 << 30;

/// What a read counts at least: small ones cost time, too.
const STEP: u64 = 512;

/// Work on bytes in memory counts less than a read of them, by this factor; and so much at least.
const WORK: u64 = 8;
const WORK_STEP: u64 = 16;

impl Slice {
    /// `size` bytes of `file` from byte `start` on.
    pub(crate) fn new(file: &File, start: u64, size: u64) -> Result<Self> {
        let facts = file.metadata().context("looking at an image")?;
        let mut left = size.saturating_mul(TIMES).saturating_add(AT_LEAST);
        if facts.is_file() {
            let allocated = facts.blocks().saturating_mul(512);
            left = left.min(
                allocated
                    .saturating_mul(TIMES_ALLOCATED)
                    .saturating_add(OF_HOLES),
            );
        }
        Ok(Self {
            file: file.try_clone().context("opening an image once more")?,
            start,
            size,
            at: 0,
            left: Cell::new(left),
        })
    }

    /// Fills `buffer` from byte `at` on; an error beyond the slice's end.
    pub(crate) fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let end = at.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.charge(buffer.len())?;
        self.file.read_exact_at(buffer, self.start + at)
    }

    /// Counts a read of `bytes`; an error when it is one too many.
    fn charge(&self, bytes: usize) -> io::Result<()> {
        self.spend((bytes as u64).max(STEP))
    }

    /// Counts `bytes` that were unpacked, or looked at once more in memory: a reader that keeps
    /// what it has read comes to an end likewise. An error when it is too much.
    pub(crate) fn work(&self, bytes: usize) -> io::Result<()> {
        self.spend((bytes as u64 / WORK).max(WORK_STEP))
    }

    fn spend(&self, cost: u64) -> io::Result<()> {
        let Some(left) = self.left.get().checked_sub(cost) else {
            return Err(io::Error::other(
                "the file system leads in circles: it was read over and over",
            ));
        };
        self.left.set(left);
        Ok(())
    }

    /// How much of `wanted` bytes is left from the present position on.
    fn left(&self, wanted: usize) -> usize {
        let left = self.size.saturating_sub(self.at);
        wanted.min(usize::try_from(left).unwrap_or(usize::MAX))
    }
}

impl Read for Slice {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.left(buffer.len());
        self.charge(length)?;
        let n = self
            .file
            .read_at(&mut buffer[..length], self.start + self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Write for Slice {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let length = self.left(buffer.len());
        let n = self
            .file
            .write_at(&buffer[..length], self.start + self.at)?;
        self.at += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Slice {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Bytes of a regular file or of a block device.
pub(crate) fn size(file: &File) -> Result<u64> {
    let mut file = file;
    file.seek(SeekFrom::End(0)).context("measuring a disk")
}
