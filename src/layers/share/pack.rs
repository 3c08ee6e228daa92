//! A directory as one archive, and back: GNU tar with everything an overlay's layer has (device
//! nodes for what was removed, extended attributes, owners, hard links, holes), compressed.

use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// zstd's own default: faster than most networks, and a third of the size.
const LEVEL: i32 = 3;

/// Attributes with which overlayfs names inodes of this machine.
const LOCAL: [&str; 3] = [
    "--xattrs-exclude=user.overlay.origin",
    "--xattrs-exclude=user.overlay.impure",
    "--xattrs-exclude=user.overlay.uuid",
];

fn tar(dir: &Path) -> Command {
    let mut command = Command::new("tar");
    command
        .arg("--directory")
        .arg(dir)
        .args(["--acls", "--xattrs", "--xattrs-include=*"])
        .args(LOCAL)
        .arg("--numeric-owner")
        .stderr(Stdio::piped());
    command
}

/// Waits for tar.
fn succeeded(tar: Child) -> Result<()> {
    let end = tar.wait_with_output().context("waiting for tar")?;
    let said = String::from_utf8_lossy(&end.stderr);
    ensure!(end.status.success(), "tar: {}", said.trim());
    Ok(())
}

/// Writes `parts` of `dir` to `to`.
pub(super) fn pack(dir: &Path, parts: &[String], to: &mut File) -> Result<()> {
    let mut child = tar(dir)
        .args(["--create", "--format=posix", "--sort=name", "--sparse"])
        .arg("--pax-option=delete=atime,delete=ctime")
        .args(parts)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting tar")?;
    let mut output = child.stdout.take().context("reading tar's output")?;
    let mut encoder = zstd::Encoder::new(to, LEVEL).context("starting to compress")?;
    io::copy(&mut output, &mut encoder)
        .and_then(|_| encoder.finish()?.flush())
        .with_context(|| format!("packing {}", dir.display()))?;
    succeeded(child).with_context(|| format!("packing {}", dir.display()))
}

/// Unpacks `from` into `dir`.
pub(super) fn unpack(from: File, dir: &Path) -> Result<()> {
    let mut child = tar(dir)
        .args([
            "--extract",
            "--same-permissions",
            "--same-owner",
            "--delay-directory-restore",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("starting tar")?;
    let mut input = child.stdin.take().context("writing tar's input")?;
    let mut decoder = zstd::Decoder::new(from).context("starting to decompress")?;
    let copied = io::copy(&mut decoder, &mut input);
    drop(input);
    // Of the two, tar knows better what was wrong.
    succeeded(child)
        .and(copied.map(drop).context("decompressing"))
        .with_context(|| format!("unpacking into {}", dir.display()))
}
