//! The SHA-256 of files and streams.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// The SHA-256 in hex of what `from` has left to give, and how many bytes that were.
///
/// # Errors
/// When it cannot be read.
pub fn of_reader(from: &mut impl Read) -> Result<(String, u64)> {
    copied(from, &mut std::io::sink())
}

/// As [`of_reader`]; everything read is also written to `to`, so that what was hashed is what
/// is there.
///
/// # Errors
/// When it cannot be read or written.
pub fn copied(from: &mut impl Read, to: &mut impl Write) -> Result<(String, u64)> {
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 18]);
    loop {
        let n = from.read(&mut buffer).context("reading")?;
        if n == 0 {
            return Ok((hex::encode(hash.finalize()), size));
        }
        hash.update(&buffer[..n]);
        to.write_all(&buffer[..n]).context("writing")?;
        size += n as u64;
    }
}

/// The SHA-256 of the file at `path`, in hex.
///
/// # Errors
/// When it cannot be read.
pub fn of_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let (sha256, _) =
        of_reader(&mut file).with_context(|| format!("reading {}", path.display()))?;
    Ok(sha256)
}

/// Whether `text` is a SHA-256 as this program writes it: 64 small hexadecimal digits.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
