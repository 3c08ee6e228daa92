//! The formats an image is deployed in.

use super::deflate::deflate;
use super::piece::Piece;
use crate::config::{Arch, Compression};
use anyhow::{Context, Result};
use liblzma::stream::{Check, Filters, LzmaOptions, MtStreamBuilder, Stream};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::sync::mpsc::Receiver;

/// Bytes of a zstd job. It is fixed because it decides where the stream is cut.
const ZSTD_JOB: u32 = 16 << 20;

/// Bytes collected before they are written to an artefact.
const BUFFER: usize = 1 << 20;

/// Level of each format when none is chosen.
fn default_level(compression: Compression) -> u8 {
    match compression {
        Compression::Zst => 7,
        _ => 6,
    }
}

/// Extension of the artefact, after the stem.
pub(crate) fn extension(compression: Compression) -> &'static str {
    match compression {
        Compression::None => ".img",
        Compression::Zip => ".zip",
        Compression::Gz => ".img.gz",
        Compression::Xz => ".img.xz",
        Compression::Zst => ".img.zst",
    }
}

/// How to compress.
#[derive(Debug, Clone)]
pub(super) struct Format<'a> {
    pub(super) compression: Compression,
    /// 0–9; `None` is the format's default.
    pub(super) level: Option<u8>,
    /// Name of the image inside an archive that names its members.
    pub(super) member: &'a str,
    /// Seconds; the time inside an archive that has one.
    pub(super) epoch: i64,
    /// Whose machine code is in the image.
    pub(super) arch: Arch,
    /// Threads to use; the output does not depend on it.
    pub(super) threads: usize,
}

/// A written artefact.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    /// Of the compressed bytes, in hex.
    pub(super) sha256: String,
    /// Compressed bytes.
    pub(super) size: u64,
}

/// Compresses all `pieces` of an image into the empty `file`.
pub(super) fn pack(pieces: Receiver<Piece>, format: &Format<'_>, file: File) -> Result<Packed> {
    let mut out = BufWriter::with_capacity(BUFFER, Hashing::new(file));
    let level = format
        .level
        .unwrap_or_else(|| default_level(format.compression));
    match format.compression {
        Compression::None => feed(pieces, &mut out)?,
        Compression::Zst => zst(pieces, level, format.threads, &mut out)?,
        Compression::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new_stream(&mut out, xz(level, format)?);
            feed(pieces, &mut encoder)?;
            encoder.finish().context("compressing to xz")?;
        }
        Compression::Gz => gz(pieces, level, format.threads, &mut out)?,
        Compression::Zip => zip(pieces, level, format, &mut out)?,
    }
    let hashing = out
        .into_inner()
        .map_err(io::IntoInnerError::into_error)
        .context("writing the artefact")?;
    Ok(Packed {
        sha256: hex::encode(hashing.hash.finalize()),
        size: hashing.size,
    })
}

fn feed(pieces: Receiver<Piece>, to: &mut dyn Write) -> Result<()> {
    for piece in pieces {
        to.write_all(&piece).context("compressing the image")?;
    }
    Ok(())
}

fn zst(pieces: Receiver<Piece>, level: u8, threads: usize, out: &mut dyn Write) -> Result<()> {
    let mut encoder = zstd::Encoder::new(out, i32::from(level.max(1)))?;
    encoder.include_checksum(true)?;
    // At least one worker, also on one processor: without, zstd cuts otherwise.
    encoder.multithread(u32::try_from(threads.max(1))?)?;
    encoder.set_parameter(zstd::zstd_safe::CParameter::JobSize(ZSTD_JOB))?;
    feed(pieces, &mut encoder)?;
    encoder.finish().context("compressing to zstd")?;
    Ok(())
}

/// An encoder with the branch filter of the target's machine code, and as many threads
/// as there is memory for. Blocks have the size that `xz -T` gives them.
fn xz(level: u8, format: &Format<'_>) -> Result<Stream> {
    let options = LzmaOptions::new_preset(u32::from(level))?;
    let builder = |threads: usize| -> Result<MtStreamBuilder> {
        let mut filters = Filters::new();
        match format.arch {
            Arch::Arm64 => filters.arm64(),
            Arch::Armhf => filters.arm_thumb(),
        };
        filters.lzma2(&options);
        let mut builder = MtStreamBuilder::new();
        builder
            .block_size(filters.mt_block_size())
            .filters(filters)
            .check(Check::Crc64)
            .threads(u32::try_from(threads)?);
        Ok(builder)
    };
    let limit = memory()? / 2;
    let mut threads = format.threads.max(1);
    while threads > 1 && builder(threads)?.memusage() > limit {
        threads -= 1;
    }
    builder(threads)?.encoder().context("starting xz")
}

/// Bytes of memory that can be had: of the machine, and of the control group's limit.
fn memory() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
    let available = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .map_or(u64::MAX, |kib| kib << 10);
    // Absent outside a container, "max" without a limit.
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(u64::MAX);
    Ok(available.min(limit))
}

/// gzip, RFC 1952: no name, no time, unknown system.
fn gz(pieces: Receiver<Piece>, level: u8, threads: usize, out: &mut dyn Write) -> Result<()> {
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    out.write_all(&HEADER)?;
    let totals = deflate(pieces, level, threads, out)?;
    out.write_all(&totals.crc.to_le_bytes())?;
    // Modulo 2³², says the format.
    let size = totals.bytes & u64::from(u32::MAX);
    out.write_all(&u32::try_from(size)?.to_le_bytes())
        .context("writing the artefact")
}

fn zip(pieces: Receiver<Piece>, level: u8, format: &Format<'_>, out: &mut dyn Write) -> Result<()> {
    let mut archive = rawzip::ZipArchiveWriter::new(out);
    let (mut entry, _) = archive
        .new_file(format.member)
        .compression_method(rawzip::CompressionMethod::DEFLATE)
        .last_modified(rawzip::time::UtcDateTime::from_unix(format.epoch))
        .unix_permissions(0o644)
        .start()
        .context("writing the zip")?;
    let totals = deflate(pieces, level, format.threads, &mut entry)?;
    entry
        .finish(rawzip::DataDescriptorOutput::new(totals.crc, totals.bytes))
        .context("writing the zip")?;
    archive.finish().context("writing the zip")?;
    Ok(())
}

/// Hashes and counts what passes through.
struct Hashing {
    to: File,
    hash: Sha256,
    size: u64,
}

impl Hashing {
    fn new(to: File) -> Self {
        Self {
            to,
            hash: Sha256::new(),
            size: 0,
        }
    }
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
