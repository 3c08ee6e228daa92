//! The shared cache: layers, native tools and packages in a folder or an object store, so that
//! of many machines one does the work of a step.
//!
//! ```text
//! layers/KEY            one line, "SHA256 BYTES": the archive of the layer with this key
//! tools/NAME            the same for a tools root
//! blobs/SHA256          an archive (.tar.zst), or a package of westwork.lock as it is
//! ```
//!
//! Nothing is used whose checksum is not the one it is known by: an object that is missing,
//! cut short or changed is as good as none. Whoever may write to the cache decides what is
//! in the images of those who read it, as with every build cache.
//!
//! A cache that cannot be reached is told of, and then left alone.

mod pack;
mod place;
#[cfg(feature = "remote-cache")]
mod remote;

use crate::archives::lockfile::Package;
use crate::archives::pool::Archives;
use crate::config::{Address, Config};
use crate::layers::store::{Key, Record, Store};
use anyhow::{Context, Result};
use place::Place;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Objects fetched at the same time: enough to keep a network busy while others unpack.
const AT_ONCE: usize = 4;

/// After so many failures a cache is left out.
const PATIENCE: usize = 3;

/// What a build takes from and gives to shared caches.
pub struct Share {
    from: Option<Arc<dyn Place>>,
    uploads: Option<Uploads>,
    /// How often something went wrong on the way in.
    failures: AtomicUsize,
    notes: Arc<Mutex<Vec<String>>>,
    /// Keys whose objects were found damaged, and are to be replaced.
    damaged: Mutex<BTreeSet<String>>,
    /// Bytes fetched.
    fetched: AtomicU64,
}

/// An archive or package by its checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Blob {
    sha256: String,
    /// Bytes.
    size: u64,
}

impl Blob {
    fn name(&self) -> String {
        format!("blobs/{}", self.sha256)
    }

    fn parse(line: &str) -> Option<Self> {
        let (sha256, size) = line.trim_end().split_once(' ')?;
        let is_hash = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
        is_hash.then_some(Self {
            sha256: sha256.to_owned(),
            size: size.parse().ok()?,
        })
    }
}

/// What the other thread is to give away.
enum Gift {
    Directory {
        name: String,
        dir: PathBuf,
        parts: Vec<String>,
        /// Even if there is one of this name.
        replace: bool,
    },
    File {
        path: PathBuf,
        sha256: String,
    },
}

struct Uploads {
    queue: Sender<Gift>,
    thread: JoinHandle<()>,
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
                    open_place(address)
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
            let fetched = store.receive(record, |dir| self.directory(from, &name, dir))?;
            count.fetch_add(usize::from(fetched), Ordering::Relaxed);
            Ok(())
        });
        count.into_inner()
    }

    /// Fetches the tools root `name` into `dir`, if it is to be had.
    pub fn fetch_tools(&self, name: &str, dir: &Path) -> bool {
        let found = AtomicBool::new(false);
        self.each(&[name], |from, name| {
            let fetched = self.directory(from, &format!("tools/{name}"), dir)?;
            found.store(fetched, Ordering::Relaxed);
            Ok(())
        });
        found.into_inner()
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
        let parts = vec!["layer.json".to_owned(), "upper".to_owned()];
        self.give_directory(layer_name(key), dir, parts);
    }

    /// Gives a tools root.
    pub fn give_tools(&self, name: &str, dir: PathBuf) {
        self.give_directory(format!("tools/{name}"), dir, vec![".".to_owned()]);
    }

    fn give_directory(&self, name: String, dir: PathBuf, parts: Vec<String>) {
        let replace = locked(&self.damaged).contains(&name);
        self.give(Gift::Directory {
            name,
            dir,
            parts,
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
    fn each<T: Sync>(&self, items: &[T], work: impl Fn(&dyn Place, &T) -> Result<()> + Sync) {
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

    /// Unpacks what `name` stands for into `dir`. False when it is not there or is damaged.
    fn directory(&self, from: &dyn Place, name: &str, dir: &Path) -> Result<bool> {
        let mut line = tempfile::tempfile_in(dir).context("making a file")?;
        if !from.get(name, &mut line)? {
            return Ok(false);
        }
        let mut text = String::new();
        line.rewind()?;
        let blob = line
            .take(200)
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
            // A full disk is the build's own trouble, and turns up again.
            pack::unpack(archive, dir).is_ok()
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
    fn blob(&self, from: &dyn Place, blob: &Blob, to: &mut File) -> Result<bool> {
        if !from.get(&blob.name(), to)? {
            return Ok(false);
        }
        let found = checksum(to)?;
        self.fetched.fetch_add(found.size, Ordering::Relaxed);
        Ok(found == *blob)
    }
}

fn layer_name(key: &Key) -> String {
    format!("layers/{}", key.hash())
}

/// Gives everything in the queue; after the first failure nothing more.
fn give_all(to: &dyn Place, gifts: &Receiver<Gift>, work_dir: &Path, notes: &Mutex<Vec<String>>) {
    for gift in gifts {
        if let Err(error) = give(to, &gift, work_dir) {
            locked(notes).push(format!(
                "the shared cache is not filled any further: {error:#}"
            ));
            return;
        }
    }
}

fn give(to: &dyn Place, gift: &Gift, work_dir: &Path) -> Result<()> {
    match gift {
        Gift::File { path, sha256 } => {
            let mut file =
                File::open(path).with_context(|| format!("opening {}", path.display()))?;
            let blob = checksum(&mut file)?;
            // Somebody else's package by now.
            if blob.sha256 != *sha256 || to.has(&blob.name())? {
                return Ok(());
            }
            file.rewind()?;
            to.put(&blob.name(), &mut file)
        }
        Gift::Directory {
            name,
            dir,
            parts,
            replace,
        } => {
            if !replace && to.has(name)? {
                return Ok(());
            }
            let mut archive = tempfile::tempfile_in(work_dir).context("making a file")?;
            pack::pack(dir, parts, &mut archive)?;
            archive.rewind()?;
            let blob = checksum(&mut archive)?;
            archive.rewind()?;
            to.put(&blob.name(), &mut archive)?;
            // Last, so that it never stands for what is not there.
            let mut line = tempfile::tempfile_in(work_dir).context("making a file")?;
            writeln!(line, "{} {}", blob.sha256, blob.size)?;
            line.rewind()?;
            to.put(name, &mut line)
        }
    }
}

/// Of the whole file; leaves its position at the end.
fn checksum(file: &mut File) -> Result<Blob> {
    file.rewind()?;
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let n = file.read(&mut buffer).context("reading a file again")?;
        if n == 0 {
            let sha256 = hex::encode(hash.finalize());
            return Ok(Blob { sha256, size });
        }
        hash.update(&buffer[..n]);
        size += n as u64;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The place that `address` names.
fn open_place(address: &Address) -> Result<Arc<dyn Place>> {
    match address {
        Address::Folder(path) => Ok(Arc::new(place::Folder(path.clone()))),
        #[cfg(feature = "remote-cache")]
        Address::Url(url) => Ok(Arc::new(remote::Remote::open(url)?)),
        #[cfg(not(feature = "remote-cache"))]
        Address::Url(_) => anyhow::bail!("compiled without object stores"),
    }
}
