//! The raw bytes of an image, whatever form it comes in.

use anyhow::{Context, Result};
use serde::Serialize;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How an image is packed, by the first bytes of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    Raw,
    Zst,
    Xz,
    Gz,
    Zip,
}

impl Form {
    /// The form of the file at `path`.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let mut head = [0; 6];
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let n = file
            .read_at(&mut head, 0)
            .with_context(|| format!("reading {}", path.display()))?;
        Ok(match &head[..n] {
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zst,
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Self::Xz,
            [0x1f, 0x8b, ..] => Self::Gz,
            [b'P', b'K', 3, 4, ..] => Self::Zip,
            _ => Self::Raw,
        })
    }
}

/// Calls `work` with a reader of the raw image. From a zip it is the member whose name
/// ends in `.img`, or the first one.
pub(crate) fn with<T>(path: &Path, work: impl FnOnce(&mut dyn Read) -> Result<T>) -> Result<T> {
    let form = Form::of(path)?;
    let source = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    match form {
        Form::Raw => work(&mut &source),
        Form::Zst => work(&mut zstd::Decoder::new(source).context("reading zstd")?),
        Form::Xz => work(&mut liblzma::read::XzDecoder::new_multi_decoder(source)),
        Form::Gz => work(&mut flate2::read::MultiGzDecoder::new(source)),
        Form::Zip => {
            let mut archive = zip::ZipArchive::new(source).context("reading the zip")?;
            let member = archive.file_names().position(|name| name.ends_with(".img"));
            work(&mut archive.by_index(member.unwrap_or(0))?)
        }
    }
}

/// Bytes of the raw image, if its file says so without being unpacked.
pub(crate) fn raw_size(path: &Path) -> Result<Option<u64>> {
    let source = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    Ok(match Form::of(path)? {
        Form::Raw => Some(super::disk::size(&source)?),
        Form::Zip => {
            let mut archive = zip::ZipArchive::new(source).context("reading the zip")?;
            let member = archive.file_names().position(|name| name.ends_with(".img"));
            Some(archive.by_index(member.unwrap_or(0))?.size())
        }
        // gzip's is modulo 4 GiB, and zstd's only that of the first frame.
        Form::Zst | Form::Gz | Form::Xz => None,
    })
}

/// Reads until `buffer` is full or the end is reached. Returns the bytes read.
pub(crate) fn fill(from: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match from.read(&mut buffer[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(n)
}

/// Copies `from` to the empty `to`, leaving holes where 64 KiB are zero. Returns the bytes.
pub(crate) fn write_sparse(from: &mut dyn Read, to: &mut File) -> Result<u64> {
    let mut buffer = vec![0; 64 << 10];
    let mut size = 0;
    loop {
        let n = fill(from, &mut buffer)?;
        if n == 0 {
            break;
        }
        if !is_zero(&buffer[..n]) {
            to.write_all_at(&buffer[..n], size)
                .context("writing the unpacked image")?;
        }
        size += n as u64;
    }
    to.set_len(size).context("sizing the unpacked image")?;
    to.flush()?;
    Ok(size)
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // One comparison of the whole with itself, shifted: memcmp's speed.
    bytes.is_empty() || (bytes[0] == 0 && bytes[1..] == bytes[..bytes.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_told_from_what_only_begins_or_ends_so() {
        assert!(is_zero(&[]) && is_zero(&[0]) && is_zero(&[0; 9]));
        assert!(
            !is_zero(&[1]) && !is_zero(&[0, 0, 1]) && !is_zero(&[1, 0, 0]) && !is_zero(&[7; 9])
        );
    }
}
