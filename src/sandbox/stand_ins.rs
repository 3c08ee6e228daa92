//! Files that stand in for the image's own while a step runs: `policy-rc.d`, which forbids services,
//! the machine's `resolv.conf`, and the mount point of the native tools.
//!
//! They are a layer between what the step stands on and what it changes. The step sees them, may
//! replace or remove them like any other file, and its own layer has only what it did.

use super::mounts::{Tree, path_of, point, point_inside};
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Mount point of the native tools inside the chroot.
pub const TOOLS_DIR: &str = ".westwork-gen";
/// invoke-rc.d(8): 101 forbids every action.
pub(crate) const POLICY: &str = "#!/bin/sh\nexit 101\n";

/// A file of ours is shorter; a longer one is not read to its end.
const LONGEST: u64 = 1 << 16;

/// Directory, name, text and mode of each.
fn files() -> [(&'static str, &'static str, Vec<u8>, u32); 2] {
    let resolver = fs::read("/etc/resolv.conf").unwrap_or_default();
    [
        ("usr/sbin", "policy-rc.d", POLICY.into(), 0o755),
        ("etc", "resolv.conf", resolver, 0o644),
    ]
}

/// Fills `layer`, an empty directory, with what stands in for the root file system at `rootfs`.
/// Directories on the way get the owners, modes, times and attributes of the image's. Returns
/// whether there is a root file system.
///
/// # Errors
/// When a file cannot be made.
pub fn fill(rootfs: &Path, layer: &Path) -> Result<bool> {
    let Ok(root) = point(rootfs) else {
        return Ok(false);
    };
    let top = fs::read_link(path_of(&root)).context("finding the root file system")?;
    let mut dirs = BTreeMap::from([(PathBuf::new(), root.try_clone()?)]);
    let mut wanted = Vec::new();
    for (dir, name, text, mode) in files() {
        let Some(found) = point_inside(&root, dir)? else {
            continue;
        };
        // A link stays what it is: into /run, the machine's resolver is shown at its target.
        if name == "resolv.conf" && readlinkat(&found, name).is_ok() || text.is_empty() {
            continue;
        }
        let real = fs::read_link(path_of(&found)).context("finding a directory")?;
        let Ok(below) = real.strip_prefix(&top) else {
            continue;
        };
        for parent in below.ancestors() {
            let text = parent.to_str().context("a path that is not UTF-8")?;
            if !text.is_empty() && !dirs.contains_key(parent) {
                let found = point_inside(&root, text)?.context("opening a directory")?;
                dirs.insert(parent.to_owned(), found);
            }
        }
        wanted.push((below.join(name), text, mode));
    }
    let base = layer.join("rootfs");
    for dir in dirs.keys() {
        let at = base.join(dir);
        fs::create_dir(&at).with_context(|| format!("making {}", at.display()))?;
    }
    fs::create_dir(base.join(TOOLS_DIR)).context("making the tools' mount point")?;
    for (path, text, mode) in wanted {
        let at = base.join(path);
        fs::write(&at, text).with_context(|| format!("writing {}", at.display()))?;
        fs::set_permissions(&at, fs::Permissions::from_mode(mode))
            .with_context(|| format!("setting the mode of {}", at.display()))?;
    }
    // The innermost first: what is made in a directory changes its time.
    for (dir, from) in dirs.iter().rev() {
        look_alike(from, &base.join(dir))?;
    }
    Ok(true)
}

/// Gives the directory `to` what `from` has.
fn look_alike(from: &OwnedFd, to: &Path) -> Result<()> {
    let changing = || format!("preparing {}", to.display());
    let stat: FileStat = fstat(from).with_context(changing)?;
    chown(to, Some(stat.st_uid), Some(stat.st_gid)).with_context(changing)?;
    let mode = fs::Permissions::from_mode(stat.st_mode & 0o7777);
    fs::set_permissions(to, mode).with_context(changing)?;
    let path = path_of(from);
    for name in xattr::list_deref(&path).with_context(changing)? {
        // overlayfs keeps its own there.
        if name.as_encoded_bytes().starts_with(b"user.overlay.") {
            continue;
        }
        if let Some(value) = xattr::get_deref(&path, &name).with_context(changing)? {
            xattr::set(to, &name, &value).with_context(changing)?;
        }
    }
    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
    let nanos = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    let modified = UNIX_EPOCH + Duration::new(seconds, nanos);
    File::open(to)
        .and_then(|dir| dir.set_modified(modified))
        .with_context(changing)
}

/// Where no such layer is beneath the step (a host script's `on_chroot`, a shell, a toolchain): makes
/// the files that are missing, and mounts them over others, by way of the directory `private`.
/// [`forget`] takes away again what was made: after the command, and if that was killed, from the
/// step's layer.
pub(super) fn stand_in(root: &OwnedFd, private: &Path) -> Result<()> {
    for (dir, name, text, mode) in files() {
        let Some(dir) = point_inside(root, dir)?.filter(|_| !text.is_empty()) else {
            continue;
        };
        let how = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        match openat(&dir, name, how, Mode::from_bits_truncate(mode)) {
            Ok(file) => File::from(file)
                .write_all(&text)
                .with_context(|| format!("writing {name}"))?,
            Err(Errno::EEXIST) => {
                // A link is the image's affair.
                let Some(at) = plain_file(&dir, name)? else {
                    continue;
                };
                let ours = private.join(name);
                fs::write(&ours, &text).with_context(|| format!("placing {name}"))?;
                fs::set_permissions(&ours, fs::Permissions::from_mode(mode))
                    .with_context(|| format!("setting the mode of {name}"))?;
                Tree::of(&ours)?.attach(&at)?;
            }
            Err(error) => return Err(error).with_context(|| format!("making {name}")),
        }
    }
    Ok(())
}

/// The file `name` of `dir`, to be mounted on, if it is no link and nothing else.
fn plain_file(dir: &OwnedFd, name: &str) -> Result<Option<OwnedFd>> {
    let how = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let found = openat(dir, name, how, Mode::empty()).with_context(|| format!("opening {name}"))?;
    let kind = fstat(&found).with_context(|| format!("looking at {name}"))?;
    Ok((kind.st_mode & libc::S_IFMT == libc::S_IFREG).then_some(found))
}

/// Removes from the changes of a step that had no layer of stand-ins what stood in: files that
/// are byte for byte the program's, and the tools' empty mount point. `changes` is the layer's
/// root file system; links in it are not followed.
///
/// # Errors
/// When a file cannot be removed.
pub fn forget(changes: &Path) -> Result<()> {
    match point(changes) {
        Ok(root) => forget_in(&root, &[]),
        Err(_) => Ok(()),
    }
}

/// Names of the stand-ins that a root file system has files for already.
pub(super) fn there(root: &OwnedFd) -> Result<Vec<&'static str>> {
    let mut found = Vec::new();
    for (dir, name, ..) in files() {
        let how = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let dir = point_inside(root, dir)?;
        if dir.is_some_and(|dir| openat(&dir, name, how, Mode::empty()).is_ok()) {
            found.push(name);
        }
    }
    Ok(found)
}

/// As [`forget`], of a root file system that is open, and without those of the names `but`.
pub(super) fn forget_in(root: &OwnedFd, but: &[&str]) -> Result<()> {
    for (dir, name, text, _) in files() {
        if but.contains(&name) {
            continue;
        }
        let Some(dir) = point_inside(root, dir)? else {
            continue;
        };
        let how = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let Ok(file) = openat(&dir, name, how, Mode::empty()) else {
            continue;
        };
        let is_file = fstat(&file).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFREG);
        let mut found = Vec::new();
        let read = File::from(file).take(LONGEST).read_to_end(&mut found);
        if is_file && read.is_ok() && found == text {
            unlinkat(&dir, name, UnlinkatFlags::NoRemoveDir)
                .with_context(|| format!("removing {name}"))?;
        }
    }
    // Not empty: then it is the image's own.
    let _ = unlinkat(root, TOOLS_DIR, UnlinkatFlags::RemoveDir);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn only_what_is_the_programs_own_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::write(&outside, POLICY).unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("usr/sbin")).unwrap();
        let policy = root.join("usr/sbin/policy-rc.d");
        symlink(&outside, &policy).unwrap();
        forget(&root).unwrap();
        assert!(policy.is_symlink() && outside.exists());
        fs::remove_file(&policy).unwrap();
        fs::write(&policy, "#!/bin/sh\nexit 0\n").unwrap();
        forget(&root).unwrap();
        assert!(policy.exists());
        fs::write(&policy, POLICY).unwrap();
        fs::create_dir(root.join(TOOLS_DIR)).unwrap();
        forget(&root).unwrap();
        assert!(!policy.exists() && !root.join(TOOLS_DIR).exists());
    }

    #[test]
    fn directories_look_like_the_images() {
        let dir = tempfile::tempdir().unwrap();
        let (root, layer) = (dir.path().join("root"), dir.path().join("layer"));
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        symlink("bin", root.join("usr/sbin")).unwrap();
        fs::create_dir(root.join("etc")).unwrap();
        symlink("../run/resolv.conf", root.join("etc/resolv.conf")).unwrap();
        fs::set_permissions(root.join("usr/bin"), fs::Permissions::from_mode(0o711)).unwrap();
        let old = UNIX_EPOCH + Duration::from_secs(1_000_000);
        File::open(root.join("usr/bin"))
            .unwrap()
            .set_modified(old)
            .unwrap();
        fs::create_dir(&layer).unwrap();
        assert!(fill(&root, &layer).unwrap());
        let made = fs::metadata(layer.join("rootfs/usr/bin")).unwrap();
        assert_eq!(
            (made.mode() & 0o7777, made.modified().unwrap()),
            (0o711, old)
        );
        let policy = layer.join("rootfs/usr/bin/policy-rc.d");
        assert_eq!(fs::read_to_string(policy).unwrap(), POLICY);
        assert!(!layer.join("rootfs/etc").exists());
        assert!(!fill(&dir.path().join("none"), &layer).unwrap());
    }
}
