//! The store of layers: one directory of changes a step, committed by one rename.
//!
//! ```text
//! work/layers/3f9a0c41b2d7/   upper/      what the step changed, as overlayfs keeps it
//!                             layer.json  its key, its parent and what the key was made of
//!                             durable     everything of it is on the disk
//! work/layers/new-3f9a…/      a step in progress; worthless, and thrown away, unless committed
//! work/layers/failed-3f9a…/   the last failed step, kept so that one can look inside
//! work/layers/making-3f9a…    lock of a step in progress, for builds that share it
//! ```
//!
//! Nothing is synced while a step runs, so after a power loss a committed layer may be half
//! there. A layer counts if it was committed since this machine started, or if it is durable.

use crate::base::work;
use crate::layers::durable::{DURABLE, Durable};
use anyhow::{Context, Result, ensure};
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The further layer of a step in progress.
const BENEATH: &str = "beneath";
/// Changes with every start of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

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

    /// All of it, in hex.
    pub fn hash(&self) -> &str {
        &self.0
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
    /// Since which start of the machine the layer is there; set when it is committed.
    #[serde(default)]
    pub boot: String,
}

impl Record {
    /// The record of the layer that the step `name` makes of `inputs` on top of `parent`.
    pub fn new(name: &str, parent: Option<Key>, inputs: Inputs) -> Self {
        Self {
            key: Key::new(parent.as_ref(), &inputs),
            parent,
            name: name.to_owned(),
            inputs,
            boot: String::new(),
        }
    }
}

/// The directory of all layers.
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// The store below `work_dir`, to be looked at.
    pub fn at(work_dir: &Path) -> Self {
        Self {
            dir: work_dir.join("layers"),
        }
    }

    /// The store below `work_dir`, to be worked with; made if needed. The process's working
    /// directory becomes the store: mounts name layers relative to it.
    pub fn open(work_dir: &Path) -> Result<Self> {
        let store = Self::at(work_dir);
        fs::create_dir_all(store.dir.join("empty"))
            .with_context(|| format!("making {}", store.dir.display()))?;
        std::env::set_current_dir(&store.dir).context("changing to the layer store")?;
        Ok(store)
    }

    /// Throws away what an interrupted run left; for the one that holds the work directory.
    pub fn sweep(&self) -> Result<()> {
        for entry in fs::read_dir(&self.dir).into_iter().flatten() {
            let entry = entry.context("reading the layer store")?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("new-") {
                remove(&entry.path())?;
            } else if name.starts_with("making-") {
                fs::remove_file(entry.path()).context("removing an old lock")?;
            }
        }
        Ok(())
    }

    /// The record of the committed layer with this key, if it is there and can be relied on.
    pub fn find(&self, key: &Key) -> Option<Record> {
        let boot = boot_id();
        self.record(key).filter(|record| {
            self.dir.join(key.id()).join(DURABLE).exists()
                || (!boot.is_empty() && record.boot == boot)
        })
    }

    /// The record of the layer with this key, reliable or not.
    pub fn record(&self, key: &Key) -> Option<Record> {
        let record: Record = work::load(&self.dir.join(key.id()).join("layer.json")).ok()??;
        (record.key == *key).then_some(record)
    }

    /// The layers up to and with `tip`, bottom first.
    pub fn stack(&self, tip: &Key) -> Vec<Key> {
        let parent = |key: &Key| self.record(key).and_then(|record| record.parent);
        let mut stack: Vec<Key> =
            std::iter::successors(Some(tip.clone()), |key| parent(key)).collect();
        stack.reverse();
        stack
    }

    /// Where layers are made durable in the background from now on.
    pub fn durable(&self) -> Result<Durable> {
        Durable::start(&self.dir)
    }

    /// Waits until no other build is making the layer `key`; none is while the guard lives.
    pub fn making(&self, key: &Key) -> Result<Making> {
        let path = self.dir.join(format!("making-{}", key.id()));
        let file = File::create(&path).with_context(|| format!("making {}", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusive) {
            Ok(lock) => Ok(Making { _lock: lock }),
            Err((_, error)) => Err(error).with_context(|| format!("locking {}", path.display())),
        }
    }

    /// Directories of the store, with the records of those that are layers or were to be.
    pub(crate) fn entries(&self) -> Result<Vec<(PathBuf, Option<Record>)>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.dir).into_iter().flatten() {
            let entry = entry.context("reading the layer store")?;
            let kind = entry.file_type().context("reading the layer store")?;
            if kind.is_dir() && entry.file_name() != "empty" {
                let record = work::load(&entry.path().join("layer.json"))?;
                entries.push((entry.path(), record));
            }
        }
        Ok(entries)
    }

    /// Commits the layer of `record` from elsewhere: `fill` is given an empty directory and says
    /// whether it holds the layer now, which is looked at once more. Returns whether the layer
    /// is there.
    ///
    /// # Errors
    /// Those of `fill`, and when the store cannot be written.
    pub fn receive(
        &self,
        record: &Record,
        fill: impl FnOnce(&Path) -> Result<bool>,
    ) -> Result<bool> {
        let _making = self.making(&record.key)?;
        if self.find(&record.key).is_some() {
            return Ok(true);
        }
        let dir = self.dir.join(format!("new-{}", record.key.id()));
        remove(&dir)?;
        fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        let filled = fill(&dir)?;
        let found: Option<Record> = work::load(&dir.join("layer.json")).unwrap_or_default();
        let same = |found: &Record| {
            found.key == record.key && Key::new(found.parent.as_ref(), &found.inputs) == found.key
        };
        let Some(mut found) = found.filter(|found| filled && same(found)) else {
            remove(&dir)?;
            return Ok(false);
        };
        found.boot = boot_id();
        work::save(&dir.join("layer.json"), &found)?;
        let last = self.dir.join(record.key.id());
        remove(&last)?;
        fs::rename(&dir, &last).with_context(|| format!("committing layer {}", record.key.id()))?;
        Ok(true)
    }

    /// The directory of a committed layer.
    pub fn layer(&self, key: &Key) -> PathBuf {
        self.dir.join(key.id())
    }

    /// The directory of a committed layer's changes.
    pub fn upper(&self, key: &Key) -> PathBuf {
        self.dir.join(key.id()).join("upper")
    }

    /// Starts a layer on top of `stack` (bottom first) and mounts it at `at`. `beneath` is shown
    /// what the stack gives and fills a further layer, which the step sees and its own layer
    /// does not have; it says whether there is to be one.
    pub fn begin(
        &self,
        record: Record,
        stack: &[Key],
        at: &Path,
        beneath: impl FnOnce(&Path, &Path) -> Result<bool>,
    ) -> Result<NewLayer<'_>> {
        let name = format!("new-{}", record.key.id());
        let dir = self.dir.join(&name);
        remove(&dir)?;
        fs::create_dir_all(dir.join("upper"))
            .with_context(|| format!("making {}", dir.display()))?;
        fs::create_dir(dir.join("work")).with_context(|| format!("making {}", dir.display()))?;
        let mut lower = lower_dirs(stack);
        let further = dir.join(BENEATH);
        fs::create_dir(&further).with_context(|| format!("making {}", further.display()))?;
        let filled = !stack.is_empty() && {
            let _view = self.view(stack, at)?;
            beneath(at, &further)?
        };
        if filled {
            lower.insert(0, format!("{name}/{BENEATH}"));
        }
        self.mount(lower, Some(&name), at)?;
        Ok(NewLayer {
            store: self,
            beneath: filled,
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

    /// Whether the half-done layer of this failed step is there.
    pub fn has_failed(&self, key: &Key) -> bool {
        self.failed_dir(key).is_dir()
    }

    /// The layers that the failed step stood on, bottom first.
    pub fn stack_of_failed(&self, key: &Key) -> Result<Vec<Key>> {
        let record: Option<Record> = work::load(&self.failed_dir(key).join("layer.json"))?;
        let parent = record.and_then(|record| record.parent);
        Ok(parent.map_or_else(Vec::new, |parent| self.stack(&parent)))
    }

    /// Where the half-done layer of a failed step is kept.
    pub(crate) fn failed_dir(&self, key: &Key) -> PathBuf {
        self.dir.join(format!("failed-{}", key.id()))
    }

    /// Mounts `stack`, and the half-done layer `failed` on it, at `at`, to look around in.
    /// Changes are thrown away with the returned guard; with `keep` they stay in the returned
    /// directory and are there again the next time.
    pub fn look_into(
        &self,
        stack: &[Key],
        failed: Option<&Key>,
        keep: bool,
        at: &Path,
    ) -> Result<(Scratch, Option<PathBuf>)> {
        let mut lower = lower_dirs(stack);
        let mut id = stack.last().map_or("empty", Key::id);
        if let Some(key) = failed {
            lower.insert(0, format!("failed-{}/upper", key.id()));
            id = key.id();
        }
        if !keep {
            return Ok((self.scratch_over("shell", lower, at)?, None));
        }
        let name = format!("kept-{id}");
        let dir = self.dir.join(&name);
        fs::create_dir_all(dir.join("upper"))
            .with_context(|| format!("making {}", dir.display()))?;
        remove(&dir.join("work"))?;
        fs::create_dir(dir.join("work")).with_context(|| format!("making {}", dir.display()))?;
        self.mount(lower, Some(&name), at)?;
        let scratch = Scratch {
            // Only overlayfs's own directory goes.
            dir: dir.join("work"),
            view: Some(View { at: at.to_owned() }),
        };
        Ok((scratch, Some(dir.join("upper"))))
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

/// Held while a layer is made.
pub struct Making {
    _lock: Flock<File>,
}

/// What this start of the machine is called; empty when the kernel does not say.
fn boot_id() -> String {
    fs::read_to_string(BOOT_ID).map_or_else(|_| String::new(), |id| id.trim().to_owned())
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
    /// Whether a further layer is beneath it.
    pub beneath: bool,
    record: Record,
    dir: PathBuf,
    at: PathBuf,
}

impl NewLayer<'_> {
    /// Makes the layer's changes permanent, all at once, after `tidy` has had a last look at them.
    pub fn commit(mut self, tidy: impl FnOnce(&Path) -> Result<()>) -> Result<Key> {
        self.close()?;
        tidy(&self.dir.join("upper"))?;
        self.record.boot = boot_id();
        work::save(&self.dir.join("layer.json"), &self.record)?;
        let last = self.store.dir.join(self.record.key.id());
        remove(&last)?;
        fs::rename(&self.dir, &last)
            .with_context(|| format!("committing layer {}", self.record.key.id()))?;
        Ok(self.record.key.clone())
    }

    /// Keeps the changes of a failed step aside, for `westwork-gen shell`.
    pub fn keep_failed(self) -> Result<()> {
        self.close()?;
        let aside = self.store.failed_dir(&self.record.key);
        remove(&aside)?;
        work::save(&self.dir.join("layer.json"), &self.record)?;
        fs::rename(&self.dir, &aside).context("keeping the failed step's changes")
    }

    fn close(&self) -> Result<()> {
        crate::sandbox::mounts::unmount(&self.at)?;
        remove(&self.dir.join(BENEATH))?;
        remove(&self.dir.join("work"))
    }
}

/// A read-only mount of some layers.
pub struct View {
    at: PathBuf,
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

/// Removes a directory of the store, if it is there. Symbolic links in it are not followed. It is never a mount point: mounts are
/// made elsewhere, and only in the sandbox's own namespace.
pub(crate) fn remove(dir: &Path) -> Result<()> {
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
    fn a_layer_of_an_earlier_start_counts_only_if_it_is_durable() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        let mut record = Record::new("a", None, Inputs::new());
        let layer = dir.path().join("layers").join(record.key.id());
        fs::create_dir_all(&layer).unwrap();
        record.boot = boot_id();
        work::save(&layer.join("layer.json"), &record).unwrap();
        assert!(store.find(&record.key).is_some());
        record.boot = "another".to_owned();
        work::save(&layer.join("layer.json"), &record).unwrap();
        assert!(store.find(&record.key).is_none());
        fs::write(layer.join(DURABLE), "").unwrap();
        assert!(store.find(&record.key).is_some());
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
