//! How much room a directory tree takes as ext4.

use crate::base::inside::{Dir, DirEntry, Kind};
use crate::base::sparse;
use anyhow::{Context, Result};
use nix::sys::stat::FileStat;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::ops::AddAssign;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

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

/// Walks `root`, leaving out what is in the directories `skip` (paths from there).
pub(crate) fn measure(root: &Dir, skip: &[PathBuf]) -> Result<Usage> {
    let seen = Seen::default();
    let total = Mutex::new(Usage::default());
    root.walk(|path, dir, entries| {
        let mut usage = Usage {
            blocks: directory(entries) + attributes(dir, OsStr::new(".")),
            inodes: 1,
        };
        let entered = skip.iter().all(|skip| skip != path);
        let files = entries.iter().filter(|entry| entry.kind != Kind::Directory);
        for entry in files.filter(|_| entered) {
            usage += one(dir, &entry.name, &seen)
                .with_context(|| format!("measuring {}", path.join(&entry.name).display()))?;
        }
        *total.lock().unwrap_or_else(PoisonError::into_inner) += usage;
        Ok(entered)
    })?;
    Ok(total.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Inodes with several names that were counted already: device and number.
type Seen = Mutex<HashSet<(u64, u64)>>;

/// What is not a directory, if it was not counted yet.
fn one(dir: &Dir, name: &OsStr, seen: &Seen) -> Result<Usage> {
    let stat = dir.metadata(name)?;
    let key = (stat.st_dev, stat.st_ino);
    if stat.st_nlink > 1 && !seen.lock().is_ok_and(|mut seen| seen.insert(key)) {
        return Ok(Usage::default());
    }
    Ok(Usage {
        blocks: contents(dir, name, &stat)? + attributes(dir, name),
        inodes: 1,
    })
}

/// Blocks of a directory: its entries, with room lost at the end of each block.
fn directory(entries: &[DirEntry]) -> u64 {
    let entry = |entry: &DirEntry| (8 + entry.name.len() as u64).next_multiple_of(4);
    let bytes = 24 + entries.iter().map(entry).sum::<u64>();
    bytes.div_ceil(BLOCK - 12 - 264)
}

/// Blocks of what is not a directory, without holes, with its extent blocks.
fn contents(dir: &Dir, name: &OsStr, stat: &FileStat) -> Result<u64> {
    let (size, allocated) = (u64::try_from(stat.st_size)?, u64::try_from(stat.st_blocks)?);
    match Kind::of(stat) {
        Kind::File => {}
        Kind::Link => return Ok(u64::from(size > INLINE_SYMLINK)),
        Kind::Directory | Kind::Other => return Ok(0),
    }
    let mut blocks = size.div_ceil(BLOCK);
    let mut parts = 1;
    if allocated * 512 < size {
        let data = sparse::data(&dir.file(name)?, size)?;
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
fn attributes(dir: &Dir, name: &OsStr) -> u64 {
    u64::from(dir.has_attributes(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::inside::Root;
    use std::fs;

    #[test]
    fn holes_and_hard_links_cost_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let empty = measure(root.top(), &[]).unwrap();
        fs::write(dir.path().join("a"), [1; 5000]).unwrap();
        let deep = dir.path().join("1/2/3/4/5");
        fs::create_dir_all(&deep).unwrap();
        fs::hard_link(dir.path().join("a"), deep.join("b")).unwrap();
        let skip = dir.path().join("1/2/3/4/left-out");
        fs::create_dir(&skip).unwrap();
        fs::write(skip.join("c"), [1; 5000]).unwrap();
        let hole = fs::File::create(dir.path().join("hole")).unwrap();
        hole.set_len(3 << 30).unwrap();
        let usage = measure(root.top(), &["1/2/3/4/left-out".into()]).unwrap();
        // Two files and six directories.
        assert_eq!(usage.inodes, empty.inodes + 2 + 6);
        assert_eq!(usage.blocks, empty.blocks + 2 + 6);
    }
}
