//! The store of layers: one directory of changes a step, committed by one rename.
//!
//! ```text
//! work/layers/3f9a0c41b2d7/   upper/      what the step changed, as overlayfs keeps it
//!                             layer.json  its key, its parent and what the key was made of
//! work/layers/new-3f9a…/      a step in progress; worthless, and thrown away, unless committed
//! work/layers/failed-3f9a…/   the last failed step, kept so that one can look inside
//! ```

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Length of a layer's directory name. Mount options must fit a page (4096 bytes) with all
/// lower layers in them; 48 bits are plenty to tell the layers of one store apart.
const ID_LENGTH: usize = 12;

/// What a layer is made from: every input by name, in a fixed order.
pub type Inputs = BTreeMap<String, String>;

/// Identity of a committed layer: the hash of its parent's key and its inputs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key(String);

impl Key {
    /// Key of the layer that `inputs` make on top of `parent`.
    pub fn new(parent: Option<&Self>, inputs: &Inputs) -> Self {
        let mut hash = Sha256::new();
        hash.update(parent.map_or("", |key| key.0.as_str()));
        for (name, value) in inputs {
            // Lengths keep neighbouring texts apart.
            hash.update(format!("\n{}:{name}={}:{value}", name.len(), value.len()));
        }
        Self(hex::encode(hash.finalize()))
    }

    /// The layer's directory name.
    pub fn id(&self) -> &str {
        &self.0[..ID_LENGTH]
    }
}

/// Metadata kept beside a layer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub key: Key,
    pub parent: Option<Key>,
    /// Step name, for people.
    pub name: String,
    pub inputs: Inputs,
}

/// The directory of all layers, held by this process alone.
pub struct Store {
    dir: PathBuf,
    _lock: Flock<File>,
}

impl Store {
    /// Opens or makes the store below `work_dir`, and throws away what an interrupted run left.
    /// The process's working directory becomes the store: mounts name layers relative to it.
    pub fn open(work_dir: &Path) -> Result<Self> {
        let dir = work_dir.join("layers");
        fs::create_dir_all(dir.join("empty"))
            .with_context(|| format!("making {}", dir.display()))?;
        let store = Self {
            _lock: lock(&dir.join("lock"))?,
            dir,
        };
        for entry in fs::read_dir(&store.dir).context("reading the layer store")? {
            let entry = entry.context("reading the layer store")?;
            if entry.file_name().to_string_lossy().starts_with("new-") {
                remove(&entry.path())?;
            }
        }
        std::env::set_current_dir(&store.dir).context("changing to the layer store")?;
        Ok(store)
    }

    /// The record of a committed layer, if there is one with this key.
    pub fn find(&self, key: &Key) -> Option<Record> {
        let text = fs::read(self.dir.join(key.id()).join("layer.json")).ok()?;
        serde_json::from_slice(&text)
            .ok()
            .filter(|record: &Record| record.key == *key)
    }

    /// The directory of a committed layer's changes.
    pub fn upper(&self, key: &Key) -> PathBuf {
        self.dir.join(key.id()).join("upper")
    }

    /// Starts a layer on top of `stack` (bottom first) and mounts it at `at`.
    pub fn begin(&self, record: Record, stack: &[Key], at: &Path) -> Result<NewLayer<'_>> {
        let name = format!("new-{}", record.key.id());
        let dir = self.dir.join(&name);
        remove(&dir)?;
        fs::create_dir_all(dir.join("upper"))
            .with_context(|| format!("making {}", dir.display()))?;
        fs::create_dir(dir.join("work")).with_context(|| format!("making {}", dir.display()))?;
        self.mount(lower_dirs(stack), Some(&name), at)?;
        Ok(NewLayer {
            store: self,
            record,
            dir,
            at: at.to_owned(),
        })
    }

    /// Mounts `lower` (top first) at `at`, read-only, or with `scratch` (a directory of the
    /// store with `upper` and `work`) on top to take changes.
    fn mount(&self, mut lower: Vec<String>, scratch: Option<&str>, at: &Path) -> Result<()> {
        let layers = lower.len();
        // overlayfs wants at least one lower directory, and two when nothing is on top.
        lower.push("empty".to_owned());
        let mut options = format!("userxattr,lowerdir={}", lower.join(":"));
        if let Some(scratch) = scratch {
            options += &format!(",volatile,upperdir={scratch}/upper,workdir={scratch}/work");
        }
        ensure!(
            options.len() < 4096,
            "too many layers ({layers}) for one mount"
        );
        fs::create_dir_all(at).with_context(|| format!("making {}", at.display()))?;
        mount(
            Some("overlay"),
            at,
            Some("overlay"),
            MsFlags::empty(),
            Some(options.as_str()),
        )
        .with_context(|| format!("mounting {layers} layers at {}", at.display()))
    }

    /// Mounts `stack` read-only at `at` until the returned guard is dropped.
    pub fn view(&self, stack: &[Key], at: &Path) -> Result<View> {
        self.mount(lower_dirs(stack), None, at)?;
        Ok(View { at: at.to_owned() })
    }

    /// Mounts `stack` with a throw-away top layer at `at`; changes go when the guard is dropped.
    pub fn scratch(&self, name: &str, stack: &[Key], at: &Path) -> Result<Scratch> {
        self.scratch_over(name, lower_dirs(stack), at)
    }

    fn scratch_over(&self, name: &str, lower: Vec<String>, at: &Path) -> Result<Scratch> {
        let name = format!("new-{name}");
        let dir = self.dir.join(&name);
        remove(&dir)?;
        fs::create_dir_all(dir.join("upper"))
            .with_context(|| format!("making {}", dir.display()))?;
        fs::create_dir(dir.join("work")).with_context(|| format!("making {}", dir.display()))?;
        self.mount(lower, Some(&name), at)?;
        Ok(Scratch {
            dir,
            view: Some(View { at: at.to_owned() }),
        })
    }

    /// Mounts the failed step's half-done layer on `stack` at `at`, changes thrown away.
    pub fn failed(&self, key: &Key, stack: &[Key], at: &Path) -> Result<Option<Scratch>> {
        let failed = format!("failed-{}", key.id());
        if !self.dir.join(&failed).is_dir() {
            return Ok(None);
        }
        let mut lower = lower_dirs(stack);
        lower.insert(0, format!("{failed}/upper"));
        self.scratch_over("shell", lower, at).map(Some)
    }

    /// Forgets every layer.
    pub fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(&self.dir).context("reading the layer store")? {
            let path = entry.context("reading the layer store")?.path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "empty") {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

/// Takes the work directory for this process, or names the one that has it.
fn lock(path: &Path) -> Result<Flock<File>> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, Errno::EWOULDBLOCK)) => bail!(
            "another build or shell is using {}; wait for it, or set another WORK_DIR",
            path.parent().unwrap_or(path).display()
        ),
        Err((_, error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

/// The stack's directories as overlayfs wants them: relative to the store, top first.
fn lower_dirs(stack: &[Key]) -> Vec<String> {
    stack
        .iter()
        .rev()
        .map(|key| format!("{}/upper", key.id()))
        .collect()
}

/// A layer in the making. Dropped without [`NewLayer::commit`], it never was.
pub struct NewLayer<'a> {
    store: &'a Store,
    record: Record,
    dir: PathBuf,
    at: PathBuf,
}

impl NewLayer<'_> {
    /// Makes the layer's changes permanent, all at once.
    pub fn commit(self) -> Result<Key> {
        self.close()?;
        let json = serde_json::to_vec_pretty(&self.record).context("writing the layer's record")?;
        fs::write(self.dir.join("layer.json"), json).context("writing the layer's record")?;
        let last = self.store.dir.join(self.record.key.id());
        remove(&last)?;
        fs::rename(&self.dir, &last)
            .with_context(|| format!("committing layer {}", self.record.key.id()))?;
        Ok(self.record.key.clone())
    }

    /// Keeps the changes of a failed step aside, for `westwork-gen shell`.
    pub fn keep_failed(self) -> Result<()> {
        self.close()?;
        let aside = self
            .store
            .dir
            .join(format!("failed-{}", self.record.key.id()));
        remove(&aside)?;
        fs::rename(&self.dir, &aside).context("keeping the failed step's changes")
    }

    fn close(&self) -> Result<()> {
        crate::sandbox::unmount(&self.at)?;
        remove(&self.dir.join("work"))
    }
}

/// A read-only mount of some layers.
pub struct View {
    at: PathBuf,
}

impl Drop for View {
    fn drop(&mut self) {
        if let Err(error) = crate::sandbox::unmount(&self.at) {
            eprintln!("westwork-gen: {error:#}");
        }
    }
}

/// A mount whose changes are not kept.
pub struct Scratch {
    dir: PathBuf,
    view: Option<View>,
}

impl Scratch {
    /// A directory of its own on the same file system, gone with the mount.
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

/// Removes a directory of the store, if it is there. It is never a mount point: mounts are
/// made elsewhere, and only in the sandbox's own namespace.
fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", dir.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_changes_with_its_parent_and_every_input() {
        let inputs = |value: &str| Inputs::from([("script".to_owned(), value.to_owned())]);
        let base = Key::new(None, &inputs("a"));
        assert_eq!(base, Key::new(None, &inputs("a")));
        assert_ne!(base, Key::new(None, &inputs("b")));
        assert_ne!(base, Key::new(Some(&base), &inputs("a")));
    }

    #[test]
    fn neighbouring_inputs_do_not_run_together() {
        let one = Inputs::from([("a".to_owned(), "1\n1:b=1:2".to_owned())]);
        let two = Inputs::from([
            ("a".to_owned(), "1".to_owned()),
            ("b".to_owned(), "2".to_owned()),
        ]);
        assert_ne!(Key::new(None, &one), Key::new(None, &two));
    }
}
