//! The cache of downloaded packages that all builds share.
//!
//! ```text
//! packages/POOL/NAME_VERSION_ARCH.deb.SHA256   a package, by its name in apt and its checksum
//! packages/POOL/pool.json                      what is known of each
//! ```
//!
//! apt checks what it downloads, but takes a file that lies in its archive directory and has
//! the right name and size as it is. And a step of a tree may put any file there. So no step ever
//! writes into the pool: it works on an overlay ([`Staging`]), and what it leaves there is judged
//! ([`Archives::save`]). A package becomes visible to other builds only if an index that an
//! archive has signed names it with this checksum ([`signed`]). What else a step downloaded (from
//! an archive that nobody here can verify) goes with the step; only its checksum is kept, for
//! the lock file. Packages that a lock file names are in the pool as well, but only builds
//! whose lock file names the same checksum see them.

mod files;
mod index;
mod quick;
mod signed;
mod staging;

pub use files::Downloaded;
pub use index::File;
pub use signed::Keys;
use staging::Caches;
pub use staging::Staging;

use crate::archives::package::Package;
use crate::base::{lock, work};
use anyhow::{Context, Result, bail};
use files::{copied, link, packages, remove, scratch, sweep};
use index::{Index, Known, now};
use quick::Quick;
use signed::Signed;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Checksums by file name of packages that came from archives nobody here can verify, in an
/// image's own work directory.
const UNSIGNED: &str = "packages.json";

/// Downloaded packages, shared by all builds. A build has a directory of hard links of its own,
/// so that what other builds do does not change what lies below its steps.
pub struct Archives {
    cache: PathBuf,
    pool: PathBuf,
    view: tempfile::TempDir,
    /// Only these may be in the view, by file name; without it, all that are signed.
    locked: Option<BTreeMap<String, String>>,
    signed: Signed,
    quick: Quick,
    /// Whether quick forms are made of what is installed.
    makes_quick: bool,
    /// apt's own caches as the last step left them.
    caches: Option<Caches>,
}

impl Archives {
    /// Opens the pool `name` below `cache_dir`, one for each architecture of each archive, and
    /// makes the build's own view. `keys` are those whose signature counts.
    /// Says to `note` which packages were damaged and are thrown out.
    ///
    /// # Errors
    /// When the cache cannot be read or written.
    pub fn open(
        cache_dir: &Path,
        name: &str,
        keys: Keys,
        note: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let pool = cache_dir.join("packages").join(name);
        fs::create_dir_all(&pool).with_context(|| format!("making {}", pool.display()))?;
        sweep(cache_dir);
        let archives = Self {
            cache: cache_dir.to_owned(),
            quick: Quick::open(cache_dir, &pool)?,
            makes_quick: false,
            pool,
            view: scratch(cache_dir)?,
            locked: None,
            signed: Signed::new(keys),
            caches: None,
        };
        archives.verify(note)?;
        Ok(archives)
    }

    /// Where the package is that has this name and this checksum, if the pool has it.
    ///
    /// # Errors
    /// When the pool cannot be read.
    pub fn find(&self, package: &Package) -> Result<Option<PathBuf>> {
        let stored = index::stored(&package.file_name(), &package.sha256);
        let path = self.pool.join(&stored);
        Ok((self.index()?.contains_key(&stored) && path.is_file()).then_some(path))
    }

    /// From now on steps see `packages` and no others.
    ///
    /// # Errors
    /// When the pool does not have one of them.
    pub fn show_only(&mut self, packages: &[Package]) -> Result<()> {
        self.locked = Some(
            packages
                .iter()
                .map(|package| (package.file_name(), package.sha256.clone()))
                .collect(),
        );
        let _lock = self.lock()?;
        self.show(&self.index()?)
    }

    /// An overlay for the step that stands on the layer `below`, to be seen as
    /// /var/cache/apt/archives. It is made in `work`, a directory of this build alone.
    ///
    /// # Errors
    /// When the overlay cannot be mounted.
    pub fn staging(&mut self, work: &Path, below: &str) -> Result<Staging> {
        let mut staging = self.stage(work, below)?;
        staging.mount()?;
        Ok(staging)
    }

    /// The same, not mounted yet.
    fn stage(&mut self, work: &Path, below: &str) -> Result<Staging> {
        let staging = Staging::new(self.view.path(), work)?;
        match self.caches.take() {
            Some(caches) if caches.after == below => caches.give(&staging)?,
            _ => {}
        }
        Ok(staging)
    }

    /// Judges what the step that made the layer `after` left in `staging`, by the package indexes
    /// of its root file system at `rootfs`, and takes into the pool what they vouch for. Says what
    /// was downloaded.
    ///
    /// # Errors
    /// When the pool cannot be written, or when apt may have used a package that the archive has
    /// since replaced by another one of the same name and size: the pool has it no longer then.
    pub fn save(&mut self, staging: Staging, rootfs: &Path, after: &str) -> Result<Downloaded> {
        let downloaded = self.judge(staging, rootfs, after)?;
        if self.makes_quick {
            let (pool, locked) = (&self.pool, self.locked.as_ref());
            self.quick
                .of_installed(rootfs, || Ok(wanted(&index::load(pool)?, locked)))?;
        }
        Ok(downloaded)
    }

    /// Where the packages are that steps see, and the quick forms of those that have one, both by
    /// apt's names. From now on quick forms are made of what steps install, for later builds.
    pub fn quick_forms(&mut self) -> (&Path, &Path) {
        self.makes_quick = true;
        (self.view.path(), self.quick.view())
    }

    fn judge(&mut self, mut staging: Staging, rootfs: &Path, after: &str) -> Result<Downloaded> {
        staging.unmount()?;
        self.caches = Caches::of(&staging, after)?;
        let left = packages(&staging.upper())?;
        let downloaded = Downloaded::of(&staging.upper(), &left);
        let lists = Signed::fingerprint(rootfs)?;
        if left.is_empty() && index::is_reconciled(&self.pool, &lists)? {
            return Ok(downloaded);
        }
        self.signed.read(rootfs)?;
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let mut unsigned = BTreeMap::new();
        for name in &left {
            let Some((file, sha256)) = copied(&staging.upper().join(name), &self.pool)? else {
                continue;
            };
            if self.signed.verdict(name, &sha256) == Some(true) {
                self.keep(name, &sha256, file, true, &mut index)?;
            } else {
                let size = file.as_file().metadata().map_or(0, |meta| meta.len());
                unsigned.insert(name.clone(), File { sha256, size });
            }
        }
        remember(staging.work(), unsigned)?;
        let replaced = self.reconcile(&mut index);
        self.show(&index)?;
        index::save(&self.pool, &index)?;
        index::reconciled(&self.pool, &lists)?;
        // One of another size apt fetched again, and it was judged above.
        let used = |(name, size): &&(String, u64)| {
            !left.contains(name) && self.signed.has_size(name, *size)
        };
        match replaced.iter().find(used) {
            Some((name, _)) if self.locked.is_none() => bail!(
                "the archive has replaced {name} by another file of the same name and size, and the package cache had the old one; it is gone from the cache now: build again"
            ),
            _ => Ok(downloaded),
        }
    }

    /// A directory for packages on the way to [`Archives::adopt`], gone with the guard.
    pub(crate) fn scratch(&self) -> Result<tempfile::TempDir> {
        scratch(&self.cache)
    }

    /// Takes the package files in `dir` into the pool: those that `expected` names with their
    /// checksum, and no others.
    pub(crate) fn adopt(&self, dir: &Path, expected: &[Package]) -> Result<()> {
        let expected = expected
            .iter()
            .map(|package| (package.file_name(), package.sha256.as_str()));
        self.adopt_if(dir, &expected.collect(), false)
    }

    /// Takes the package files in `dir` into the pool, which apt itself has just downloaded into
    /// a directory that nothing else could write to.
    pub(crate) fn adopt_downloads(&self, dir: &Path) -> Result<()> {
        self.adopt_if(dir, &BTreeMap::new(), true)
    }

    fn adopt_if(&self, dir: &Path, expected: &BTreeMap<String, &str>, signed: bool) -> Result<()> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        for name in packages(dir)? {
            let Some((file, sha256)) = copied(&dir.join(&name), &self.pool)? else {
                continue;
            };
            if signed || expected.get(&name).is_some_and(|wanted| *wanted == sha256) {
                self.keep(&name, &sha256, file, signed, &mut index)?;
            }
        }
        self.show(&index)?;
        index::save(&self.pool, &index)
    }

    /// Checksums of packages by file name: of those in the pool, and of those that steps of the
    /// image built in `work` downloaded from archives nobody here can verify.
    ///
    /// # Errors
    /// When one of the two cannot be read.
    pub fn known(&self, work: &Path) -> Result<BTreeMap<String, Vec<File>>> {
        let mut known: BTreeMap<String, Vec<File>> = BTreeMap::new();
        for file in self.index()?.into_values() {
            let (sha256, size) = (file.sha256, file.size);
            known
                .entry(file.name)
                .or_default()
                .push(File { sha256, size });
        }
        for (name, file) in remembered(work)? {
            known.entry(name).or_default().push(file);
        }
        Ok(known)
    }

    /// Throws out of the pool what is not what it was, and fills the build's view.
    fn verify(&self, note: &mut dyn FnMut(&str)) -> Result<()> {
        let _lock = self.lock()?;
        index::take_over(&self.pool)?;
        let (known, mut sound) = (self.index()?, Index::new());
        let now = now();
        for (stored, mut known) in known {
            let path = self.pool.join(&stored);
            if !path.is_file() {
                continue;
            }
            if known.still_holds(&path, now)? {
                sound.insert(stored, known);
            } else {
                note(&format!(
                    "{} was damaged since it was downloaded; it is fetched again",
                    path.display()
                ));
                remove(&path)?;
            }
        }
        self.quick.verify(&sound)?;
        self.show(&sound)?;
        index::save(&self.pool, &sound)
    }

    /// Makes the view what it is to be: a link for each package of `index` that counts.
    fn show(&self, index: &Index) -> Result<()> {
        let wanted = wanted(index, self.locked.as_ref());
        let stale = packages(self.view.path())?;
        for name in stale.iter().filter(|name| !wanted.contains_key(*name)) {
            remove(&self.view.path().join(name))?;
        }
        for (name, sha256) in &wanted {
            link(&self.path(name, sha256), &self.view.path().join(name))?;
        }
        self.quick.show(&wanted)
    }

    /// Brings `index` in line with the signed indexes: what they name counts, and what they name
    /// with another checksum does not any more. Name and size of each that counted until now.
    fn reconcile(&self, index: &mut Index) -> Vec<(String, u64)> {
        let mut replaced = Vec::new();
        for known in index.values_mut() {
            match self.signed.verdict(&known.name, &known.sha256) {
                Some(true) => known.signed = true,
                Some(false) if known.signed => {
                    known.signed = false;
                    replaced.push((known.name.clone(), known.size));
                }
                _ => {}
            }
        }
        replaced
    }

    /// Gives a copied package its name in the pool.
    fn keep(
        &self,
        name: &str,
        sha256: &str,
        file: tempfile::NamedTempFile,
        signed: bool,
        index: &mut Index,
    ) -> Result<()> {
        let stored = index::stored(name, sha256);
        let path = self.pool.join(&stored);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file()
            .set_permissions(mode)
            .with_context(|| format!("setting the mode of {}", path.display()))?;
        file.persist(&path)
            .with_context(|| format!("making {}", path.display()))?;
        let signed = signed || index.get(&stored).is_some_and(|known| known.signed);
        index.insert(stored, Known::new(name, sha256, &path, signed)?);
        Ok(())
    }

    fn path(&self, name: &str, sha256: &str) -> PathBuf {
        self.pool.join(index::stored(name, sha256))
    }

    fn index(&self) -> Result<Index> {
        index::load(&self.pool)
    }

    fn lock(&self) -> Result<lock::Lock> {
        lock::wait(&self.pool.join("lock"))
    }
}

/// Which packages of `index` a build sees: checksums by apt's names.
fn wanted(index: &Index, locked: Option<&BTreeMap<String, String>>) -> BTreeMap<String, String> {
    if let Some(locked) = locked {
        return locked.clone();
    }
    let mut signed: Vec<_> = index.values().filter(|known| known.signed).collect();
    // Of two with one name the newer one.
    signed.sort_by_key(|known| known.added);
    let names = signed.iter();
    names
        .map(|known| (known.name.clone(), known.sha256.clone()))
        .collect()
}

/// Where the package lies below `cache_dir` if the pool `pool` has it.
pub(crate) fn path_of(cache_dir: &Path, pool: &str, package: &Package) -> PathBuf {
    let name = index::stored(&package.file_name(), &package.sha256);
    cache_dir.join("packages").join(pool).join(name)
}

/// Adds to what is remembered of packages that are not kept.
fn remember(work: &Path, unsigned: BTreeMap<String, File>) -> Result<()> {
    if unsigned.is_empty() {
        return Ok(());
    }
    let mut all = remembered(work)?;
    all.extend(unsigned);
    work::save_unsynced(&work.join(UNSIGNED), &all)
}

fn remembered(work: &Path) -> Result<BTreeMap<String, File>> {
    Ok(work::load(&work.join(UNSIGNED))?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
