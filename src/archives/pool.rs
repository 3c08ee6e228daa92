//! The cache of downloaded packages that all builds share.
//!
//! apt checks what it downloads, but takes a file that lies in its archive directory and has
//! the right size as it is. So the pool keeps the checksum of every package that apt let
//! through, and a file that no longer has it is thrown out before apt sees it.

use crate::base::work;
use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A package whose size and modification time are as they were is read again only after this
/// many seconds: a week.
const TRUSTED_FOR: u64 = 7 * 24 * 3600;

/// Name of the index in the pool.
const INDEX: &str = "index.json";

/// What is known of a package file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    modified: i128,
    /// When it was read last, seconds since 1970.
    verified: u64,
}

impl Known {
    fn read(path: &Path, now: u64) -> Result<Self> {
        let (size, modified) = stamp(path)?;
        Ok(Self {
            sha256: sha256(path)?,
            size,
            modified,
            verified: now,
        })
    }

    /// Whether the file at `path` is still what it was; `self` is brought up to date.
    fn still_holds(&mut self, path: &Path, now: u64) -> Result<bool> {
        let (size, modified) = stamp(path)?;
        let recent = now.saturating_sub(self.verified) < TRUSTED_FOR;
        if size == self.size && modified == self.modified && recent {
            return Ok(true);
        }
        (self.modified, self.verified) = (modified, now);
        Ok(size == self.size && sha256(path)? == self.sha256)
    }
}

fn stamp(path: &Path) -> Result<(u64, i128)> {
    let meta = fs::metadata(path).with_context(|| format!("looking at {}", path.display()))?;
    let modified = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
    Ok((meta.len(), modified))
}

/// The SHA-256 of a file, in hex.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        let n = file
            .read(&mut buffer)
            .with_context(|| format!("reading {}", path.display()))?;
        if n == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(&buffer[..n]);
    }
}

type Index = BTreeMap<String, Known>;

/// Where the package file `name` of the pool `pool` lies below `cache_dir`.
pub(crate) fn path_of(cache_dir: &Path, pool: &str, name: &str) -> PathBuf {
    cache_dir.join("packages").join(pool).join(name)
}

/// Downloaded packages, shared by all builds through hard links: a build has a directory of
/// its own, so that two builds do not wait for each other's locks.
pub struct Archives {
    pool: PathBuf,
    own: tempfile::TempDir,
}

impl Archives {
    /// Opens the pool `name` below `cache_dir`, one for each architecture of each archive, and
    /// makes the build's own view.
    /// Says to `note` which packages were damaged and are thrown out.
    pub fn open(cache_dir: &Path, name: &str, note: &mut dyn FnMut(&str)) -> Result<Self> {
        let pool = cache_dir.join("packages").join(name);
        fs::create_dir_all(&pool).with_context(|| format!("making {}", pool.display()))?;
        let own = tempfile::Builder::new()
            .prefix("build-")
            .tempdir_in(cache_dir)
            .with_context(|| format!("making a directory in {}", cache_dir.display()))?;
        sweep(cache_dir);
        let archives = Self { pool, own };
        archives.verify(note)?;
        Ok(archives)
    }

    /// Directory to be seen as /var/cache/apt/archives.
    pub fn dir(&self) -> &Path {
        self.own.path()
    }

    /// Links into the build's view every package of the pool that is what it was.
    fn verify(&self, note: &mut dyn FnMut(&str)) -> Result<()> {
        let _lock = self.lock()?;
        let (mut index, mut sound) = (self.index()?, Index::new());
        let now = now();
        for name in packages(&self.pool)? {
            let path = self.pool.join(&name);
            let Some(mut known) = index.remove(&name) else {
                // Nobody vouches for it; apt fetches it again if it is wanted.
                remove(&path)?;
                continue;
            };
            if known.still_holds(&path, now)? {
                link(&path, &self.dir().join(&name))?;
                sound.insert(name, known);
            } else {
                note(&format!(
                    "{} was damaged since it was downloaded; it is fetched again",
                    path.display()
                ));
                remove(&path)?;
            }
        }
        work::save(&self.pool.join(INDEX), &sound)
    }

    /// Puts what was downloaded since into the pool, and takes back from it what `apt-get clean`
    /// removed.
    pub fn save(&self) -> Result<()> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let (now, before) = (now(), index.len());
        let there: BTreeSet<String> = packages(self.dir())?.into_iter().collect();
        for name in index.keys().filter(|name| !there.contains(*name)) {
            let path = self.pool.join(name);
            if path.exists() {
                link(&path, &self.dir().join(name))?;
            }
        }
        for name in there {
            if !index.contains_key(&name) {
                let path = self.dir().join(&name);
                index.insert(name.clone(), Known::read(&path, now)?);
                link(&path, &self.pool.join(&name))?;
            }
        }
        if index.len() == before {
            return Ok(());
        }
        work::save(&self.pool.join(INDEX), &index)
    }

    /// A directory for packages on the way to [`Archives::adopt`], gone with the guard.
    pub(crate) fn scratch(&self) -> Result<tempfile::TempDir> {
        let cache = self.own.path().parent().context("finding the cache")?;
        tempfile::Builder::new()
            .prefix("build-")
            .tempdir_in(cache)
            .with_context(|| format!("making a directory in {}", cache.display()))
    }

    /// Takes the package files in `dir`, which apt has let through, into the pool.
    pub(crate) fn adopt(&self, dir: &Path) -> Result<()> {
        for name in packages(dir)? {
            link(&dir.join(&name), &self.dir().join(&name))?;
        }
        self.save()
    }

    /// What is known of the packages in the pool, by file name.
    pub fn index(&self) -> Result<Index> {
        Ok(work::load(&self.pool.join(INDEX))?.unwrap_or_default())
    }

    fn lock(&self) -> Result<Flock<File>> {
        let path = self.pool.join("lock");
        let file = File::create(&path).with_context(|| format!("making {}", path.display()))?;
        Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, error)| error)
            .with_context(|| format!("locking {}", path.display()))
    }
}

/// Removes views that builds which were killed have left: those older than two days.
fn sweep(cache_dir: &Path) {
    let old = SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
    for entry in fs::read_dir(cache_dir).into_iter().flatten().flatten() {
        let is_view = entry.file_name().to_string_lossy().starts_with("build-");
        let modified = entry.metadata().and_then(|meta| meta.modified());
        if is_view && modified.is_ok_and(|modified| modified < old) {
            // The next build tries again.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Names of the package files in `dir`.
fn packages(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let name = entry
            .with_context(|| format!("reading {}", dir.display()))?
            .file_name();
        if let Some(name) = name.to_str().filter(|name| name.ends_with(".deb")) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn link(from: &Path, to: &Path) -> Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("linking {}", from.display()))
        }
        _ => Ok(()),
    }
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).with_context(|| format!("removing {}", path.display()))
}

/// mmdebstrap's option that shows the package cache to its apt from the first download on.
pub(crate) fn archives_hook(archives: &str) -> String {
    let quoted = archives.replace('\'', r"'\''");
    format!(
        "--setup-hook=mkdir -p \"$1/var/cache/apt/archives\" && mount --bind '{quoted}' \"$1/var/cache/apt/archives\""
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(cache: &Path) -> (Archives, Vec<String>) {
        let mut notes = Vec::new();
        let archives =
            Archives::open(cache, "arm64", &mut |note| notes.push(note.to_owned())).unwrap();
        (archives, notes)
    }

    #[test]
    fn packages_reach_other_builds_through_the_pool() {
        let cache = tempfile::tempdir().unwrap();
        let (one, _) = open(cache.path());
        fs::write(one.dir().join("a_1_arm64.deb"), "x").unwrap();
        fs::write(one.dir().join("lock"), "").unwrap();
        one.save().unwrap();
        let (two, notes) = open(cache.path());
        assert!(two.dir().join("a_1_arm64.deb").exists());
        assert!(!two.dir().join("lock").exists());
        assert!(notes.is_empty(), "{notes:?}");
        fs::remove_file(two.dir().join("a_1_arm64.deb")).unwrap();
        two.save().unwrap();
        assert!(two.dir().join("a_1_arm64.deb").exists(), "cleaned away");
    }

    #[test]
    fn a_damaged_or_unknown_package_is_thrown_out() {
        let cache = tempfile::tempdir().unwrap();
        let (one, _) = open(cache.path());
        for name in ["a_1_arm64.deb", "b_1_arm64.deb"] {
            fs::write(one.dir().join(name), "right").unwrap();
        }
        one.save().unwrap();
        drop(one);
        let pool = cache.path().join("packages/arm64");
        fs::write(pool.join("a_1_arm64.deb"), "wrong").unwrap();
        fs::write(pool.join("c_1_arm64.deb"), "who knows").unwrap();
        // Touched, but the same.
        fs::write(pool.join("b_1_arm64.deb"), "right").unwrap();
        let (two, notes) = open(cache.path());
        assert_eq!(packages(two.dir()).unwrap(), ["b_1_arm64.deb"]);
        assert_eq!(packages(&pool).unwrap(), ["b_1_arm64.deb"]);
        assert!(notes.len() == 1 && notes[0].contains("a_1_arm64.deb was damaged"));
    }
}
