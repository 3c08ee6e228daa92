//! What one step sees of the package cache.

use crate::sandbox::overlay::overlay;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Where the build's apt keeps what it computes from the lists (see `steps::apt`).
const CACHES: [&str; 2] = ["pkgcache.bin", "srcpkgcache.bin"];

/// An overlay over the build's view of the pool. What a step writes there never reaches the files
/// of the pool, which overlayfs copies first, and goes with this guard.
#[derive(Debug)]
pub struct Staging {
    view: PathBuf,
    /// The image's own work directory.
    work: PathBuf,
    /// Has the overlay's directories.
    dir: PathBuf,
    mounted: bool,
}

impl Staging {
    /// Makes a fresh directory in `work` for an overlay on `view`.
    pub(super) fn new(view: &Path, work: &Path) -> Result<Self> {
        let dir = work.join("packages");
        clear(&dir)?;
        for name in ["upper", "work", "seen"] {
            let path = dir.join(name);
            fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        }
        Ok(Self {
            view: view.to_owned(),
            work: work.to_owned(),
            dir,
            mounted: false,
        })
    }

    pub(super) fn mount(&mut self) -> Result<()> {
        overlay(&[&self.view], Some(&self.dir), &self.dir()).with_context(|| {
            format!(
                "showing the package cache {}; a CACHE_DIR on another file system may help",
                self.view.display()
            )
        })?;
        self.mounted = true;
        Ok(())
    }

    pub(super) fn unmount(&mut self) -> Result<()> {
        if std::mem::take(&mut self.mounted) {
            crate::sandbox::mounts::unmount(&self.dir())?;
        }
        Ok(())
    }

    /// The directory to be seen as /var/cache/apt/archives.
    pub fn dir(&self) -> PathBuf {
        self.dir.join("seen")
    }

    /// Where the step's own files are.
    pub(super) fn upper(&self) -> PathBuf {
        self.dir.join("upper")
    }

    /// The image's own work directory.
    pub(super) fn work(&self) -> &Path {
        &self.work
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let result = self.unmount().and_then(|()| clear(&self.dir));
        if let Err(error) = result {
            eprintln!("westwork-gen: {error:#}");
        }
    }
}

/// What apt computed from a step's lists. Only the step that stands on its layer may have it:
/// what a step finds must follow from what it stands on.
pub(super) struct Caches {
    pub(super) after: String,
    dir: tempfile::TempDir,
}

impl Caches {
    /// Takes them out of `staging`, in which the layer `after` was made.
    pub(super) fn of(staging: &Staging, after: &str) -> Result<Option<Self>> {
        let dir = tempfile::Builder::new()
            .prefix("packages-")
            .tempdir_in(staging.work())
            .context("making a directory for apt's caches")?;
        let mut found = false;
        for name in CACHES {
            let path = staging.upper().join(name);
            if fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file()) {
                fs::rename(&path, dir.path().join(name))
                    .with_context(|| format!("keeping {}", path.display()))?;
                found = true;
            }
        }
        let after = after.to_owned();
        Ok(found.then_some(Self { after, dir }))
    }

    /// Puts them into `staging`, which is not mounted yet.
    pub(super) fn give(self, staging: &Staging) -> Result<()> {
        for name in CACHES {
            let path = self.dir.path().join(name);
            if path.exists() {
                fs::rename(&path, staging.upper().join(name))
                    .with_context(|| format!("handing on {}", path.display()))?;
            }
        }
        Ok(())
    }
}

fn clear(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", dir.display()))
        }
        _ => Ok(()),
    }
}
