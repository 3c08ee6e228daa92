//! Packages once more, in a form that unpacks at the disk's speed.
//!
//! ```text
//! packages/POOL/quick/NAME_VERSION_ARCH.deb.SHA256   made of the package of that name in the pool
//! packages/POOL/quick/pool.json                      what is known of each
//! ```
//!
//! Most packages are packed by xz, and unpacking that was a quarter of a build's processor time. A
//! quick form has the same members (deb(5)), with `data.tar` packed by zstd instead, which takes a
//! tenth of it. apt sees the package itself, whose checksum it knows. Only the native twin of
//! dpkg-deb is led to the quick form, when it is asked for the files of the very package that the
//! pool has (src/native/dispatch/dispatcher.rs).
//!
//! They are made beside the steps by a thread that gives way to everything else, of packages that an
//! image has installed, for the builds after this one.

use super::files::{link, packages, remove, scratch};
use super::index::{self, Index, Known, now};
use crate::archives::package;
use crate::base::digest;
use crate::base::inside::Root;
use crate::base::{dpkg, lock};
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// zstd's level: the fastest that still makes packages smaller than their contents by half.
const LEVEL: i32 = 1;

/// The quick forms that a build sees, and the thread that makes more.
pub(super) struct Quick {
    dir: PathBuf,
    view: tempfile::TempDir,
    /// Packages that were looked at already, by file name.
    asked: BTreeSet<String>,
    /// Size of the dpkg database when it was looked at last.
    database: u64,
    maker: Option<Maker>,
}

struct Maker {
    wanted: Sender<String>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Quick {
    /// Opens those of `pool`, and makes a view in `cache`, in which nothing is yet.
    pub(super) fn open(cache: &Path, pool: &Path) -> Result<Self> {
        let dir = pool.join("quick");
        fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        Ok(Self {
            dir,
            view: scratch(cache)?,
            asked: BTreeSet::new(),
            database: 0,
            maker: None,
        })
    }

    /// Throws out what belongs to no package of `index`, or is not what it was. The caller has the
    /// pool's lock.
    pub(super) fn verify(&self, index: &Index) -> Result<()> {
        let (dir, now) = (&self.dir, now());
        let mut sound = Index::new();
        for (stored, mut known) in index::load(dir)? {
            let path = dir.join(&stored);
            let belongs = index.contains_key(&stored) && path.is_file();
            if belongs && known.still_holds(&path, now)? {
                sound.insert(stored, known);
            }
        }
        for stored in files(dir)? {
            if !sound.contains_key(&stored) {
                remove(&dir.join(stored))?;
            }
        }
        index::save(dir, &sound)
    }

    /// The directory of those of the packages that the build sees, by apt's names.
    pub(super) fn view(&self) -> &Path {
        self.view.path()
    }

    /// Makes the view what it is to be: `wanted` are checksums of packages by apt's names. The
    /// caller has the pool's lock.
    pub(super) fn show(&self, wanted: &BTreeMap<String, String>) -> Result<()> {
        let known = index::load(&self.dir)?;
        let there: BTreeMap<&str, String> = wanted
            .iter()
            .map(|(name, sha256)| (name.as_str(), index::stored(name, sha256)))
            .filter(|(_, stored)| known.contains_key(stored))
            .collect();
        for stale in packages(self.view())? {
            if !there.contains_key(stale.as_str()) {
                remove(&self.view().join(stale))?;
            }
        }
        for (name, stored) in there {
            link(&self.dir.join(stored), &self.view().join(name))?;
        }
        Ok(())
    }

    /// Has the thread make those of the packages that are installed in `rootfs`, if they are of
    /// those that the build sees: checksums by apt's names.
    pub(super) fn of_installed(
        &mut self,
        rootfs: &Path,
        seen: impl FnOnce() -> Result<BTreeMap<String, String>>,
    ) -> Result<()> {
        let Some(root) = Root::find(rootfs)? else {
            return Ok(());
        };
        let Some(file) = root.file(dpkg::STATUS)? else {
            return Ok(());
        };
        let size = file.metadata().map_or(0, |meta| meta.len());
        if size == self.database {
            return Ok(());
        }
        self.database = size;
        let seen = seen()?;
        let status = root.read_text(dpkg::STATUS, dpkg::LONGEST)?;
        for (name, version, architecture) in
            dpkg::installed(&status.unwrap_or_default()).filter_map(|package| package.id())
        {
            let name = package::file_name(name, version, architecture);
            let Some(sha256) = seen.get(&name) else {
                continue;
            };
            let stored = index::stored(&name, sha256);
            if self.asked.insert(name) && !self.dir.join(&stored).exists() {
                self.make(stored)?;
            }
        }
        Ok(())
    }

    fn make(&mut self, stored: String) -> Result<()> {
        let maker = match &mut self.maker {
            Some(maker) => maker,
            none => none.insert(Maker::start(&self.dir)?),
        };
        // Without its thread there are only fewer quick forms.
        let _ = maker.wanted.send(stored);
        Ok(())
    }
}

impl Drop for Quick {
    fn drop(&mut self) {
        let Some(maker) = self.maker.take() else {
            return;
        };
        maker.stop.store(true, Ordering::Relaxed);
        drop(maker.wanted);
        // It has told of what went wrong, and may have been in the middle of a package.
        let _ = maker.thread.join();
    }
}

impl Maker {
    fn start(dir: &Path) -> Result<Self> {
        let (wanted, names) = channel();
        let stop = Arc::<AtomicBool>::default();
        let (dir, stopped) = (dir.to_owned(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("quick-forms".to_owned())
            .spawn(move || make_all(&dir, &names, &stopped))
            .context("starting the thread that packs packages anew")?;
        Ok(Self {
            wanted,
            stop,
            thread,
        })
    }
}

/// Makes one after the other until there are no more names, or it is told to stop.
fn make_all(dir: &Path, names: &Receiver<String>, stop: &AtomicBool) {
    // Of this thread alone, on Linux. Refused, it has the build's own priority.
    let _ = rustix::process::setpriority_process(None, 19);
    while let Ok(stored) = names.recv() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = make(dir, &stored, stop) {
            if !stop.load(Ordering::Relaxed) {
                eprintln!("westwork-gen: packing {stored} anew: {error:#}");
            }
            return;
        }
    }
}

/// Makes the quick form of the package `stored` of the pool that `dir` is in.
fn make(dir: &Path, stored: &str, stop: &AtomicBool) -> Result<()> {
    let pool = dir.parent().context("finding the pool")?;
    let package = pool.join(stored);
    let (name, sha256) = stored.rsplit_once('.').context("reading a name")?;
    // Another build may have thrown it out.
    if !package.exists() {
        return Ok(());
    }
    ensure!(digest::of_file(&package)? == sha256, "it is damaged");
    let mut made = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(dir)
        .with_context(|| format!("making a file in {}", dir.display()))?;
    let from = File::open(&package).context("opening it")?;
    repack(from, made.as_file_mut(), dir, stop)?;
    let _lock = lock::wait(&pool.join("lock"))?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    made.as_file()
        .set_permissions(mode)
        .context("setting its mode")?;
    let path = dir.join(stored);
    made.persist(&path).context("giving it its name")?;
    let mut index = index::load(dir)?;
    let own = digest::of_file(&path)?;
    index.insert(stored.to_owned(), Known::new(name, &own, &path, true)?);
    index::save(dir, &index)
}

/// Writes the members of the package `from`, with `data.tar` packed by zstd. What is between goes
/// into files of `dir` that have no name.
fn repack(from: File, to: &mut File, dir: &Path, stop: &AtomicBool) -> Result<()> {
    let mut members = ar::Archive::new(io::BufReader::new(from));
    let mut out = ar::Builder::new(io::BufWriter::new(to));
    while let Some(member) = members.next_entry() {
        let mut member = member.context("reading it")?;
        let header = member.header().clone();
        let name = String::from_utf8_lossy(header.identifier()).into_owned();
        let data = match name.trim_end_matches('/') {
            "data.tar.xz" => packed(liblzma::read::XzDecoder::new(member), dir, stop)?,
            "data.tar.gz" => packed(flate2::read::GzDecoder::new(member), dir, stop)?,
            "data.tar" => packed(member, dir, stop)?,
            // Packed by zstd already, or by what is not known here: it is as quick as it is.
            _ => {
                out.append(&header, &mut member).context("copying")?;
                continue;
            }
        };
        let size = data.metadata().context("packing")?.len();
        let mut header = ar::Header::new(b"data.tar.zst".to_vec(), size);
        header.set_mode(0o100_644);
        out.append(&header, data).context("writing")?;
    }
    out.into_inner()
        .context("writing")?
        .flush()
        .context("writing")
}

/// What `from` gives, packed.
fn packed(from: impl Read, dir: &Path, stop: &AtomicBool) -> Result<File> {
    let file = tempfile::tempfile_in(dir).context("making a file")?;
    let mut packer = zstd::Encoder::new(file, LEVEL).context("packing")?;
    io::copy(&mut Stoppable { from, stop }, &mut packer).context("unpacking")?;
    let mut file = packer.finish().context("packing")?;
    file.rewind().context("packing")?;
    Ok(file)
}

/// A reader that ends with an error when it is told to.
struct Stoppable<'a, R> {
    from: R,
    stop: &'a AtomicBool,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("the build has ended"));
        }
        self.from.read(buffer)
    }
}

/// Names of what is in `dir`, its index apart; unfinished ones among them.
fn files(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let entry = entry.with_context(|| format!("reading {}", dir.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.contains(".deb.") {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
#[path = "quick_tests.rs"]
mod tests;
