//! Showing layers: a stack of them read-only, or with something on top that takes changes.
//!
//! Layers are named relative to the store, which is the process's working directory.

use crate::layers::identity::{ID_LENGTH, Key};
use crate::sandbox::mounts::LAYERS_IN_A_PAGE;
use crate::sandbox::overlay::one_by_one;
use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Bytes of mount options that the kernel takes: a page.
const OPTIONS: usize = 4096;

// Each takes the length of its name, `/upper` and a colon; what else there is takes at most 200.
const _: () = assert!(LAYERS_IN_A_PAGE <= (OPTIONS - 200) / (ID_LENGTH + "/upper:".len()));

/// Mounts `lower` (top first) at `at`, read-only, or with `scratch` (a directory of the store
/// with `upper` and `work`) on top to take changes.
pub(super) fn overlay(mut lower: Vec<String>, scratch: Option<&str>, at: &Path) -> Result<()> {
    let layers = lower.len();
    // overlayfs wants at least one lower directory, and two when nothing is on top.
    lower.push("empty".to_owned());
    fs::create_dir_all(at).with_context(|| format!("making {}", at.display()))?;
    let mut options = format!("userxattr,lowerdir={}", lower.join(":"));
    if let Some(scratch) = scratch {
        options += &format!(",volatile,upperdir={scratch}/upper,workdir={scratch}/work");
    }
    if options.len() >= OPTIONS {
        return one_by_one(&lower, scratch, at)
            .with_context(|| format!("mounting {layers} layers at {}", at.display()));
    }
    mount(
        Some("overlay"),
        at,
        Some("overlay"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .with_context(|| format!("mounting {layers} layers at {}", at.display()))
}

/// The stack's directories as overlayfs wants them: top first.
pub(super) fn lower_dirs(stack: &[Key]) -> Vec<String> {
    stack
        .iter()
        .rev()
        .map(|key| format!("{}/upper", key.id()))
        .collect()
}

/// Makes the directories of `dir`, in which a mount is to keep changes; those that are there stay,
/// but for overlayfs's own.
pub(super) fn make_scratch(dir: &Path) -> Result<()> {
    remove(&dir.join("work"))?;
    for name in ["upper", "work"] {
        let path = dir.join(name);
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
    }
    Ok(())
}

/// A read-only mount of some layers.
pub struct View {
    at: PathBuf,
}

impl View {
    /// Mounts `lower` (top first) at `at`.
    pub(super) fn new(lower: Vec<String>, at: &Path) -> Result<Self> {
        overlay(lower, None, at)?;
        Ok(Self { at: at.to_owned() })
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Err(error) = crate::sandbox::mounts::unmount(&self.at) {
            eprintln!("westwork-gen: {error:#}");
        }
    }
}

/// A mount whose changes are not kept.
pub struct Scratch {
    /// Goes with it.
    dir: PathBuf,
    view: Option<View>,
}

impl Scratch {
    /// Mounts `lower` (top first) at `at` under the directory `name` of the store, which is `store`.
    pub(super) fn new(store: &Path, name: &str, lower: Vec<String>, at: &Path) -> Result<Self> {
        let dir = store.join(name);
        remove(&dir)?;
        make_scratch(&dir)?;
        overlay(lower, Some(name), at)?;
        let view = Some(View { at: at.to_owned() });
        Ok(Self { dir, view })
    }

    /// The same, but what is in the directory is there again, and stays.
    pub(super) fn kept(store: &Path, name: &str, lower: Vec<String>, at: &Path) -> Result<Self> {
        let dir = store.join(name);
        make_scratch(&dir)?;
        overlay(lower, Some(name), at)?;
        Ok(Self {
            // Only overlayfs's own directory goes.
            dir: dir.join("work"),
            view: Some(View { at: at.to_owned() }),
        })
    }

    /// A directory of its own on the same file system, gone with the mount.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn directory(&self) -> Result<PathBuf> {
        let dir = self.dir.join("scratch");
        fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        Ok(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.view = None;
        if let Err(error) = remove(&self.dir) {
            eprintln!("westwork-gen: {error:#}");
        }
    }
}

/// Removes a directory of the store, if it is there. Symbolic links in it are not followed. It is
/// never a mount point: mounts are made elsewhere, and only in the sandbox's own namespace.
pub(crate) fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", dir.display()))
        }
        _ => Ok(()),
    }
}
