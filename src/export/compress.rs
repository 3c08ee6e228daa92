//! One pass over the raw image: its checksum and its compressed form.

use super::sparse::{self, CHUNK};
use crate::config::Compression;
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

/// Level of each format when none is chosen.
fn level(format: Compression, chosen: Option<u8>) -> u8 {
    chosen.unwrap_or(match format {
        Compression::Zst => 9,
        _ => 6,
    })
}

/// Extension of the artefact, after the stem.
pub(crate) fn extension(format: Compression) -> &'static str {
    match format {
        Compression::None => ".img",
        Compression::Zip => ".zip",
        Compression::Gz => ".img.gz",
        Compression::Xz => ".img.xz",
        Compression::Zst => ".img.zst",
    }
}

/// How to compress.
pub(crate) struct Options<'a> {
    pub(crate) format: Compression,
    pub(crate) level: Option<u8>,
    /// Name of the image inside an archive that names its members.
    pub(crate) member: &'a str,
    /// Seconds; the time inside an archive that has one.
    pub(crate) epoch: i64,
}

/// SHA-256 sums, in hex.
pub(crate) struct Sums {
    pub(crate) raw: String,
    /// Of what was written; equal to `raw` without compression.
    pub(crate) artefact: String,
}

/// Reads `image` (`size` bytes; holes are not read) once, writing the compressed
/// form to `out`, which stays empty for [`Compression::None`].
///
/// The output does not depend on the number of processors.
pub(crate) fn compress(
    image: &File,
    size: u64,
    out: &mut File,
    options: &Options<'_>,
) -> Result<Sums> {
    let mut raw = Sha256::new();
    let mut out = Hashing {
        to: out,
        hash: Sha256::new(),
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let level = level(options.format, options.level);
    match options.format {
        Compression::None => {
            feed(image, size, &mut raw, &mut io::sink())?;
            let raw = hex::encode(raw.finalize());
            return Ok(Sums {
                artefact: raw.clone(),
                raw,
            });
        }
        Compression::Zst => {
            let mut encoder = zstd::Encoder::new(&mut out, i32::from(level.max(1)))?;
            encoder.include_checksum(true)?;
            encoder.multithread(u32::try_from(threads)?)?;
            feed(image, size, &mut raw, &mut encoder)?;
            encoder.finish()?;
        }
        Compression::Xz => {
            let stream = liblzma::stream::MtStreamBuilder::new()
                .preset(u32::from(level))
                .check(liblzma::stream::Check::Crc64)
                .threads(u32::try_from(threads)?)
                .encoder()?;
            let mut encoder = liblzma::write::XzEncoder::new_stream(&mut out, stream);
            feed(image, size, &mut raw, &mut encoder)?;
            encoder.finish()?;
        }
        Compression::Gz => {
            let mut encoder = flate2::GzBuilder::new()
                .write(&mut out, flate2::Compression::new(u32::from(level)));
            feed(image, size, &mut raw, &mut encoder)?;
            encoder.finish()?;
        }
        Compression::Zip => {
            let mut zip = zip::ZipWriter::new_stream(&mut out);
            zip.start_file(options.member, zip_options(level, options.epoch))?;
            feed(image, size, &mut raw, &mut zip)?;
            zip.finish()?;
        }
    }
    out.flush()?;
    Ok(Sums {
        raw: hex::encode(raw.finalize()),
        artefact: hex::encode(out.hash.finalize()),
    })
}

fn zip_options(level: u8, epoch: i64) -> zip::write::SimpleFileOptions {
    let time = jiff::Timestamp::from_second(epoch)
        .ok()
        .map(|t| t.to_zoned(jiff::tz::TimeZone::UTC))
        .and_then(|t| {
            let unsigned = |n: i8| u8::try_from(n).ok();
            zip::DateTime::from_date_and_time(
                u16::try_from(t.year()).ok()?,
                unsigned(t.month())?,
                unsigned(t.day())?,
                unsigned(t.hour())?,
                unsigned(t.minute())?,
                unsigned(t.second())?,
            )
            .ok()
        });
    zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .compression_level(Some(i64::from(level)))
        .large_file(true)
        .unix_permissions(0o644)
        .last_modified_time(time.unwrap_or_default())
}

/// Gives every byte of the image, holes as zeros, to the hash and to `to`.
fn feed(image: &File, size: u64, hash: &mut Sha256, to: &mut dyn Write) -> Result<()> {
    let zeros = vec![0; CHUNK];
    let mut buffer = vec![0; CHUNK];
    let mut give = |bytes: &[u8]| -> Result<()> {
        hash.update(bytes);
        to.write_all(bytes).context("compressing the image")
    };
    let length = |from: u64, to: u64| usize::try_from((to - from).min(CHUNK as u64));
    let mut at = 0;
    let mut parts = sparse::data(image, size)?;
    parts.push(size..size);
    for part in parts {
        while at < part.start {
            let n = length(at, part.start)?;
            give(&zeros[..n])?;
            at += n as u64;
        }
        while at < part.end {
            let n = length(at, part.end)?;
            image
                .read_exact_at(&mut buffer[..n], at)
                .context("reading the image")?;
            give(&buffer[..n])?;
            at += n as u64;
        }
    }
    Ok(())
}

/// Hashes what passes through.
struct Hashing<W> {
    to: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_reproducible_and_hashes_the_same_image() {
        let image = tempfile::tempfile().unwrap();
        let size = (9 << 20) + 512;
        image.set_len(size).unwrap();
        image.write_all_at(b"hello", 3 << 20).unwrap();
        let mut raws = Vec::new();
        use Compression::{Gz, None, Xz, Zip, Zst};
        for format in [None, Zip, Gz, Xz, Zst] {
            let options = Options {
                format,
                level: Option::None,
                member: "a.img",
                epoch: 1_700_000_000,
            };
            let make = || {
                let mut out = tempfile::tempfile().unwrap();
                compress(&image, size, &mut out, &options).unwrap()
            };
            let (first, second) = (make(), make());
            assert_eq!(first.artefact, second.artefact, "{format:?}");
            raws.push(first.raw);
        }
        raws.dedup();
        assert_eq!(raws.len(), 1);
    }
}
