//! Blocks that a file has and that were never written, as `fallocate` makes them.
//!
//! To whoever reads they are a hole. So a copy of the file has none of them: overlayfs makes one
//! when a later step changes the file's owner, tar when the layer goes to another machine, and
//! the export. As zeros that were written they stay, whatever the file system.

use crate::base::inside::{Kind, Root};
use crate::base::sparse::{self, CHUNK};
use anyhow::{Context, Result};
use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// Shorter files are left alone, in bytes: nothing needs their blocks.
const LEAST: u64 = 1 << 16;

/// Writes the zeros of all files in the layer `upper` that have all of their blocks.
///
/// # Errors
/// When a file cannot be read or written.
pub(crate) fn settle(upper: &Path) -> Result<()> {
    let root = Root::open(upper)?;
    root.top().walk(|path, dir, entries| {
        for entry in entries.iter().filter(|entry| entry.kind == Kind::File) {
            let stat = dir.metadata(&entry.name)?;
            let size = u64::try_from(stat.st_size)?;
            let blocks = u64::try_from(stat.st_blocks)?;
            if size >= LEAST && blocks * 512 >= size {
                let path = path.join(&entry.name);
                dir.writable(&entry.name)
                    .and_then(|file| write_zeros(&file, size))
                    .with_context(|| format!("writing the zeros of {}", path.display()))?;
            }
        }
        Ok(true)
    })
}

/// Fills the holes of `file`, whose times stay.
fn write_zeros(file: &File, size: u64) -> Result<()> {
    let parts = sparse::data(file, size)?;
    let ends = parts.iter().map(|part| part.end);
    let begins = parts.iter().map(|part| part.start).chain([size]);
    let holes = [0].into_iter().chain(ends).zip(begins);
    let holes: Vec<(u64, u64)> = holes.filter(|(from, to)| from < to).collect();
    if holes.is_empty() {
        return Ok(());
    }
    let meta = file.metadata()?;
    let zeros = vec![0; CHUNK];
    for (mut at, end) in holes {
        while at < end {
            let length = usize::try_from((end - at).min(CHUNK as u64))?;
            file.write_all_at(&zeros[..length], at)?;
            at += length as u64;
        }
    }
    futimens(
        file,
        &TimeSpec::new(meta.atime(), meta.atime_nsec()),
        &TimeSpec::new(meta.mtime(), meta.mtime_nsec()),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{FallocateFlags, fallocate};
    use std::fs;

    /// Data bytes of a file.
    fn data(path: &Path) -> u64 {
        let file = File::open(path).unwrap();
        let size = file.metadata().unwrap().len();
        let parts = sparse::data(&file, size).unwrap();
        parts.iter().map(|part| part.end - part.start).sum()
    }

    #[test]
    fn allocated_blocks_become_zeros_and_holes_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (swap, hole) = (dir.path().join("swap"), dir.path().join("hole"));
        let file = File::create(&swap).unwrap();
        fallocate(&file, FallocateFlags::empty(), 0, 3 << 20).unwrap();
        file.write_all_at(b"head", 1 << 20).unwrap();
        let before = file.metadata().unwrap();
        File::create(&hole).unwrap().set_len(1 << 20).unwrap();
        assert!(data(&swap) < 3 << 20);
        settle(dir.path()).unwrap();
        assert_eq!((data(&swap), data(&hole)), (3 << 20, 0));
        let after = swap.metadata().unwrap();
        assert_eq!(after.modified().unwrap(), before.modified().unwrap());
        let text = fs::read(&swap).unwrap();
        assert_eq!(&text[1 << 20..(1 << 20) + 5], b"head\0");
    }
}
