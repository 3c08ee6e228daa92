//! Putting a restored tree in the place of /data.
//!
//! Where /data is an ordinary directory, one system call does it. Where it is a mount point (an
//! image with a data partition), its entries are exchanged one by one, and each state on the way
//! can be told from the names there are, so that the next boot goes on where the power was cut:
//!
//! | name in /data | state |
//! |---|---|
//! | `.restore.new` | being unpacked; nothing is decided |
//! | `.restore` | decided: what was there goes to `.restore.old` |
//! | `.restore.in` | that is done: what is in it goes to its place |
//! | `.restore.old` | the rest is to be removed |

use super::DATA;
use crate::render::remove_tree;
use crate::root::{Root, copy_attributes, sync_directory};
use anyhow::{Context, Result};
use rustix::fs::{
    AtFlags, CWD, RenameFlags, StatxAttributes, StatxFlags, renameat_with, statx, syncfs,
};
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const NEW: &str = ".restore.new";
const READY: &str = ".restore";
const IN: &str = ".restore.in";
const OLD: &str = ".restore.old";

/// Names at the top of /data that stay where they are, and are in no backup: the lock, what
/// restoring needs, and what belongs to the file system.
pub(super) const STAY: [&str; 6] = [".westwork.lock", "lost+found", NEW, READY, IN, OLD];

/// Where a restored tree is made: on /data's file system.
pub(super) struct NewTree {
    mounted: bool,
    folder: PathBuf,
}

impl NewTree {
    /// Empty: what an interrupted restore left is removed.
    pub(super) fn new(root: &Root) -> Result<Self> {
        let mounted = is_mount_point(&root.data())?;
        let folder = if mounted {
            root.data().join(NEW)
        } else {
            root.path("/data.next")
        };
        let place = Self { mounted, folder };
        place.remove()?;
        // Closed to the services' users, who could plant links while it fills.
        DirBuilder::new()
            .mode(0o700)
            .create(&place.folder)
            .with_context(|| format!("making {}", place.folder.display()))?;
        Ok(place)
    }

    /// The archive's members go here: their names begin with `data/`.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The next /data.
    pub(super) fn tree(&self) -> PathBuf {
        self.folder.join(DATA)
    }

    /// The next /data becomes /data.
    pub(super) fn exchange(&self, root: &Root) -> Result<()> {
        let tree = self.tree();
        syncfs(File::open(&tree)?).context("syncing the restored data")?;
        if self.mounted {
            rename(&tree, &root.data().join(READY))?;
            return finish(root);
        }
        renameat_with(CWD, &tree, CWD, root.data(), RenameFlags::EXCHANGE)
            .context("exchanging /data")?;
        sync_directory(root.data().parent().unwrap_or(Path::new("/")))
    }

    pub(super) fn remove(&self) -> Result<()> {
        remove_tree(&self.folder)
    }
}

/// Finishes a restore that was decided, if there is one.
pub(super) fn finish(root: &Root) -> Result<()> {
    let data = root.data();
    let [ready, arriving, old] = [READY, IN, OLD].map(|name| data.join(name));
    if ready.is_dir() {
        std::fs::create_dir_all(&old).with_context(|| format!("making {}", old.display()))?;
        move_entries(&data, &old)?;
        rename(&ready, &arriving)?;
        sync_directory(&data)?;
    }
    if arriving.is_dir() {
        move_entries(&arriving, &data)?;
        copy_attributes(&arriving, &data)?;
        remove_tree(&arriving)?;
        sync_directory(&data)?;
    }
    remove_tree(&old)
}

fn move_entries(from: &Path, to: &Path) -> Result<()> {
    for entry in from
        .read_dir()
        .with_context(|| format!("reading {}", from.display()))?
    {
        let name = entry?.file_name();
        if !STAY.iter().any(|stays| name == *stays) {
            rename(&from.join(&name), &to.join(&name))?;
        }
    }
    sync_directory(to)?;
    sync_directory(from)
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to)
        .with_context(|| format!("moving {} to {}", from.display(), to.display()))
}

/// Linux before 5.8 does not say; a device needs 6.12.
fn is_mount_point(path: &Path) -> Result<bool> {
    let status = statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS)
        .with_context(|| format!("reading {}", path.display()))?;
    Ok(status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
