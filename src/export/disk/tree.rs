//! How much room a directory tree takes as ext4.

use crate::base::sparse;
use anyhow::{Context, Result, anyhow};
use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::ops::AddAssign;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use walkdir::{DirEntry, WalkDir};

/// Bytes of an ext4 block.
pub(crate) const BLOCK: u64 = 4096;

/// Longest target that an ext4 symbolic link holds in its inode.
const INLINE_SYMLINK: u64 = 59;

/// Entries of an extent block, and the longest extent in blocks.
const EXTENTS_PER_BLOCK: u64 = 340;
const LONGEST_EXTENT: u64 = 32768;

/// What a tree needs, counted from its real inodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Blocks of [`BLOCK`] bytes: contents, directories, long links, attributes.
    pub(crate) blocks: u64,
    /// Inodes, hard links counted once.
    pub(crate) inodes: u64,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.blocks += other.blocks;
        self.inodes += other.inodes;
    }
}

/// Directory levels below the root whose entries are handed out to the threads.
const SHARED_LEVELS: usize = 3;

/// Walks `root`, leaving out what is below `skip`, with as many threads as there are
/// processors: an overlay looks up every file for the first time.
pub(crate) fn measure(root: &Path, skip: &[PathBuf]) -> Result<Usage> {
    let seen = Mutex::new(HashSet::new());
    let mut usage = Usage::default();
    let mut deep = Vec::new();
    let mut walk = WalkDir::new(root).max_depth(SHARED_LEVELS).into_iter();
    while let Some(entry) = walk.next() {
        let entry = entry.with_context(|| format!("measuring {}", root.display()))?;
        let skipped = skip.iter().any(|skip| skip == entry.path());
        if skipped {
            walk.skip_current_dir();
        }
        if entry.file_type().is_dir() && entry.depth() == SHARED_LEVELS && !skipped {
            deep.push(entry.into_path());
        } else {
            usage += one(&entry, &seen)?;
        }
    }
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let parts = thread::scope(|scope| {
        let work = || -> Result<Usage> {
            let mut usage = Usage::default();
            while let Some(dir) = deep.get(next.fetch_add(1, Ordering::Relaxed)) {
                usage += below(dir, skip, &seen)?;
            }
            Ok(usage)
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .map_err(|_| anyhow!("a measuring thread panicked"))?
            })
            .collect::<Result<Vec<_>>>()
    })?;
    for part in parts {
        usage += part;
    }
    Ok(usage)
}

/// Inodes with several names that were counted already: device and number.
type Seen = Mutex<HashSet<(u64, u64)>>;

/// All of `dir`, itself too.
fn below(dir: &Path, skip: &[PathBuf], seen: &Seen) -> Result<Usage> {
    let mut usage = Usage::default();
    let mut walk = WalkDir::new(dir).into_iter();
    while let Some(entry) = walk.next() {
        let entry = entry.with_context(|| format!("measuring {}", dir.display()))?;
        if skip.iter().any(|skip| skip == entry.path()) {
            walk.skip_current_dir();
        }
        usage += one(&entry, seen)?;
    }
    Ok(usage)
}

/// One name: a directory without what is in it, or a file that was not counted yet.
fn one(entry: &DirEntry, seen: &Seen) -> Result<Usage> {
    let path = entry.path();
    let meta = entry.metadata()?;
    let blocks = if meta.is_dir() {
        directory(path)?
    } else {
        let key = (meta.dev(), meta.ino());
        if meta.nlink() > 1 && !seen.lock().is_ok_and(|mut seen| seen.insert(key)) {
            return Ok(Usage::default());
        }
        contents(path, &meta)?
    };
    Ok(Usage {
        blocks: blocks + attributes(path),
        inodes: 1,
    })
}

/// Blocks of a directory: its entries, with room lost at the end of each block.
fn directory(path: &Path) -> Result<u64> {
    let mut bytes = 24;
    for entry in std::fs::read_dir(path).with_context(|| format!("listing {}", path.display()))? {
        let length = entry?.file_name().as_bytes().len() as u64;
        bytes += (8 + length).next_multiple_of(4);
    }
    Ok(bytes.div_ceil(BLOCK - 12 - 264))
}

/// Blocks of what is not a directory, without holes, with its extent blocks.
fn contents(path: &Path, meta: &Metadata) -> Result<u64> {
    if meta.file_type().is_symlink() {
        return Ok(u64::from(meta.len() > INLINE_SYMLINK));
    }
    if !meta.is_file() {
        return Ok(0);
    }
    let mut blocks = meta.len().div_ceil(BLOCK);
    let mut parts = 1;
    if meta.blocks() * 512 < meta.len() {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let data = sparse::data(&file, meta.len())?;
        parts = data.len() as u64;
        blocks = data
            .iter()
            .map(|p| p.end.div_ceil(BLOCK) - p.start / BLOCK)
            .sum();
    }
    let extents = parts + 2 * (blocks / LONGEST_EXTENT);
    let index = if extents > 4 {
        extents.div_ceil(EXTENTS_PER_BLOCK / 2) + 1
    } else {
        0
    };
    Ok(blocks + index)
}

/// One block if there are extended attributes. Small ones fit into the inode;
/// that is not counted on.
fn attributes(path: &Path) -> u64 {
    u64::from(xattr::list(path).is_ok_and(|mut names| names.next().is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn holes_and_hard_links_cost_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let empty = measure(dir.path(), &[]).unwrap();
        fs::write(dir.path().join("a"), [1; 5000]).unwrap();
        let deep = dir.path().join("1/2/3/4/5");
        fs::create_dir_all(&deep).unwrap();
        fs::hard_link(dir.path().join("a"), deep.join("b")).unwrap();
        let skip = dir.path().join("1/2/3/4/left-out");
        fs::create_dir(&skip).unwrap();
        fs::write(skip.join("c"), [1; 5000]).unwrap();
        let hole = fs::File::create(dir.path().join("hole")).unwrap();
        hole.set_len(3 << 30).unwrap();
        let usage = measure(dir.path(), &[skip]).unwrap();
        // Two files and six directories.
        assert_eq!(usage.inodes, empty.inodes + 2 + 6);
        assert_eq!(usage.blocks, empty.blocks + 2 + 6);
    }
}
