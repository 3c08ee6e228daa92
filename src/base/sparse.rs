//! Files with holes: their data parts, and copies that keep the holes.

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Bytes read at once.
pub(crate) const CHUNK: usize = 1 << 20;

/// The parts of `file`, which is `size` bytes long, that are not holes; in order.
pub(crate) fn data(file: &File, size: u64) -> Result<Vec<Range<u64>>> {
    data_in(file, &(0..size))
}

/// The parts of `file` within `range` that are not holes; in order.
pub(crate) fn data_in(file: &File, range: &Range<u64>) -> Result<Vec<Range<u64>>> {
    let mut parts = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let start = match lseek(file, i64::try_from(at)?, Whence::SeekData) {
            Ok(start) => u64::try_from(start)?,
            Err(Errno::ENXIO) => break,
            Err(error) => return Err(error).context("looking for data in a file with holes"),
        };
        if start >= range.end {
            break;
        }
        let end = lseek(file, i64::try_from(start)?, Whence::SeekHole)
            .context("looking for a hole in a file")?;
        at = u64::try_from(end)?.min(range.end);
        parts.push(start..at);
    }
    Ok(parts)
}

/// Copies the data parts of `from` into the empty file `to`, which ends up `size`
/// bytes long; holes stay holes.
pub(crate) fn copy(from: &File, to: &File, size: u64) -> Result<()> {
    to.set_len(size).context("sizing a file")?;
    copy_to(from, to, 0)
}

/// Copies the data parts of `from` into `to`, from byte `offset` on, where there
/// must be a hole.
pub(crate) fn copy_to(from: &File, to: &File, offset: u64) -> Result<()> {
    let length = from.metadata()?.len();
    let mut buffer = vec![0; CHUNK];
    for part in data(from, length)? {
        let mut at = part.start;
        while at < part.end {
            let length = usize::try_from((part.end - at).min(CHUNK as u64))?;
            let chunk = &mut buffer[..length];
            from.read_exact_at(chunk, at).context("reading an image")?;
            to.write_all_at(chunk, offset + at)
                .context("writing an image")?;
            at += length as u64;
        }
    }
    Ok(())
}
