//! Reading squashfs 4.0 without mounting it.
//!
//! Own code, because a comparison of images needs what the crates leave out: the nodes of `backhand`
//! 0.25 have neither extended attributes nor inode numbers (for hard links), `squashfs-async`
//! parses all tables into memory at once. And there must be limits for what a stranger's image makes
//! a reader read, unpack and keep. Format: the kernel's Documentation/filesystems/squashfs.rst and fs/squashfs/squashfs_fs.h;
//! numbers are little-endian. lzo and the old lzma are left out: mksquashfs does not use them
//! unasked.
//!
//! The number of an inode is the reference to it, as directories have it: the inode's metadata
//! block in the upper bits, and the place in that block in the lower sixteen.

mod content;
mod directory;
mod inode;
mod metadata;
mod superblock;
mod xattr;

use super::cache::Cache;
use super::disk::Slice;
use super::tree::{Content, Inode, Kind, Reader};
use anyhow::{Context, Result, ensure};
use inode::Own;
use std::collections::BTreeMap;
use superblock::Superblock;

/// A symbolic link's target, bytes.
const LONGEST_TARGET: u64 = 4096;

/// Unpacked metadata and unpacked data that are kept, bytes.
const METADATA_KEPT: usize = 1 << 20;
const DATA_KEPT: usize = 16 << 20;

/// A file system in an image.
pub(crate) struct Squashfs {
    disk: Slice,
    sb: Superblock,
    /// Users and groups, to which inodes point.
    ids: Vec<u32>,
    /// Where the metadata blocks of the table of fragments are.
    fragments: Vec<u64>,
    attributes: Option<xattr::Table>,
    metadata: Cache<u64, metadata::Block>,
    /// Blocks with fragments, by their places on the disk.
    data: Cache<u64, Vec<u8>>,
}

impl Squashfs {
    /// The file system in `disk`.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub(crate) fn new(disk: Slice) -> Result<Self> {
        let sb = Superblock::read(&disk)?;
        let mut found = Self {
            disk,
            sb,
            ids: Vec::new(),
            fragments: Vec::new(),
            attributes: None,
            metadata: Cache::new(METADATA_KEPT),
            data: Cache::new(DATA_KEPT),
        };
        found.ids = found.read_ids().context("reading its users and groups")?;
        let (at, count) = (found.sb.fragment_table, found.sb.fragments);
        found.fragments = found
            .pointers(at, count, content::FRAGMENT_ENTRY)
            .context("reading its table of fragments")?;
        found.attributes = found
            .attribute_table()
            .context("reading its table of attributes")?;
        Ok(found)
    }

    fn read_ids(&self) -> Result<Vec<u32>> {
        let count = self.sb.ids;
        let blocks = self.pointers(self.sb.id_table, u32::from(count), 4)?;
        let mut ids = Vec::new();
        for index in 0..u32::from(count) {
            let entry: [u8; 4] = self.entry(&blocks, index)?;
            ids.push(u32::from_le_bytes(entry));
        }
        Ok(ids)
    }

    /// An inode that has been given out, of the kind that is wanted.
    fn again(&self, inode: &Inode, kind: Kind) -> Result<Own> {
        let own = self.own(inode.number)?;
        ensure!(own.kind == kind, "it is not a {}", kind.name());
        Ok(own)
    }
}

impl Reader for Squashfs {
    fn root(&self) -> u64 {
        self.sb.root
    }

    fn inode(&self, number: u64) -> Result<Inode> {
        let own = self.own(number)?;
        Ok(Inode {
            number,
            kind: own.kind,
            mode: own.mode,
            uid: own.uid,
            gid: own.gid,
            size: own.size,
            mtime: own.mtime,
            device: own.device,
            encrypted: false,
        })
    }

    fn list(&self, directory: &Inode) -> Result<BTreeMap<Vec<u8>, u64>> {
        let own = self.again(directory, Kind::Directory)?;
        self.names(&own)
            .with_context(|| format!("reading directory {:#x}", directory.number))
    }

    fn target(&self, link: &Inode) -> Result<Vec<u8>> {
        let own = self.again(link, Kind::Symlink)?;
        ensure!(own.size <= LONGEST_TARGET, "a symbolic link is damaged");
        let mut target = vec![0; usize::try_from(own.size)?];
        self.fill_metadata(&mut own.rest.clone(), &mut target)
            .context("reading a symbolic link")?;
        Ok(target)
    }

    fn attributes(&self, inode: &Inode) -> Result<BTreeMap<String, Vec<u8>>> {
        let own = self.own(inode.number)?;
        self.attributes_of(&own)
            .with_context(|| format!("reading the attributes of inode {:#x}", inode.number))
    }

    fn content<'a>(&'a self, file: &Inode) -> Result<Box<dyn Content + 'a>> {
        let own = self.again(file, Kind::File)?;
        let open = content::Open::new(self, &own)
            .with_context(|| format!("following inode {:#x}", file.number))?;
        Ok(Box::new(open))
    }
}

#[cfg(test)]
mod tests;
