//! A deflate stream made of blocks that are compressed in parallel, for gzip and zip.
//!
//! Each mebibyte is compressed by itself and ends on a byte boundary (zlib's "sync
//! flush"), so the blocks can be put one after the other, as pigz does. Where a block
//! ends does not depend on the threads, and so neither does the output.

use super::piece::Piece;
use crate::base::sparse::CHUNK;
use anyhow::{Context, Result, anyhow, ensure};
use flate2::{Compress, Compression, Crc, FlushCompress};
use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, OnceLock};
use std::thread;

/// A block without contents that is marked as the last (RFC 1951, 3.2.3 and 3.2.6).
const END: [u8; 2] = [3, 0];

/// What trailers need to know of the uncompressed bytes.
pub(super) struct Totals {
    pub(super) crc: u32,
    pub(super) bytes: u64,
}

/// One compressed block.
struct Block {
    bytes: Vec<u8>,
    crc: Crc,
}

/// Writes `pieces` to `out` as one raw deflate stream (RFC 1951), compressing up to
/// `threads` blocks at a time.
pub(super) fn deflate(
    pieces: impl IntoIterator<Item = Piece>,
    level: u8,
    threads: usize,
    out: &mut dyn Write,
) -> Result<Totals> {
    let mut crc = Crc::new();
    let mut bytes = 0;
    // Most holes are whole blocks, and all these are alike.
    let hole = OnceLock::new();
    thread::scope(|scope| {
        let mut working = VecDeque::new();
        let mut block: Vec<Piece> = Vec::new();
        let mut pieces = pieces.into_iter().fuse();
        loop {
            let piece = pieces.next();
            let end = piece.is_none();
            block.extend(piece);
            let length: usize = block.iter().map(|piece| piece.len()).sum();
            if length == CHUNK || (end && length > 0) {
                bytes += length as u64;
                let block = std::mem::take(&mut block);
                let hole = &hole;
                working.push_back(scope.spawn(move || compress(&block, level, hole)));
            }
            while working.len() > if end { 0 } else { threads } {
                let Some(first) = working.pop_front() else {
                    break;
                };
                let done = first
                    .join()
                    .map_err(|_| anyhow!("a compressing thread panicked"))??;
                crc.combine(&done.crc);
                out.write_all(&done.bytes).context("writing the artefact")?;
            }
            if end {
                break;
            }
        }
        out.write_all(&END).context("writing the artefact")?;
        Ok(Totals {
            crc: crc.sum(),
            bytes,
        })
    })
}

/// Compresses one block, given as the pieces it is made of.
fn compress(pieces: &[Piece], level: u8, hole: &OnceLock<Arc<Block>>) -> Result<Arc<Block>> {
    let [piece] = pieces else {
        let bytes: Vec<&[u8]> = pieces.iter().map(|piece| &**piece).collect();
        return Ok(Arc::new(compress_bytes(&bytes.concat(), level)?));
    };
    let whole_hole = piece.hole && piece.len() == CHUNK;
    if let Some(block) = hole.get().filter(|_| whole_hole) {
        return Ok(Arc::clone(block));
    }
    let block = Arc::new(compress_bytes(piece, level)?);
    if whole_hole {
        // Another thread may have been first, with the same block.
        let _ = hole.set(Arc::clone(&block));
    }
    Ok(block)
}

fn compress_bytes(input: &[u8], level: u8) -> Result<Block> {
    let mut crc = Crc::new();
    crc.update(input);
    let mut deflater = Compress::new(Compression::new(u32::from(level)), false);
    // Stored blocks, deflate's worst case, add five bytes to every few kilobytes.
    let mut bytes = Vec::with_capacity(input.len() + input.len() / 64 + 1024);
    deflater
        .compress_vec(input, &mut bytes, FlushCompress::Sync)
        .context("compressing the image")?;
    ensure!(
        deflater.total_in() == input.len() as u64 && bytes.len() < bytes.capacity(),
        "compressing the image: a block grew beyond what deflate allows"
    );
    Ok(Block { bytes, crc })
}
