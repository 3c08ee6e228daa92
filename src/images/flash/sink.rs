//! The target while it is written to and read back.

use anyhow::{Context, Result};
use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};
use std::fs::{File, OpenOptions};
use std::ops;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// What direct transfers must be multiples of, in memory and on the disk.
const ALIGNMENT: usize = 4096;

/// An open target.
pub(crate) struct Sink {
    /// Through the page cache.
    pub(crate) file: File,
    /// Past it, where the target allows.
    pub(super) direct: Option<File>,
    /// Whether all that is not written reads as zero.
    pub(crate) zeroed: bool,
    /// Bytes.
    pub(crate) size: u64,
}

impl Sink {
    /// A disk. The kernel refuses when anything has it mounted or in use.
    pub(crate) fn disk(path: &Path) -> Result<Self> {
        let open = |flags: OFlag| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(flags.bits())
                .open(path)
                .with_context(|| format!("opening {}", path.display()))
        };
        let file = open(OFlag::O_EXCL)?;
        Ok(Self {
            size: crate::images::image::disk::size(&file)?,
            // The exclusive claim is on the first opening; a second one is not another claim.
            direct: open(OFlag::O_DIRECT).ok(),
            file,
            zeroed: false,
        })
    }

    /// A file of `size` bytes; `zeroed` if it is new.
    pub(crate) fn file(file: File, size: u64, zeroed: bool) -> Self {
        Self {
            file,
            direct: None,
            zeroed,
            size,
        }
    }

    pub(super) fn write(&self, bytes: &[u8], at: u64) -> Result<()> {
        let aligned = |n: usize| n % ALIGNMENT == 0;
        let fits =
            aligned(bytes.len()) && at % ALIGNMENT as u64 == 0 && aligned(bytes.as_ptr().addr());
        let file = self.direct.as_ref().filter(|_| fits).unwrap_or(&self.file);
        file.write_all_at(bytes, at)
            .with_context(|| format!("writing at byte {at} of the target"))
    }

    pub(super) fn read(&self, buffer: &mut [u8], at: u64) -> Result<()> {
        let aligned = |n: usize| n % ALIGNMENT == 0;
        let fits =
            aligned(buffer.len()) && at % ALIGNMENT as u64 == 0 && aligned(buffer.as_ptr().addr());
        let file = self.direct.as_ref().filter(|_| fits).unwrap_or(&self.file);
        file.read_exact_at(buffer, at)
            .with_context(|| format!("reading back at byte {at} of the target"))
    }

    /// Waits until everything is on the medium, and forgets what memory has of it.
    pub(crate) fn flush(&self) -> Result<()> {
        self.file.sync_all().context("waiting for the target")?;
        // Without it, reading back would ask the memory and not the medium.
        posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)
            .context("emptying the target's cache")
    }
}

/// A buffer that direct transfers accept.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    part: ops::Range<usize>,
}

impl Buffer {
    pub(super) fn new(length: usize) -> Self {
        let bytes = vec![0; length + ALIGNMENT];
        let start = bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self {
            bytes,
            part: start..start + length,
        }
    }

    pub(super) fn copy(from: &[u8]) -> Self {
        let mut buffer = Self::new(from.len());
        buffer.slice_mut().copy_from_slice(from);
        buffer
    }

    pub(super) fn slice(&self) -> &[u8] {
        &self.bytes[self.part.clone()]
    }

    pub(super) fn slice_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.part.clone()]
    }
}
