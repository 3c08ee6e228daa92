//! Package files and the directories they are in.

use crate::base::digest;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// What a step has downloaded, as far as it left it where apt keeps it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Downloaded {
    /// Files.
    pub packages: usize,
    /// Of all together.
    pub bytes: u64,
}

impl Downloaded {
    /// The files `names` in `dir`.
    pub(super) fn of(dir: &Path, names: &BTreeSet<String>) -> Self {
        let sizes = names.iter().map(|name| dir.join(name).metadata());
        Self {
            packages: names.len(),
            bytes: sizes.flatten().map(|meta| meta.len()).sum(),
        }
    }
}

/// A copy of the file at `path` in the directory `pool`, with its checksum: what is copied is
/// what is hashed, whatever happens to the original. None if it is no ordinary file.
pub(super) fn copied(
    path: &Path,
    pool: &Path,
) -> Result<Option<(tempfile::NamedTempFile, String)>> {
    let open = fs::File::options()
        .read(true)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(path);
    let mut from = match open {
        Ok(file) => file,
        Err(error) if error.raw_os_error() == Some(nix::libc::ELOOP) => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
    };
    if !from.metadata().is_ok_and(|meta| meta.is_file()) {
        return Ok(None);
    }
    let mut copy = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(pool)
        .with_context(|| format!("making a file in {}", pool.display()))?;
    let (sha256, _) = digest::copied(&mut from, copy.as_file_mut())
        .with_context(|| format!("copying {}", path.display()))?;
    Ok(Some((copy, sha256)))
}

/// A directory in the cache, gone with the guard.
pub(super) fn scratch(cache: &Path) -> Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix("build-")
        .tempdir_in(cache)
        .with_context(|| format!("making a directory in {}", cache.display()))
}

/// Removes views that builds which were killed have left: those older than two days.
pub(super) fn sweep(cache_dir: &Path) {
    let old = SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
    for entry in fs::read_dir(cache_dir).into_iter().flatten().flatten() {
        let is_view = entry.file_name().to_string_lossy().starts_with("build-");
        let modified = entry.metadata().and_then(|meta| meta.modified());
        if is_view && modified.is_ok_and(|modified| modified < old) {
            // The next build tries again.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Names of the package files in `dir`.
pub(super) fn packages(dir: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let entry = entry.with_context(|| format!("reading {}", dir.display()))?;
        let kind = entry.file_type();
        let name = entry.file_name();
        if let Some(name) = name.to_str().filter(|name| name.ends_with(".deb")) {
            if kind.is_ok_and(|kind| kind.is_file()) {
                names.insert(name.to_owned());
            }
        }
    }
    Ok(names)
}

/// Makes `to` a hard link to `from`, whatever it was before.
pub(super) fn link(from: &Path, to: &Path) -> Result<()> {
    let inode = |path: &Path| fs::symlink_metadata(path).ok().map(|meta| meta.ino());
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && inode(from) == inode(to) => {
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            remove(to)?;
            fs::hard_link(from, to).with_context(|| format!("linking {}", from.display()))
        }
        other => other.with_context(|| format!("linking {}", from.display())),
    }
}

pub(super) fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).with_context(|| format!("removing {}", path.display()))
}
