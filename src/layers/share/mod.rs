//! The shared cache: layers, native tools and packages in a folder or an object store, so that
//! of many machines one does the work of a step.
//!
//! ```text
//! layers/KEY            one line, "SHA256 BYTES": the archive of the layer with this key
//! reads/KEY             a layer's record, by the key of what was known before its step ran: so
//!                       that others know what to look at
//! tools/NAME            the same for a tools root
//! blobs/SHA256          an archive (.tar.zst), or a package of westwork.lock as it is
//! ```
//!
//! Nothing is used whose checksum is not the one it is known by: an object that is missing,
//! cut short or changed is as good as none. Whoever may write to the cache decides what is
//! in the images of those who read it, as with every build cache.
//!
//! A cache that cannot be reached is told of, and then left alone.

mod blob;
mod objects;
mod pack;
#[cfg(feature = "remote-cache")]
mod remote;
mod upload;

use crate::archives::lockfile::Package;
use crate::archives::pool::Archives;
use crate::config::{Address, Config};
use crate::layers::store::{Key, Record, Store};
use anyhow::{Context, Result};
use blob::{Blob, LAYER, Shape, TOOLS, checksum};
use objects::Objects;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use upload::{Gift, Uploads, give_all};

/// Objects fetched at the same time: enough to keep a network busy while others unpack.
const AT_ONCE: usize = 4;

/// An object that names a blob is a shorter line, in bytes.
const LINE: u64 = 200;

/// And one that is a record.
const RECORD: u64 = 4 << 20;

/// After so many failures a cache is left out.
const PATIENCE: usize = 3;

/// What a build takes from and gives to shared caches.
pub struct Share {
    from: Option<Arc<dyn Objects>>,
    uploads: Option<Uploads>,
    /// How often something went wrong on the way in.
    failures: AtomicUsize,
    notes: Arc<Mutex<Vec<String>>>,
    /// Keys whose objects were found damaged, and are to be replaced.
    damaged: Mutex<BTreeSet<String>>,
    /// Bytes fetched.
    fetched: AtomicU64,
}

impl Share {
    /// The caches that `config` names. Scratch files are made in `work_dir`.
    ///
    /// # Errors
    /// When an address is not one of a cache; `check` has told of most of them before.
    pub fn open(config: &Config, work_dir: &Path) -> Result<Self> {
        let open = |address: &Option<Address>| {
            address
                .as_ref()
                .map(|address| {
                    open_objects(address)
                        .with_context(|| format!("opening the shared cache {address}"))
                })
                .transpose()
        };
        let notes = Arc::<Mutex<Vec<String>>>::default();
        let uploads = open(&config.cache_to)?
            .map(|to| {
                let (queue, gifts) = channel();
                let (notes, work_dir) = (notes.clone(), work_dir.to_owned());
                let thread = std::thread::Builder::new()
                    .name("cache-to".to_owned())
                    .spawn(move || give_all(&*to, &gifts, &work_dir, &notes))
                    .context("starting the thread that fills the shared cache")?;
                anyhow::Ok(Uploads { queue, thread })
            })
            .transpose()?;
        Ok(Self {
            from: open(&config.cache_from)?,
            uploads,
            failures: AtomicUsize::new(0),
            notes,
            damaged: Mutex::default(),
            fetched: AtomicU64::new(0),
        })
    }

    /// Fetches those of `wanted` that are to be had into `store`. Their number.
    pub fn fetch_layers(&self, store: &Store, wanted: &[&Record]) -> usize {
        let count = AtomicUsize::new(0);
        self.each(wanted, |from, record| {
            let name = layer_name(&record.key);
            let fetched = store.receive(record, |dir| self.directory(from, &name, dir, LAYER))?;
            count.fetch_add(usize::from(fetched), Ordering::Relaxed);
            Ok(())
        });
        count.into_inner()
    }

    /// Records of layers of the steps of which this is known before they run.
    pub fn fetch_reads(&self, known: &[Key]) -> Vec<Record> {
        let found: Mutex<Vec<Record>> = Mutex::default();
        self.each(known, |from, key| {
            let mut file = tempfile::tempfile().context("making a file")?;
            if from.get(&reads_name(key), RECORD, &mut file)? {
                file.rewind()?;
                let record: Option<Record> = serde_json::from_reader(file.take(RECORD)).ok();
                locked(&found).extend(record.filter(|it| it.before.as_ref() == Some(key)));
            }
            Ok(())
        });
        found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives what the step of `record` has read, if that could not be known before.
    pub fn give_reads(&self, record: &Record) {
        let before = record.before.as_ref().filter(|key| **key != record.key);
        if let Some((before, Ok(text))) = before.map(|key| (key, serde_json::to_string(record))) {
            let name = reads_name(before);
            self.give(Gift::Text { name, text });
        }
    }

    /// Fetches the tools root `name` into `dir`, if it is to be had.
    pub fn fetch_tools(&self, name: &str, dir: &Path) -> bool {
        let found = AtomicBool::new(false);
        self.each(&[name], |from, name| {
            let fetched = self.directory(from, &format!("tools/{name}"), dir, TOOLS)?;
            found.store(fetched, Ordering::Relaxed);
            Ok(())
        });
        let found = found.into_inner();
        if !found {
            // What was unpacked of it is in nobody's way.
            for part in TOOLS.parts() {
                let path = dir.join(part);
                let _ = std::fs::remove_dir_all(&path).or_else(|_| std::fs::remove_file(&path));
            }
        }
        found
    }

    /// Fetches those of `packages` that `archives` does not have. Their number.
    ///
    /// # Errors
    /// When the package cache cannot be written. What the shared cache lacks is none.
    pub fn fetch_packages(&self, packages: &[Package], archives: &Archives) -> Result<usize> {
        let mut missing = Vec::new();
        for package in packages {
            if archives.find(package)?.is_none() {
                missing.push(package);
            }
        }
        if missing.is_empty() || self.from.is_none() {
            return Ok(0);
        }
        let dir = archives.scratch()?;
        let count = AtomicUsize::new(0);
        self.each(&missing, |from, package| {
            let blob = Blob {
                sha256: package.sha256.clone(),
                size: package.size,
            };
            let mut file = tempfile::NamedTempFile::new_in(dir.path())?;
            if self.blob(from, &blob, file.as_file_mut())? {
                file.persist(dir.path().join(package.file_name()))?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        archives.adopt(dir.path(), packages)?;
        Ok(count.into_inner())
    }

    /// Bytes fetched so far.
    pub fn fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    /// Gives the committed layer `key` in `dir` to the cache that is filled, if there is one.
    pub fn give_layer(&self, key: &Key, dir: PathBuf) {
        self.give_directory(layer_name(key), dir, LAYER);
    }

    /// Gives a tools root.
    pub fn give_tools(&self, name: &str, dir: PathBuf) {
        self.give_directory(format!("tools/{name}"), dir, TOOLS);
    }

    fn give_directory(&self, name: String, dir: PathBuf, shape: Shape) {
        let replace = locked(&self.damaged).contains(&name);
        self.give(Gift::Directory {
            name,
            dir,
            shape,
            replace,
        });
    }

    /// Gives a package file that has this checksum.
    pub fn give_package(&self, path: PathBuf, sha256: &str) {
        self.give(Gift::File {
            path,
            sha256: sha256.to_owned(),
        });
    }

    fn give(&self, gift: Gift) {
        if let Some(uploads) = &self.uploads {
            // Without the thread it is not given, which a note has told.
            let _ = uploads.queue.send(gift);
        }
    }

    /// What is to be told by now.
    pub fn notes(&self) -> Vec<String> {
        std::mem::take(&mut locked(&self.notes))
    }

    /// Waits until everything is given. What is to be told in the end.
    pub fn finish(mut self) -> Vec<String> {
        if let Some(Uploads { queue, thread }) = self.uploads.take() {
            drop(queue);
            if thread.join().is_err() {
                locked(&self.notes).push("filling the shared cache ended early".to_owned());
            }
        }
        self.notes()
    }

    /// Does `work` for each of `items`, several at a time, until the cache fails.
    fn each<T: Sync>(&self, items: &[T], work: impl Fn(&dyn Objects, &T) -> Result<()> + Sync) {
        let Some(from) = &self.from else { return };
        let next = AtomicUsize::new(0);
        let worker = || {
            while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                if self.failures.load(Ordering::Relaxed) >= PATIENCE {
                    return;
                }
                if let Err(error) = work(&**from, item) {
                    let before = self.failures.fetch_add(1, Ordering::Relaxed);
                    if before == 0 {
                        locked(&self.notes).push(format!("the shared cache: {error:#}"));
                    } else if before + 1 == PATIENCE {
                        locked(&self.notes)
                            .push("the shared cache is left out from here on".to_owned());
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..items.len().min(AT_ONCE) {
                scope.spawn(worker);
            }
            worker();
        });
    }

    /// Unpacks what `name` stands for, which is of this `shape`, into `dir`. False when it is not
    /// there or is damaged.
    fn directory(&self, from: &dyn Objects, name: &str, dir: &Path, shape: Shape) -> Result<bool> {
        let mut line = tempfile::tempfile_in(dir).context("making a file")?;
        if !from.get(name, LINE, &mut line)? {
            return Ok(false);
        }
        let mut text = String::new();
        line.rewind()?;
        let blob = line
            .take(LINE)
            .read_to_string(&mut text)
            .ok()
            .and_then(|_| Blob::parse(&text));
        let mut archive = tempfile::tempfile_in(dir).context("making a file")?;
        let sound = match &blob {
            Some(blob) => self.blob(from, blob, &mut archive)?,
            None => false,
        };
        let whole = sound && {
            archive.rewind()?;
            match pack::unpack(archive, dir) {
                // Not the archive's fault, so it is not replaced.
                Err(error) if error.downcast_ref::<pack::Full>().is_some() => return Err(error),
                unpacked => unpacked.is_ok() && shape.is_of(dir),
            }
        };
        if !whole {
            locked(&self.notes).push(format!(
                "{name} in the shared cache is damaged or incomplete, and is not used"
            ));
            locked(&self.damaged).insert(name.to_owned());
        }
        Ok(whole)
    }

    /// Fetches `blob` to `to`. False when it is not there or is not what it is called.
    fn blob(&self, from: &dyn Objects, blob: &Blob, to: &mut File) -> Result<bool> {
        if !from.get(&blob.name(), blob.size, to)? {
            return Ok(false);
        }
        let found = checksum(to)?;
        self.fetched.fetch_add(found.size, Ordering::Relaxed);
        Ok(found == *blob)
    }
}

fn reads_name(known: &Key) -> String {
    format!("reads/{}", known.hash())
}

fn layer_name(key: &Key) -> String {
    format!("layers/{}", key.hash())
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The place that `address` names.
fn open_objects(address: &Address) -> Result<Arc<dyn Objects>> {
    match address {
        Address::Folder(path) => Ok(Arc::new(objects::Folder(path.clone()))),
        #[cfg(feature = "remote-cache")]
        Address::Url(url) => Ok(Arc::new(remote::Remote::open(url)?)),
        #[cfg(not(feature = "remote-cache"))]
        Address::Url(_) => anyhow::bail!("compiled without object stores"),
    }
}
