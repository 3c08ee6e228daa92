//! Overlays of directories whose paths may have any characters.

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// Shows the directories `lower` (top first) at `at`. With `scratch`, a directory that has `upper`
/// and `work`, changes go to `upper`; without it there is no way to write to any of them, not
/// even for somebody who may mount it anew.
///
/// # Errors
/// When a directory is missing or the file system cannot be part of an overlay.
pub(crate) fn overlay(lower: &[&Path], scratch: Option<&Path>, at: &Path) -> Result<()> {
    // Descriptors stand for the paths, in which commas and colons would mean something.
    let open = |path: &Path| -> Result<OwnedFd> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        Ok(file.into())
    };
    let name = |file: &OwnedFd| format!("/proc/self/fd/{}", file.as_raw_fd());
    let lower: Vec<OwnedFd> = lower.iter().map(|path| open(path)).collect::<Result<_>>()?;
    let names: Vec<String> = lower.iter().map(name).collect();
    let mut options = format!("userxattr,lowerdir={}", names.join(":"));
    let scratch = scratch.map(open).transpose()?;
    if let Some(scratch) = &scratch {
        let scratch = name(scratch);
        options += &format!(",volatile,upperdir={scratch}/upper,workdir={scratch}/work");
    }
    mount(
        Some("overlay"),
        at,
        Some("overlay"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some(options.as_str()),
    )
    .with_context(|| format!("mounting an overlay at {}", at.display()))
}
