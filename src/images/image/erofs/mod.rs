//! Reading erofs without mounting it.
//!
//! Own code: the crates are young (`erofs-rs` 0.3 needs a newer Rust than this program), and there
//! must be limits for what a stranger's image makes a reader read, unpack and keep. Format: the kernel's fs/erofs/erofs_fs.h and Documentation/filesystems/erofs.rst; numbers are
//! little-endian. Left out are several devices, the features after Linux 6.14 (48-bit addresses,
//! compressed metadata), and lz4 blocks of the legacy kind (before Linux 5.3), which do not say where
//! they end.

mod compressed;
mod content;
mod index;
mod inode;
mod superblock;
mod xattr;

use super::cache::Cache;
use super::disk::Slice;
use super::tree::names::{self, LARGEST_DIRECTORY};
use super::tree::{Content, Inode, Kind, Reader};
use crate::base::bytes::{u16_at, u64_at};
use anyhow::{Context, Result, ensure};
use inode::Own;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use superblock::Superblock;

/// A symbolic link's target, bytes.
const LONGEST_TARGET: u64 = 4096;

/// Unpacked data that is kept, bytes.
const KEPT: usize = 16 << 20;

/// Bytes of a directory's entry without its name.
const ENTRY: usize = 12;

/// A file system in an image.
pub(crate) struct Erofs {
    disk: Slice,
    sb: Superblock,
    /// Unpacked extents by where they are and how long they are.
    data: Cache<(u64, u64), Vec<u8>>,
    /// The inode with the ends of files, and where its content is.
    packed: RefCell<Option<Rc<content::File>>>,
}

impl Erofs {
    /// The file system in `disk`.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub(crate) fn new(disk: Slice) -> Result<Self> {
        let sb = Superblock::read(&disk)?;
        Ok(Self {
            disk,
            sb,
            data: Cache::new(KEPT),
            packed: RefCell::new(None),
        })
    }

    /// Fills `buffer` from byte `at` of the disk on.
    fn read(&self, at: u64, buffer: &mut [u8]) -> Result<()> {
        self.disk
            .read_at(buffer, at)
            .with_context(|| format!("reading {} bytes at byte {at}", buffer.len()))
    }

    /// An inode that has been given out, of the kind that is wanted.
    fn again(&self, inode: &Inode, kind: Kind) -> Result<Own> {
        let own = self.own(inode.number)?;
        ensure!(own.kind == kind, "it is not a {}", kind.name());
        Ok(own)
    }

    /// The whole content of an inode of at most `limit` bytes.
    fn whole(&self, own: &Own, limit: u64) -> Result<Vec<u8>> {
        ensure!(own.size <= limit, "it has {} bytes", own.size);
        let mut bytes = vec![0; usize::try_from(own.size)?];
        self.open(own)?.fill(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Names and inode numbers in a directory.
    fn names(&self, directory: &Own) -> Result<BTreeMap<Vec<u8>, u64>> {
        let bytes = self.whole(directory, LARGEST_DIRECTORY)?;
        let mut names = BTreeMap::new();
        for block in bytes.chunks(usize::try_from(self.sb.block)?) {
            entries(block, &mut names)?;
        }
        Ok(names)
    }
}

/// Adds the entries of one block of a directory: their fixed parts, then their names, each up to
/// the next one.
fn entries(block: &[u8], names: &mut BTreeMap<Vec<u8>, u64>) -> Result<()> {
    ensure!(block.len() >= ENTRY, "it is damaged");
    let first = usize::from(u16_at(block, 8));
    ensure!(
        first >= ENTRY && first % ENTRY == 0 && first <= block.len(),
        "it is damaged"
    );
    let heads = &block[..first];
    for (index, head) in heads.chunks_exact(ENTRY).enumerate() {
        let begin = usize::from(u16_at(head, 8));
        let next = heads.get((index + 1) * ENTRY + 8..(index + 1) * ENTRY + 10);
        let end = next.map_or(block.len(), |next| usize::from(u16_at(next, 0)));
        let name = block.get(begin..end).context("it is damaged")?;
        // Behind the last name, there are zeros.
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        names::add(names, name, u64_at(head, 0))?;
    }
    Ok(())
}

impl Reader for Erofs {
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
            device: own.device(),
            encrypted: false,
        })
    }

    fn list(&self, directory: &Inode) -> Result<BTreeMap<Vec<u8>, u64>> {
        let own = self.again(directory, Kind::Directory)?;
        self.names(&own)
            .with_context(|| format!("reading directory {}", own.number))
    }

    fn target(&self, link: &Inode) -> Result<Vec<u8>> {
        let own = self.again(link, Kind::Symlink)?;
        self.whole(&own, LONGEST_TARGET)
            .with_context(|| format!("reading symbolic link {}", own.number))
    }

    fn attributes(&self, inode: &Inode) -> Result<BTreeMap<String, Vec<u8>>> {
        let own = self.own(inode.number)?;
        self.attributes_of(&own)
            .with_context(|| format!("reading the attributes of inode {}", own.number))
    }

    fn content<'a>(&'a self, file: &Inode) -> Result<Box<dyn Content + 'a>> {
        let own = self.again(file, Kind::File)?;
        let open = self
            .open(&own)
            .with_context(|| format!("following inode {}", own.number))?;
        Ok(Box::new(open))
    }
}

#[cfg(test)]
mod tests;
