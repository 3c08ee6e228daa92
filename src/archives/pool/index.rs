//! What is known of the packages in the pool.

use crate::base::{digest, work};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// A package whose size and modification time are as they were is read again only after this
/// many seconds: a week.
const TRUSTED_FOR: u64 = 7 * 24 * 3600;

/// Name of the index in the pool.
const INDEX: &str = "pool.json";

/// Has the fingerprints of the package lists that the index agrees with.
const RECONCILED: &str = "lists.json";

/// What earlier versions had in its place: checksums of files called `NAME_VERSION_ARCH.deb`.
const EARLIER: &str = "index.json";

/// A package file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// In hex.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// Packages by the names of their files in the pool.
pub(super) type Index = BTreeMap<String, Known>;

/// What is known of a package file of the pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// apt's name for it.
    pub(super) name: String,
    /// In hex.
    pub(super) sha256: String,
    /// Bytes.
    pub(super) size: u64,
    /// An archive's signed index named it with this checksum.
    pub(super) signed: bool,
    /// When it came, seconds since 1970.
    pub(super) added: u64,
    /// Nanoseconds since 1970.
    modified: i128,
    /// When it was read last, seconds since 1970.
    verified: u64,
    /// Since which start of the machine it is there, unless it was read after another one:
    /// nothing waits for it to be on the disk.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    boot: String,
}

impl Known {
    /// A package that was just written to `path`.
    pub(super) fn new(name: &str, sha256: &str, path: &Path, signed: bool) -> Result<Self> {
        let (size, modified) = stamp(path)?;
        Ok(Self {
            name: name.to_owned(),
            sha256: sha256.to_owned(),
            size,
            signed,
            added: now(),
            modified,
            verified: now(),
            boot: work::boot_id(),
        })
    }

    /// Whether the file at `path` is still what it was; `self` is brought up to date.
    pub(super) fn still_holds(&mut self, path: &Path, now: u64) -> Result<bool> {
        let (size, modified) = stamp(path)?;
        let recent = now.saturating_sub(self.verified) < TRUSTED_FOR;
        let written = self.boot.is_empty() || self.boot == work::boot_id();
        if size == self.size && modified == self.modified && recent && written {
            return Ok(true);
        }
        (self.modified, self.verified) = (modified, now);
        if !written {
            self.boot.clear();
        }
        Ok(size == self.size && digest::of_file(path)? == self.sha256)
    }
}

/// The name of a package's file in the pool.
pub(super) fn stored(name: &str, sha256: &str) -> String {
    format!("{name}.{sha256}")
}

/// The index of `pool`. Without one, or with a damaged one, it is made again of the files, whose
/// names have their checksums; an archive has to vouch for them again.
pub(super) fn load(pool: &Path) -> Result<Index> {
    if let Some(index) = work::load(&pool.join(INDEX))? {
        return Ok(index);
    }
    let mut index = Index::new();
    for entry in fs::read_dir(pool).with_context(|| format!("reading {}", pool.display()))? {
        let path = entry
            .with_context(|| format!("reading {}", pool.display()))?
            .path();
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let Some((name, sha256)) = file.rsplit_once('.') else {
            continue;
        };
        if name.ends_with(".deb") && digest::is_sha256(sha256) && path.is_file() {
            let mut known = Known::new(name, sha256, &path, false)?;
            // To be read before it is used.
            known.verified = 0;
            index.insert(file.into_owned(), known);
        }
    }
    Ok(index)
}

pub(super) fn save(pool: &Path, index: &Index) -> Result<()> {
    // Without it packages are read again, which costs less than waiting for the disk here.
    work::save_unsynced(&pool.join(INDEX), index)
}

/// Fingerprints of lists that are remembered.
const LISTS: usize = 50;

/// Whether the index has been brought in line with the package lists of this fingerprint.
pub(super) fn is_reconciled(pool: &Path, lists: &str) -> Result<bool> {
    let known: Vec<String> = work::load(&pool.join(RECONCILED))?.unwrap_or_default();
    Ok(lists.is_empty() || known.iter().any(|known| known == lists))
}

/// Remembers that it has.
pub(super) fn reconciled(pool: &Path, lists: &str) -> Result<()> {
    if lists.is_empty() {
        return Ok(());
    }
    let path = pool.join(RECONCILED);
    let mut known: Vec<String> = work::load(&path)?.unwrap_or_default();
    known.retain(|known| known != lists);
    known.push(lists.to_owned());
    known.drain(..known.len().saturating_sub(LISTS));
    work::save_unsynced(&path, &known)
}

/// Takes over what an earlier version left: its packages stay, until an archive has vouched
/// for them, out of sight of builds without a lock file.
pub(super) fn take_over(pool: &Path) -> Result<()> {
    #[derive(Deserialize)]
    struct Earlier {
        sha256: String,
    }
    let path = pool.join(EARLIER);
    if !path.exists() {
        return Ok(());
    }
    let earlier: BTreeMap<String, Earlier> = work::load(&path)?.unwrap_or_default();
    let mut index = load(pool)?;
    for (name, Earlier { sha256 }) in earlier {
        let stored = stored(&name, &sha256);
        let (from, to) = (pool.join(&name), pool.join(&stored));
        let plain = digest::is_sha256(&sha256) && !name.contains('/');
        if plain && !index.contains_key(&stored) && from.is_file() {
            fs::rename(&from, &to).with_context(|| format!("renaming {}", from.display()))?;
            let mut known = Known::new(&name, &sha256, &to, false)?;
            known.verified = 0;
            index.insert(stored, known);
        }
    }
    work::save(&pool.join(INDEX), &index)?;
    for entry in fs::read_dir(pool).with_context(|| format!("reading {}", pool.display()))? {
        let entry = entry.with_context(|| format!("reading {}", pool.display()))?;
        if entry.file_name().to_string_lossy().ends_with(".deb") {
            super::remove(&entry.path())?;
        }
    }
    super::remove(&path)
}

/// Size in bytes, and nanoseconds since 1970.
fn stamp(path: &Path) -> Result<(u64, i128)> {
    let meta = fs::metadata(path).with_context(|| format!("looking at {}", path.display()))?;
    let modified = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
    Ok((meta.len(), modified))
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
