//! What takes the room in an image: by package, directory and file.
//!
//! A file's bytes are what it takes in its file system: in ext4 whole blocks of 4 KiB, elsewhere its
//! length. Of several hard links, the first one in the order of paths has them. Directories, tables
//! and the journal are the file system's own.

mod against;
mod mounts;
mod sums;

pub(crate) use against::{Against, Change, against};

use crate::images::image::Image;
use crate::images::image::fat::Fat;
use crate::images::image::owners::Owners;
use crate::images::image::packages;
use crate::images::image::probe::{FileSystem, Files};
use crate::images::image::tree::{Inode, Kind, Tree};
use anyhow::{Result, ensure};
use mounts::Mounts;
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use sums::Collected;

/// All sizes are in bytes; lists begin with the largest.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Sizes {
    /// Of all files, and how many they are.
    pub(crate) size: u64,
    pub(crate) count: u64,
    pub(crate) file_systems: Vec<System>,
    pub(crate) packages: Vec<PackageSize>,
    /// Files of no package, by the directory they are in: three levels deep at most.
    pub(crate) no_package: Vec<Group>,
    /// Directories with everything below them.
    pub(crate) directories: Vec<Group>,
    pub(crate) files: Vec<FileSize>,
    /// What could not be read, and why.
    pub(crate) notes: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct System {
    /// Number of its partition.
    pub(crate) partition: u32,
    /// Where its files are in the paths here.
    pub(crate) mount_point: String,
    pub(crate) kind: &'static str,
    /// Of its files.
    pub(crate) size: u64,
    /// What it uses besides; `None` if it packs its files.
    pub(crate) own: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PackageSize {
    pub(crate) name: String,
    pub(crate) architecture: String,
    /// Empty if only its settings are left.
    pub(crate) version: String,
    pub(crate) size: u64,
    /// Number of its files.
    pub(crate) count: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Group {
    pub(crate) path: String,
    pub(crate) size: u64,
    /// Number of files.
    pub(crate) count: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FileSize {
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) package: Option<String>,
}

/// Bytes of a block of ext4, as `mke2fs` makes it for all but the smallest file systems.
const BLOCK: u64 = 4096;

/// Bytes of a symbolic link that ext4 has in the inode.
const SHORT_LINK: u64 = 60;

/// Bytes of all paths, and what each costs besides.
const LONGEST_PATHS: usize = 128 << 20;
const BESIDES: usize = 64;

/// What the files of `image` take. What cannot be read is noted.
pub(crate) fn measure(image: &Image) -> Sizes {
    let mut found: Vec<(u32, FileSystem, Files)> = Vec::new();
    for partition in &image.table.partitions {
        let (facts, files) = image.probe(partition);
        found.push((partition.number, facts, files));
    }
    let mut sizes = Sizes::default();
    sizes.notes.extend(image.table.note.clone());
    let unread = |(number, facts, _): &(u32, FileSystem, Files)| facts.unread(*number);
    sizes.notes.extend(found.iter().filter_map(unread));
    if !found
        .iter()
        .any(|(_, _, files)| !matches!(files, Files::None))
    {
        let note = "nothing in it is a file system that can be read";
        sizes.notes.push(note.to_owned());
    }
    let mut collected = Collected::default();
    let root = found.iter().find_map(|(number, _, files)| match files {
        Files::Tree(tree) if matches!(tree.lookup("/etc/fstab"), Ok(Some(_))) => {
            Some((*number, tree))
        }
        _ => None,
    });
    let root = root.or_else(|| {
        found.iter().find_map(|(number, _, files)| match files {
            Files::Tree(tree) => Some((*number, tree)),
            _ => None,
        })
    });
    let mounts = Mounts::read(image, root.map(|(_, tree)| tree));
    for (number, facts, files) in &found {
        let is_root = root.is_some_and(|(root, _)| root == *number);
        let place = if is_root {
            String::new()
        } else {
            mounts.of(*number, facts)
        };
        let before = collected.size();
        let walked = match files {
            Files::Tree(tree) => tree_files(tree, &place, is_root, facts, &mut collected),
            Files::Fat(fat) => fat_files(fat, &place, &mut collected),
            Files::None => continue,
        };
        if let Err(error) = walked {
            sizes.notes.push(format!("partition {number}: {error:#}"));
        }
        let size = collected.size() - before;
        sizes.file_systems.push(System {
            partition: *number,
            mount_point: if is_root { "/".to_owned() } else { place },
            kind: facts.kind,
            size,
            own: facts.used.and_then(|used| used.checked_sub(size)),
        });
    }
    collected.into_sizes(&mut sizes);
    sizes
}

/// Adds the files of a tree, whose paths begin with `place`.
fn tree_files(
    tree: &Tree,
    place: &str,
    is_root: bool,
    facts: &FileSystem,
    collected: &mut Collected,
) -> Result<()> {
    let owners = if is_root {
        let installed = packages::read(tree)?.unwrap_or_default();
        let owners = Owners::read(tree)?;
        collected.packages(&owners.names, installed);
        owners
    } else {
        Owners::default()
    };
    let in_blocks = facts.kind.starts_with("ext");
    let mut seen = HashSet::new();
    tree.walk(|path, inode| {
        let content = matches!(inode.kind, Kind::File | Kind::Symlink);
        if !content || !seen.insert(inode.number) {
            return Ok(());
        }
        let size = used(inode, in_blocks);
        let shown = format!("{place}{}", String::from_utf8_lossy(path));
        collected.add(shown, size, owners.of(path))
    })
}

/// Bytes that a file takes.
fn used(inode: &Inode, in_blocks: bool) -> u64 {
    match inode.kind {
        _ if !in_blocks => inode.size,
        Kind::Symlink if inode.size < SHORT_LINK => 0,
        _ => inode.size.div_ceil(BLOCK).saturating_mul(BLOCK),
    }
}

/// Adds the files of a FAT, whose paths begin with `place`.
fn fat_files(fat: &Fat, place: &str, collected: &mut Collected) -> Result<()> {
    for (path, size) in fat.files()? {
        collected.add(format!("{place}/{path}"), size, None)?;
    }
    Ok(())
}

/// The directory that a file is in; `/` for those at the top.
fn directory(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((directory, _)) => directory,
    }
}

#[cfg(test)]
mod tests;
