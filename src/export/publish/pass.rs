//! The one pass over the raw image: read once, given to everyone at the same time.
//!
//! It begins while the root file system is still being made: what lies before that is
//! complete, and the processor is not busy.
//!
//! A reader and one thread for each consumer, with short queues between them. The
//! pieces are shared, so that memory is bounded by the slowest queue: [`QUEUE`]
//! pieces of [`CHUNK`] bytes and those in the consumers' hands.

use super::bmap::{self, Bmap};
use super::compress::{self, Format, Packed};
use super::piece::Piece;
use crate::base::sparse::{self, CHUNK};
use anyhow::{Context, Result, anyhow};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, ScopedJoinHandle};

/// Pieces a consumer may lag behind the reader.
const QUEUE: usize = 16;

/// What the pass found out.
pub(super) struct Passed {
    /// SHA-256 of the raw image, in hex.
    pub(super) raw_sha256: String,
    pub(super) bmap: Bmap,
    /// One for each output, in the same order.
    pub(super) packed: Vec<Packed>,
}

/// What of an image is still to be made.
pub(super) struct Rest<'a> {
    /// First byte of it, a multiple of [`CHUNK`].
    pub(super) start: u64,
    pub(super) make: &'a mut dyn FnMut() -> Result<()>,
}

/// Makes the `rest` of `image` and reads all of it (`size` bytes; holes are not read)
/// once: its checksum, its block map, and its compressed form in each of the `outputs`,
/// which are empty files.
pub(super) fn run(
    image: &File,
    size: u64,
    outputs: Vec<(File, Format<'_>)>,
    rest: Rest<'_>,
) -> Result<Passed> {
    thread::scope(|scope| {
        let mut queues = Vec::new();
        let mut queue = || {
            let (sender, receiver) = sync_channel(QUEUE);
            queues.push(sender);
            receiver
        };
        let pieces = queue();
        let raw = scope.spawn(move || sum(pieces));
        let pieces = queue();
        let map = scope.spawn(move || bmap::map(pieces, size));
        let packers: Vec<_> = outputs
            .into_iter()
            .map(|(file, format)| {
                let pieces = queue();
                scope.spawn(move || compress::pack(pieces, &format, file))
            })
            .collect();
        let (made, ready) = sync_channel(1);
        let reader = scope.spawn(move || -> Result<()> {
            let mut reader = Reader::new(image, queues);
            reader.read(0..rest.start)?;
            // The other end says nothing when the rest could not be made.
            if ready.recv().is_ok() {
                reader.read(rest.start..size)?;
            }
            Ok(())
        });
        let rest = (rest.make)().map(|()| made.send(()));
        drop(made);
        let read = join(reader)?;
        rest?.context("reading the image")?;
        // A packer's error is the cause when the reader could not go on.
        let packed = packers
            .into_iter()
            .map(join)
            .collect::<Result<Result<_>>>()?;
        let packed = packed?;
        read?;
        Ok(Passed {
            raw_sha256: join(raw)?,
            bmap: join(map)?,
            packed,
        })
    })
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> Result<T> {
    thread
        .join()
        .map_err(|_| anyhow!("a thread of the export panicked"))
}

fn sum(pieces: Receiver<Piece>) -> String {
    let mut hash = Sha256::new();
    for piece in pieces {
        hash.update(&*piece);
    }
    hex::encode(hash.finalize())
}

/// Gives every piece of the image to every queue.
struct Reader<'a> {
    image: &'a File,
    queues: Vec<SyncSender<Piece>>,
    buffers: Buffers,
    zeros: Arc<Vec<u8>>,
}

impl<'a> Reader<'a> {
    fn new(image: &'a File, queues: Vec<SyncSender<Piece>>) -> Self {
        Self {
            image,
            queues,
            buffers: Buffers::default(),
            zeros: Arc::new(vec![0; CHUNK]),
        }
    }

    /// Reads the bytes of `range`, which begins where the last one ended.
    fn read(&mut self, range: Range<u64>) -> Result<()> {
        let mut at = range.start;
        let mut parts = blocks(sparse::data_in(self.image, &range)?, range.end);
        parts.push(range.end..range.end);
        for part in parts {
            while at < part.start {
                let length = step(at, part.start)?;
                let bytes = Arc::clone(&self.zeros);
                self.give(bytes, length, true)?;
                at += length as u64;
            }
            while at < part.end {
                let length = step(at, part.end)?;
                let mut bytes = self.buffers.free();
                let place = Arc::get_mut(&mut bytes).context("taking a buffer in use")?;
                self.image
                    .read_exact_at(&mut place[..length], at)
                    .context("reading the image")?;
                self.buffers.0.push_back(Arc::clone(&bytes));
                self.give(bytes, length, false)?;
                at += length as u64;
            }
        }
        Ok(())
    }

    fn give(&self, bytes: Arc<Vec<u8>>, length: usize, hole: bool) -> Result<()> {
        let piece = Piece {
            bytes,
            length,
            hole,
        };
        for queue in &self.queues {
            queue
                .send(piece.clone())
                .map_err(|_| anyhow!("a compressor stopped early"))?;
        }
        Ok(())
    }
}

/// Buffers of [`CHUNK`] bytes, the one given out longest ago first. Fresh memory for each
/// piece would cost a page fault for every page of the image.
#[derive(Default)]
struct Buffers(VecDeque<Arc<Vec<u8>>>);

impl Buffers {
    /// A buffer that no consumer has any more.
    fn free(&mut self) -> Arc<Vec<u8>> {
        match self.0.front_mut().map(Arc::get_mut) {
            Some(Some(_)) => self.0.pop_front(),
            _ => None,
        }
        .unwrap_or_else(|| Arc::new(vec![0; CHUNK]))
    }
}

/// Bytes from `at` to the next multiple of [`CHUNK`], or to `end`.
fn step(at: u64, end: u64) -> Result<usize> {
    let chunk = CHUNK as u64;
    Ok(usize::try_from(end.min((at / chunk + 1) * chunk) - at)?)
}

/// `parts` widened to whole blocks of the block map and joined where they meet.
fn blocks(parts: Vec<Range<u64>>, size: u64) -> Vec<Range<u64>> {
    let mut wide: Vec<Range<u64>> = Vec::new();
    for part in parts {
        let start = part.start / bmap::BLOCK * bmap::BLOCK;
        let end = part.end.next_multiple_of(bmap::BLOCK).min(size);
        match wide.last_mut() {
            Some(last) if last.end >= start => last.end = end,
            _ => wide.push(start..end),
        }
    }
    wide
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Arch;
    use crate::config::Compression::{self, Gz, Xz, Zip, Zst};
    use std::time::Duration;

    /// All formats of a sparse image of several zstd jobs, with so many threads each.
    fn pass(threads: usize) -> Passed {
        let image = tempfile::tempfile().unwrap();
        let size = (50 << 20) + 512;
        image.set_len(size).unwrap();
        // Only the first part is there at the beginning.
        let start = 20 << 20;
        let noise: Vec<u8> = (0u32..3 << 20)
            .map(|n| (n.wrapping_mul(n) >> 7) as u8)
            .collect();
        image.write_all_at(&noise, (3 << 20) - 4096).unwrap();
        let mut make = || -> Result<()> {
            thread::sleep(Duration::from_millis(100));
            image.write_all_at(&noise, 30 << 20)?;
            Ok(image.write_all_at(b"end", size - 3)?)
        };
        let format = |compression: Compression| Format {
            compression,
            level: Some(1),
            member: "a.img",
            epoch: 1_700_000_000,
            arch: Arch::Arm64,
            threads,
        };
        let outputs = [Zip, Gz, Xz, Zst].map(|c| (tempfile::tempfile().unwrap(), format(c)));
        let rest = Rest {
            start,
            make: &mut make,
        };
        run(&image, size, outputs.into(), rest).unwrap()
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let one = pass(1);
        for threads in [2, 3] {
            let more = pass(threads);
            assert_eq!(more.raw_sha256, one.raw_sha256);
            for (a, b) in one.packed.iter().zip(&more.packed) {
                assert_eq!(a.sha256, b.sha256, "{threads} threads");
            }
        }
        assert_eq!(one.bmap.mapped(), 2 * (3 << 8) + 1);
    }

    #[test]
    fn a_rest_that_is_not_made_is_the_error() {
        let image = tempfile::tempfile().unwrap();
        image.set_len(4 << 20).unwrap();
        let rest = Rest {
            start: 1 << 20,
            make: &mut || anyhow::bail!("no room"),
        };
        let error = run(&image, 4 << 20, Vec::new(), rest).err().unwrap();
        assert_eq!(error.to_string(), "no room");
    }

    #[test]
    fn parts_are_widened_and_joined() {
        assert_eq!(
            blocks(
                vec![0..1024, 2048..5000, 20_000..20_480, 40_000..40_100],
                40_100
            ),
            [0..8192, 16_384..20_480, 36_864..40_100]
        );
    }
}
