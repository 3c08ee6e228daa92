//! How much room a directory tree takes as ext4.

use super::sparse;
use anyhow::{Context, Result};
use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

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

/// Walks `root`, leaving out what is below `skip`.
pub(crate) fn measure(root: &Path, skip: &[PathBuf]) -> Result<Usage> {
    let mut usage = Usage::default();
    let mut seen = HashSet::new();
    let mut walk = WalkDir::new(root).into_iter();
    while let Some(entry) = walk.next() {
        let entry = entry.with_context(|| format!("measuring {}", root.display()))?;
        let path = entry.path();
        let meta = entry.metadata()?;
        if meta.is_dir() {
            usage.inodes += 1;
            usage.blocks += directory(path)? + attributes(path);
            if skip.iter().any(|skip| skip == path) {
                walk.skip_current_dir();
            }
        } else if meta.nlink() == 1 || seen.insert((meta.dev(), meta.ino())) {
            usage.inodes += 1;
            usage.blocks += contents(path, &meta)? + attributes(path);
        }
    }
    Ok(usage)
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
        fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        let hole = fs::File::create(dir.path().join("hole")).unwrap();
        hole.set_len(3 << 30).unwrap();
        let usage = measure(dir.path(), &[]).unwrap();
        assert_eq!(usage.inodes, empty.inodes + 2);
        assert_eq!(usage.blocks, empty.blocks + 2);
    }
}
