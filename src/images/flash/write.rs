//! Writing an image and reading it back.
//!
//! The first mebibyte, which has the partition table, is emptied first and written last:
//! a card that was not finished has no partitions, and is not taken for a good one.

use super::bmap::{Bmap, Range};
use super::checker::Checker;
use super::progress::Progress;
use super::sink::{Buffer, Sink};
use crate::images::image::stream::{Packed, fill, is_zero};
use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Seek};
use std::ops;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

/// Bytes that are written last.
pub(crate) const HEAD: usize = 1 << 20;

/// Bytes read and written at once.
const CHUNK: usize = 4 << 20;

/// How much may wait in memory before a file is told to write it out, so that the rate
/// shown is the medium's.
const UNSYNCED: u64 = 32 << 20;

/// The user's wish to stop.
#[derive(Debug)]
pub(crate) struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "interrupted")
    }
}

impl std::error::Error for Stopped {}

/// What was written from one place on: its bytes' number and checksum.
pub(crate) struct Piece {
    at: u64,
    length: usize,
    sha256: [u8; 32],
}

/// What the reading side hands over.
enum Part {
    /// Bytes for the disk.
    Data {
        at: u64,
        bytes: Buffer,
        sha256: [u8; 32],
    },
    /// So many bytes of the image were looked at and need not be written.
    Skipped(u64),
}

/// What was written, and what is left to write.
pub(crate) struct Written {
    /// The image's first mebibyte, or all of a smaller image.
    pub(crate) head: Vec<u8>,
    pub(crate) pieces: Vec<Piece>,
}

impl Written {
    /// Bytes in the pieces.
    pub(crate) fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.length as u64).sum()
    }
}

/// The image as the writer sees it.
pub(crate) struct Source<'a> {
    pub(crate) bytes: Bytes<'a>,
    /// Bytes of the raw image.
    pub(crate) size: u64,
    pub(crate) bmap: Option<&'a Bmap>,
}

/// Where the raw image comes from.
pub(crate) enum Bytes<'a> {
    /// A file in one of the forms of an image.
    Packed(&'a Packed),
    /// An open file with the raw image.
    Raw(&'a File),
}

impl Bytes<'_> {
    /// Calls `work` with a reader of the raw image.
    fn with<T>(&self, work: impl FnOnce(&mut dyn Read) -> Result<T>) -> Result<T> {
        match self {
            Self::Packed(packed) => packed.with(work),
            Self::Raw(file) => {
                let mut file = *file;
                file.rewind().context("reading the unpacked image")?;
                work(&mut file)
            }
        }
    }
}

/// Empties the target's beginning, then writes all of the image but its head.
pub(crate) fn write(
    source: &Source<'_>,
    sink: &Sink,
    progress: &Progress,
    stop: &AtomicBool,
) -> Result<Written> {
    invalidate(sink)?;
    let (sender, receiver) = sync_channel(3);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_image(source, sink.zeroed, sender));
        let mut pieces = Vec::new();
        let mut unsynced = 0;
        let mut result = Ok(());
        for part in &receiver {
            if stop.load(Ordering::Relaxed) {
                result = Err(Stopped.into());
                break;
            }
            match part {
                Part::Skipped(bytes) => progress.skip(bytes),
                Part::Data { at, bytes, sha256 } => {
                    let length = bytes.slice().len();
                    if let Err(error) = sink.write(bytes.slice(), at) {
                        result = Err(error);
                        break;
                    }
                    pieces.push(Piece { at, length, sha256 });
                    unsynced += length as u64;
                    if sink.direct.is_none() && unsynced >= UNSYNCED {
                        sink.file.sync_data().context("waiting for the target")?;
                        unsynced = 0;
                    }
                    progress.add(length as u64);
                }
            }
        }
        // The reader ends when nobody listens.
        drop(receiver);
        let read = reader
            .join()
            .map_err(|_| anyhow::anyhow!("the image's reader panicked"))?;
        result?;
        let head = read?;
        sink.flush()?;
        Ok(Written { head, pieces })
    })
}

/// Takes the old partition table away: the first mebibyte, and at the end what a GPT
/// keeps there.
fn invalidate(sink: &Sink) -> Result<()> {
    let head = usize::try_from(sink.size.min(HEAD as u64))?;
    sink.write(Buffer::new(head).slice(), 0)?;
    let mut last = [0; 512];
    if !sink.zeroed && sink.size >= 2 * HEAD as u64 {
        sink.read(&mut last, sink.size - 512)?;
        if last.starts_with(b"EFI PART") {
            // The header, and the 32 sectors of the table before it.
            sink.write(&[0; 33 * 512], sink.size - 33 * 512)?;
        }
    }
    sink.flush()
}

/// Reads the whole image and sends what has to be written. Returns the head.
fn read_image(source: &Source<'_>, zeroed: bool, sender: SyncSender<Part>) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut checker = source
        .bmap
        .map(|bmap| Checker::new(&bmap.ranges, bmap.sums));
    source.bytes.with(|reader| {
        let mut chunk = vec![0; CHUNK];
        let mut at = 0;
        loop {
            let n = fill(reader, &mut chunk).context("reading the image")?;
            if n == 0 {
                break;
            }
            let bytes = &chunk[..n];
            ensure!(
                at + n as u64 <= source.size,
                "the image is longer than {} bytes",
                source.size
            );
            if let Some(checker) = &mut checker {
                checker.feed(at, bytes)?;
            }
            let kept = if at == 0 { n.min(HEAD) } else { 0 };
            head.extend_from_slice(&bytes[..kept]);
            let wanted = match source.bmap {
                Some(bmap) => mapped(&bmap.ranges, at + kept as u64..at + n as u64),
                None if zeroed => data(&bytes[kept..], at + kept as u64),
                None => std::iter::once(at + kept as u64..at + n as u64).collect(),
            };
            let mut skipped = n as u64;
            for range in wanted.into_iter().filter(|range| range.start < range.end) {
                let part = usize::try_from(range.start - at)?..usize::try_from(range.end - at)?;
                skipped -= part.len() as u64;
                let part = Part::Data {
                    at: range.start,
                    bytes: Buffer::copy(&bytes[part.clone()]),
                    sha256: Sha256::digest(&bytes[part]).into(),
                };
                if sender.send(part).is_err() {
                    return Ok(());
                }
            }
            // A map's total has been known from the start.
            if source.bmap.is_none() && sender.send(Part::Skipped(skipped)).is_err() {
                return Ok(());
            }
            at += n as u64;
        }
        ensure!(
            at == source.size,
            "the image ends after {at} of {} bytes",
            source.size
        );
        Ok(())
    })?;
    Ok(head)
}

/// The parts of `window` that the map has.
fn mapped(ranges: &[Range], window: ops::Range<u64>) -> Vec<ops::Range<u64>> {
    let first = ranges.partition_point(|range| range.end <= window.start);
    ranges[first..]
        .iter()
        .take_while(|range| range.start < window.end)
        .map(|range| range.start.max(window.start)..range.end.min(window.end))
        .collect()
}

/// The parts of `bytes`, which begin at `at`, that are not 64 KiB of zeros.
fn data(bytes: &[u8], at: u64) -> Vec<ops::Range<u64>> {
    const STEP: usize = 64 << 10;
    let mut parts: Vec<ops::Range<u64>> = Vec::new();
    for (index, block) in bytes.chunks(STEP).enumerate() {
        let start = at + (index * STEP) as u64;
        let end = start + block.len() as u64;
        match parts.last_mut() {
            _ if is_zero(block) => {}
            Some(last) if last.end == start => last.end = end,
            _ => parts.push(start..end),
        }
    }
    parts
}

/// Reads everything back from the medium and compares checksums.
pub(crate) fn verify(
    pieces: &[Piece],
    sink: &Sink,
    progress: &Progress,
    stop: &AtomicBool,
) -> Result<()> {
    let mut buffer = Buffer::new(CHUNK);
    for piece in pieces {
        if stop.load(Ordering::Relaxed) {
            return Err(Stopped.into());
        }
        let bytes = &mut buffer.slice_mut()[..piece.length];
        sink.read(bytes, piece.at)?;
        let sum: [u8; 32] = Sha256::digest(&*bytes).into();
        ensure!(
            sum == piece.sha256,
            "the target did not keep what was written at byte {}; it is worn out or a fake, use another one",
            piece.at
        );
        progress.add(piece.length as u64);
    }
    Ok(())
}

/// Writes the head, which makes the target valid, and reads it back.
pub(crate) fn finish(head: &[u8], sink: &Sink) -> Result<()> {
    let buffer = Buffer::copy(head);
    sink.write(buffer.slice(), 0)?;
    sink.flush()?;
    let mut back = Buffer::new(head.len());
    sink.read(back.slice_mut(), 0)?;
    ensure!(
        back.slice() == head,
        "the target did not keep its partition table; it is worn out or a fake, use another one"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> Range {
        Range {
            start,
            end,
            sum: None,
        }
    }

    #[test]
    fn a_window_gets_its_share_of_the_map() {
        let ranges = [range(0, 10), range(20, 30), range(40, 50)];
        assert_eq!(mapped(&ranges, 5..45), [5..10, 20..30, 40..45]);
        assert_eq!(mapped(&ranges, 10..20), []);
    }

    #[test]
    fn zeros_of_a_new_file_are_left_out() {
        let mut bytes = vec![0; 256 << 10];
        bytes[70 << 10] = 1;
        bytes[140 << 10] = 1;
        let parts = data(&bytes, 4096);
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0], 4096 + (64 << 10)..4096 + (192 << 10));
    }
}
