//! A part of a disk or image as something to read, write and seek in.

use anyhow::{Context, Result};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

/// The bytes from `start` on, `size` of them; positions are relative to `start`.
pub(crate) struct Slice {
    file: File,
    start: u64,
    pub(crate) size: u64,
    at: u64,
}

impl Slice {
    pub(crate) fn new(file: &File, start: u64, size: u64) -> Result<Self> {
        Ok(Self {
            file: file.try_clone().context("opening an image once more")?,
            start,
            size,
            at: 0,
        })
    }

    /// Fills `buffer` from byte `at` on; an error beyond the slice's end.
    pub(crate) fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let end = at.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.read_exact_at(buffer, self.start + at)
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
