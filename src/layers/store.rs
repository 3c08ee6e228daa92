//! The store of layers: one directory of changes a step, committed by one rename.
//!
//! ```text
//! work/layers/format          whose ids the owners in it are
//! work/layers/3f9a0c41b2d7/   upper/      what the step changed, as overlayfs keeps it
//!                             layer.json  its key, its parent and what the key was made of,
//!                                         and a digest of upper/
//!                             durable     everything of it is on the disk
//! work/layers/new-3f9a…/      a step in progress; worthless, and thrown away, unless committed
//! work/layers/failed-3f9a…/   the last failed step, kept so that one can look inside
//! work/layers/making-3f9a…    lock of a step in progress, for builds that share it
//! ```
//!
//! Nothing is synced while a step runs, so after a power loss a committed layer may be half
//! there. A layer counts if it was committed since this machine started, or if it is durable.

use crate::base::{events, lock, work};
use crate::layers::durable::{DURABLE, Durable};
use crate::layers::format::{FORMAT, Format, format_of};
use crate::layers::mounts::{Scratch, View, lower_dirs, make_scratch, overlay};
use crate::layers::sound::{has_link_for_root, is_dir, received, seal};
use anyhow::{Context, Result, bail};
use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

pub use crate::layers::identity::{Inputs, Key, Record};
pub(crate) use crate::layers::mounts::remove;

/// The further layer of a step in progress.
const BENEATH: &str = "beneath";

/// Ids of a build that nothing is known of, which takes what is there.
pub const SAME_IDS: &str = "";

/// The directory of all layers.
pub struct Store {
    dir: PathBuf,
    /// Its layers were made with other ids, and count as not there.
    foreign: bool,
}

impl Store {
    /// The store below `work_dir`, to be looked at. `ids` tells this build's map of user ids from
    /// others: the owners of files in a layer mean nothing under another one.
    pub fn at(work_dir: &Path, ids: &str) -> Self {
        let dir = work_dir.join("layers");
        let foreign = !format_of(&dir).is(ids);
        Self { dir, foreign }
    }

    /// The store below `work_dir`, to be worked with; made if needed. Layers that were made with
    /// other `ids` are removed. The process's working directory becomes the store: mounts name
    /// layers relative to it.
    ///
    /// # Errors
    /// When it cannot be made, or what is to go cannot be removed.
    pub fn open(work_dir: &Path, ids: &str) -> Result<Self> {
        let mut store = Self::at(work_dir, ids);
        fs::create_dir_all(store.dir.join("empty"))
            .with_context(|| format!("making {}", store.dir.display()))?;
        close(&store.dir)?;
        store.settle(ids)?;
        std::env::set_current_dir(&store.dir).context("changing to the layer store")?;
        Ok(store)
    }

    /// Removes the layers of others than `ids`.
    fn settle(&mut self, ids: &str) -> Result<()> {
        let is_noted = |format| matches!(format, Format::Known(known) if known == ids);
        if is_noted(format_of(&self.dir)) || ids == SAME_IDS {
            return Ok(());
        }
        // Another build of the same command may be doing the same.
        let _turn = lock::wait_for_dir(&self.dir)?;
        if !format_of(&self.dir).is(ids) {
            if self.entries()?.iter().any(|(_, record)| record.is_some()) {
                events::note(&format!(
                    "the layers in {} were made with other user ids; they are made again",
                    self.dir.display()
                ));
            }
            self.clear(&[])?;
        }
        work::write(&self.dir.join(FORMAT), format!("{ids}\n").as_bytes())?;
        self.foreign = false;
        Ok(())
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
        let boot = work::boot_id();
        let dir = self.layer(key);
        self.record(key).filter(|record| {
            is_dir(&dir.join("upper"))
                && (dir.join(DURABLE).exists() || (!boot.is_empty() && record.boot == boot))
        })
    }

    /// The record of the layer with this key, reliable or not.
    pub fn record(&self, key: &Key) -> Option<Record> {
        let record: Record = work::load(&self.layer(key).join("layer.json")).ok()??;
        (!self.foreign && record.is_of(key)).then_some(record)
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
        Durable::start(&self.dir, |layer| seal(layer).map(drop))
    }

    /// Waits until no other build is making the layer `key`; none is while the guard lives.
    pub fn making(&self, key: &Key) -> Result<Making> {
        let path = self.dir.join(format!("making-{}", key.id()));
        Ok(Making {
            _lock: lock::wait(&path)?,
        })
    }

    /// Directories of the store, whatever they are.
    pub(crate) fn directories(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir).into_iter().flatten() {
            let entry = entry.context("reading the layer store")?;
            let kind = entry.file_type().context("reading the layer store")?;
            if kind.is_dir() && entry.file_name() != "empty" {
                found.push(entry.path());
            }
        }
        Ok(found)
    }

    /// The same, with the records of those that are layers or were to be.
    pub(crate) fn entries(&self) -> Result<Vec<(PathBuf, Option<Record>)>> {
        let entries = self.directories()?.into_iter();
        entries
            .map(|path| Ok((path.clone(), work::load(&path.join("layer.json"))?)))
            .collect()
    }

    /// Records of layers by the key of what was known before they were made; none that cannot be
    /// read.
    pub(super) fn by_what_was_known(&self) -> HashMap<Key, Vec<Record>> {
        let mut found: HashMap<Key, Vec<Record>> = HashMap::new();
        for (_, record) in self.entries().unwrap_or_default() {
            if let Some((before, record)) = record.and_then(|it| Some((it.before.clone()?, it))) {
                found.entry(before).or_default().push(record);
            }
        }
        found
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
        let judged = fill(&dir).and_then(|filled| match filled {
            true => received(&dir, &record.key),
            false => Ok(None),
        });
        let Ok(Some(mut found)) = judged else {
            remove(&dir)?;
            return judged.map(|_| false);
        };
        found.boot = work::boot_id();
        work::save_unsynced(&dir.join("layer.json"), &found)?;
        let last = self.layer(&record.key);
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
        make_scratch(&dir)?;
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
        overlay(lower, Some(&name), at)?;
        Ok(NewLayer {
            store: self,
            beneath: filled,
            record,
            dir,
            at: at.to_owned(),
        })
    }

    /// Mounts `stack` (bottom first) read-only at `at` until the returned guard is dropped.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn view(&self, stack: &[Key], at: &Path) -> Result<View> {
        View::new(lower_dirs(stack), at)
    }

    /// Mounts `stack` with a throw-away top layer at `at`; changes go when the guard is dropped.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn scratch(&self, name: &str, stack: &[Key], at: &Path) -> Result<Scratch> {
        Scratch::new(&self.dir, &format!("new-{name}"), lower_dirs(stack), at)
    }

    /// Mounts `stack`, and the half-done layer `failed` on it, at `at`, to look around in.
    /// Changes are thrown away with the returned guard; with `keep` they stay in the returned
    /// directory and are there again the next time.
    ///
    /// # Errors
    /// When the kernel refuses it.
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
            return Ok((Scratch::new(&self.dir, "new-shell", lower, at)?, None));
        }
        let name = format!("kept-{id}");
        let kept = self.dir.join(&name).join("upper");
        Ok((Scratch::kept(&self.dir, &name, lower, at)?, Some(kept)))
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

    /// Forgets every layer but those `kept`.
    pub fn clear(&self, kept: &[Key]) -> Result<()> {
        let kept: Vec<PathBuf> = kept.iter().map(|key| self.layer(key)).collect();
        for path in self.directories()? {
            if !kept.contains(&path) {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

/// Lets nobody else in: a layer has setuid programs of the image, and whatever a step makes.
fn close(dir: &Path) -> Result<()> {
    fs::set_permissions(dir, Permissions::from_mode(0o700))
        .with_context(|| format!("setting the mode of {}", dir.display()))
}

/// Held while a layer is made.
pub struct Making {
    _lock: lock::Lock,
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
    /// Makes the layer's changes permanent, all at once, as the layer of `record`, after `tidy`
    /// has had a last look at them.
    pub fn commit(mut self, record: Record, tidy: impl FnOnce(&Path) -> Result<()>) -> Result<Key> {
        self.close()?;
        let turn = match record.key == self.record.key {
            true => None,
            // Another build of the same command may have made the very same, and stand on it.
            false => Some(lock::wait_for_dir(&self.store.dir)?),
        };
        self.record = record;
        if turn.is_some() && self.store.find(&self.record.key).is_some() {
            remove(&self.dir)?;
            return Ok(self.record.key.clone());
        }
        tidy(&self.dir.join("upper"))?;
        if has_link_for_root(&self.dir.join("upper")) {
            bail!(
                "the step has put something else in the place of the directory rootfs; it must stay a directory"
            );
        }
        self.record.boot = work::boot_id();
        work::save_unsynced(&self.dir.join("layer.json"), &self.record)?;
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
        work::save_unsynced(&self.dir.join("layer.json"), &self.record)?;
        fs::rename(&self.dir, &aside).context("keeping the failed step's changes")
    }

    fn close(&self) -> Result<()> {
        crate::sandbox::mounts::unmount(&self.at)?;
        remove(&self.dir.join(BENEATH))?;
        remove(&self.dir.join("work"))
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
