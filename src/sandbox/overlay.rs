//! Overlays of directories whose paths may have any characters.

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};
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

/// As [`overlay`], of any number of directories that the kernel has room for: each is told apart
/// from the others, so that their names need not fit into a page. Set-id programs and devices are
/// as they are on the file system below.
///
/// # Errors
/// As there, and before Linux 6.7.
pub(crate) fn one_by_one(lower: &[String], scratch: Option<&str>, at: &Path) -> Result<()> {
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).context("opening overlayfs")?;
    fsconfig_set_flag(&overlay, "userxattr").context("setting up an overlay")?;
    for directory in lower {
        fsconfig_set_string(&overlay, "lowerdir+", directory)
            .with_context(|| format!("adding {directory} to an overlay"))?;
    }
    if let Some(scratch) = scratch {
        fsconfig_set_flag(&overlay, "volatile").context("setting up an overlay")?;
        for name in ["upper", "work"] {
            let directory = format!("{scratch}/{name}");
            fsconfig_set_string(&overlay, format!("{name}dir"), &directory)
                .with_context(|| format!("adding {directory} to an overlay"))?;
        }
    }
    fsconfig_create(&overlay).context("making an overlay")?;
    let made = fsmount(
        &overlay,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )
    .context("making an overlay's mount")?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&made, "", CWD, at, flags).context("placing an overlay")
}
