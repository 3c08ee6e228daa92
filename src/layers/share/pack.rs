//! A directory as one archive, and back: GNU tar with everything an overlay's layer has (device
//! nodes for what was removed, extended attributes, owners, hard links, holes), compressed.

use crate::base::command::Command;
use crate::base::tool::Tool;
use crate::layers::digest::LOCAL;
use anyhow::{Context, Result, anyhow, bail};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::Output;

/// zstd's own default: faster than most networks, and a third of the size.
const LEVEL: i32 = 3;

fn tar(dir: &Path) -> Command {
    Command::new(Tool::Tar)
        .set("LC_ALL", "C")
        .arg("--directory")
        .arg(dir)
        .args(["--acls", "--xattrs", "--xattrs-include=*"])
        .args(LOCAL.map(|name| format!("--xattrs-exclude={name}")))
        .arg("--numeric-owner")
}

/// Judges how tar ended.
fn succeeded(tar: &Output) -> Result<()> {
    if tar.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&tar.stderr);
    // The first is the cause; a thousand more may follow from it.
    let first = text.lines().next().unwrap_or("no message");
    let full = text
        .lines()
        .find(|line| FULL.iter().any(|full| line.contains(full)));
    if let Some(line) = full {
        return Err(anyhow!(Full).context(line.to_owned()));
    }
    bail!("{first}")
}

/// How the C library says that there is no room.
const FULL: [&str; 2] = ["No space left on device", "Disk quota exceeded"];

/// The disk is full: nothing is wrong with the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the disk is full")
    }
}

impl std::error::Error for Full {}

/// Writes `parts` of `dir` to `to`.
pub(super) fn pack(dir: &Path, parts: &[impl AsRef<std::ffi::OsStr>], to: &mut File) -> Result<()> {
    let (ended, packed) = tar(dir)
        .args(["--create", "--format=posix", "--sort=name", "--sparse"])
        .arg("--pax-option=delete=atime,delete=ctime")
        .args(parts)
        .read_through(|output| -> io::Result<()> {
            let mut encoder = zstd::Encoder::new(to, LEVEL)?;
            io::copy(output, &mut encoder)?;
            encoder.finish()?.flush()
        })?;
    packed
        .context("compressing")
        .and(succeeded(&ended))
        .with_context(|| format!("packing {}", dir.display()))
}

/// Unpacks `from` into `dir`.
pub(super) fn unpack(from: File, dir: &Path) -> Result<()> {
    let (ended, copied) = tar(dir)
        .args([
            "--extract",
            "--same-permissions",
            "--same-owner",
            "--delay-directory-restore",
        ])
        .write_through(|input| io::copy(&mut zstd::Decoder::new(from)?, input))?;
    // Of the two, tar knows better what was wrong.
    succeeded(&ended)
        .and(copied.map(drop).context("decompressing"))
        .with_context(|| format!("unpacking into {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Seek;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    /// What `work` returns, which must not take longer than tar would for a few thousand files.
    fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        std::thread::spawn(move || done.send(work()));
        result
            .recv_timeout(Duration::from_secs(60))
            .expect("it waits for ever")
    }

    /// A directory with more files than a pipe has room for complaints of.
    fn many() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("upper")).unwrap();
        for number in 0..1500 {
            fs::write(
                dir.path().join(format!("upper/{number:0>40}")),
                [number as u8; 50],
            )
            .unwrap();
        }
        dir
    }

    #[test]
    fn tar_may_complain_of_every_file() {
        let from = many();
        let mut archive = tempfile::tempfile().unwrap();
        pack(from.path(), &["upper".to_owned()], &mut archive).unwrap();
        archive.rewind().unwrap();
        // A directory with something in it is where each file should be.
        let to = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(from.path().join("upper")).unwrap() {
            let name = entry.unwrap().file_name();
            fs::create_dir_all(to.path().join("upper").join(name).join("in the way")).unwrap();
        }
        let error = in_time(move || unpack(archive, to.path())).unwrap_err();
        assert!(error.downcast_ref::<Full>().is_none(), "{error:#}");
        assert!(format!("{error:#}").contains("upper"), "{error:#}");
    }

    #[test]
    fn a_part_that_is_missing_ends_packing() {
        let from = many();
        let parts: Vec<String> = (0..1500).map(|n| format!("missing-{n:0>40}")).collect();
        let mut archive = tempfile::tempfile().unwrap();
        let error = in_time(move || pack(from.path(), &parts, &mut archive)).unwrap_err();
        assert!(format!("{error:#}").contains("missing-"), "{error:#}");
    }
}
