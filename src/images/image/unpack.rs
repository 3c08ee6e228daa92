//! Compressed blocks of file systems. What a block claims of its size is of no interest here:
//! the buffer's length is the limit.

use anyhow::{Context, Result, bail, ensure};
use flate2::{Decompress, FlushDecompress};
use liblzma::stream::{Action, Status, Stream};

/// Bytes of memory for xz: its dictionary is no larger than a block, of at most a mebibyte.
const XZ_MEMORY: u64 = 16 << 20;

/// A dictionary of MicroLZMA, and what its decoder takes besides.
const LZMA_DICTIONARY: usize = 8 << 20;
const LZMA_MEMORY: u64 = 16 << 20;

/// How blocks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// RFC 1950, which squashfs calls gzip.
    Zlib,
    /// RFC 1951.
    Deflate,
    Xz,
    /// .lzma without its header; the first byte is the inverted byte of properties
    /// (`lzma_microlzma_decoder` of liblzma).
    MicroLzma,
    /// A block without a frame.
    Lz4,
    Zstd,
}

impl Method {
    /// Unpacks `input` into the beginning of `out`; returns the bytes that were written. Input
    /// that is left over is no error.
    ///
    /// # Errors
    /// When the input is damaged or, for lz4, zstd and xz, has more than fits into `out`.
    pub(super) fn unpack(self, input: &[u8], out: &mut [u8]) -> Result<usize> {
        let unpacked = match self {
            Self::Zlib => inflate(Decompress::new(true), input, out),
            Self::Deflate => inflate(Decompress::new(false), input, out),
            Self::Xz => Stream::new_stream_decoder(XZ_MEMORY, 0)
                .map_err(Into::into)
                .and_then(|stream| lzma(stream, &[input], out, false)),
            Self::MicroLzma => micro_lzma(input, out),
            Self::Lz4 => lz4_flex::block::decompress_into(input, out).map_err(Into::into),
            Self::Zstd => zstd::bulk::decompress_to_buffer(input, out).map_err(Into::into),
        };
        unpacked.context("unpacking a block")
    }
}

fn inflate(mut stream: Decompress, input: &[u8], out: &mut [u8]) -> Result<usize> {
    // With `Finish`, all of it is done in one call; a full buffer is no error.
    stream.decompress(input, out, FlushDecompress::Finish)?;
    Ok(usize::try_from(stream.total_out())?)
}

fn micro_lzma(input: &[u8], out: &mut [u8]) -> Result<usize> {
    let (first, rest) = input.split_first().context("reading the first byte")?;
    // A .lzma header: the properties, the dictionary, an unknown size; then the byte 0 with
    // which each stream of LZMA begins.
    let dictionary = u32::try_from(out.len().clamp(4096, LZMA_DICTIONARY))?;
    let mut header = [0xff; 14];
    header[0] = !first;
    header[1..5].copy_from_slice(&dictionary.to_le_bytes());
    header[13] = 0;
    let stream = Stream::new_lzma_decoder(LZMA_MEMORY)?;
    lzma(stream, &[&header, rest], out, true)
}

/// Gives `parts` to a decoder until the stream ends, or `out` is full, if that is an end.
fn lzma(mut stream: Stream, parts: &[&[u8]], out: &mut [u8], full: bool) -> Result<usize> {
    for part in parts {
        let begun = stream.total_in();
        loop {
            let (read, written) = (stream.total_in(), stream.total_out());
            let (from, to) = (usize::try_from(read - begun)?, usize::try_from(written)?);
            let status = stream.process(&part[from..], &mut out[to..], Action::Run)?;
            let done = usize::try_from(stream.total_out())?;
            if status == Status::StreamEnd || full && done == out.len() {
                return Ok(done);
            }
            if stream.total_in() - begun == part.len() as u64 {
                break;
            }
            ensure!(
                (stream.total_in(), stream.total_out()) != (read, written),
                "there is more than fits"
            );
        }
    }
    bail!("it ends too early")
}

#[cfg(test)]
mod tests {
    use super::Method;
    use std::io::Write;

    #[test]
    fn each_method_unpacks_what_fits() {
        let text = b"all of this is said twice; ".repeat(90);
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
        xz.write_all(&text).unwrap();
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
        zlib.write_all(&text).unwrap();
        let packed = [
            (Method::Xz, xz.finish().unwrap()),
            (Method::Zlib, zlib.finish().unwrap()),
            (Method::Zstd, zstd::bulk::compress(&text, 3).unwrap()),
            (Method::Lz4, lz4_flex::block::compress(&text)),
        ];
        for (method, bytes) in packed {
            let mut out = vec![0; text.len() + 50];
            assert_eq!(method.unpack(&bytes, &mut out).unwrap(), text.len());
            assert!(out.starts_with(&text), "{method:?}");
            let mut small = vec![0; 100];
            let found = method.unpack(&bytes, &mut small);
            assert!(
                found.is_err() || method == Method::Zlib && small == text[..100],
                "{method:?}"
            );
            for cut in [&bytes[..bytes.len() / 2], &[]] {
                let found = method.unpack(cut, &mut out);
                assert!(found.is_err() || found.unwrap() < text.len(), "{method:?}");
            }
        }
    }
}
