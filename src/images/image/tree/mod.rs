//! A tree of files in an image, whichever file system holds it.

pub(super) mod names;
#[cfg(test)]
pub(super) mod samples;
mod walk;

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;

/// What an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    CharDevice,
    BlockDevice,
    Fifo,
    Socket,
}

impl Kind {
    /// As people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symbolic link",
            Self::CharDevice => "character device",
            Self::BlockDevice => "block device",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
        }
    }

    /// By the upper four bits of a `st_mode`.
    pub(crate) fn of_mode(mode: u16) -> Option<Self> {
        Some(match mode >> 12 {
            0x1 => Self::Fifo,
            0x2 => Self::CharDevice,
            0x4 => Self::Directory,
            0x6 => Self::BlockDevice,
            0x8 => Self::File,
            0xa => Self::Symlink,
            0xc => Self::Socket,
            _ => return None,
        })
    }
}

/// One inode.
#[derive(Debug, Clone)]
pub(crate) struct Inode {
    /// Names it in its file system; hard links have the same one.
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    /// The lower twelve bits.
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Bytes.
    pub(crate) size: u64,
    /// Time of the last change of the content, seconds since 1970.
    pub(crate) mtime: i64,
    /// Major and minor number; zeros if it is no device.
    pub(crate) device: (u32, u32),
    /// Whether names or content are there only with a key.
    pub(crate) encrypted: bool,
}

/// What the reader of one kind of file system can do. All bytes are a stranger's: whatever they
/// are, a reader comes to an end, and allocates no more than its limits say.
pub(crate) trait Reader {
    /// The number of `/`.
    fn root(&self) -> u64;

    /// The inode `number`.
    fn inode(&self, number: u64) -> Result<Inode>;

    /// Names and inode numbers in a directory, without `.` and `..`, in byte order.
    fn list(&self, directory: &Inode) -> Result<BTreeMap<Vec<u8>, u64>>;

    /// Where a symbolic link leads to.
    fn target(&self, link: &Inode) -> Result<Vec<u8>>;

    /// Extended attributes by their full names.
    fn attributes(&self, inode: &Inode) -> Result<BTreeMap<String, Vec<u8>>>;

    /// What a file holds.
    fn content<'a>(&'a self, file: &Inode) -> Result<Box<dyn Content + 'a>>;
}

/// The bytes of one file.
pub(crate) trait Content {
    /// Fills `buffer` with the content from byte `at` on; it must not end beyond the file.
    fn fill(&mut self, buffer: &mut [u8], at: u64) -> Result<()>;

    /// The end of the hole at byte `at`, or `None` if there is data, or may be.
    fn hole(&self, _at: u64) -> Option<u64> {
        None
    }
}

/// Bytes of a text that a system reads.
const LARGEST_TEXT: u64 = 1 << 20;

/// Bytes of a file that are looked at in one piece.
const PIECE: u64 = 1 << 20;

/// The files of one file system.
pub(crate) struct Tree(Box<dyn Reader>);

impl std::ops::Deref for Tree {
    type Target = dyn Reader;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl Tree {
    pub(crate) fn new(reader: impl Reader + 'static) -> Self {
        Self(Box::new(reader))
    }

    /// The inode at an absolute path; symbolic links are followed. `None` if there is none.
    pub(crate) fn lookup(&self, path: &str) -> Result<Option<Inode>> {
        self.find(path.as_bytes(), true)
    }

    /// The same, but a link at the path's end is itself what is found.
    pub(crate) fn lookup_link(&self, path: &[u8]) -> Result<Option<Inode>> {
        self.find(path, false)
    }

    fn find(&self, path: &[u8], follow: bool) -> Result<Option<Inode>> {
        let mut links = 0;
        let mut parents = vec![self.inode(self.root())?];
        let mut rest: Vec<Vec<u8>> = split(path);
        while let Some(name) = rest.pop() {
            if name == b".." {
                if parents.len() > 1 {
                    parents.pop();
                }
                continue;
            }
            let here = &parents[parents.len() - 1];
            if here.kind != Kind::Directory {
                return Ok(None);
            }
            let Some(&number) = self.list(here)?.get(&name) else {
                return Ok(None);
            };
            let inode = self.inode(number)?;
            if inode.kind != Kind::Symlink || rest.is_empty() && !follow {
                parents.push(inode);
                continue;
            }
            links += 1;
            ensure!(
                links <= 40,
                "too many symbolic links in {}",
                String::from_utf8_lossy(path)
            );
            let target = self.target(&inode)?;
            if target.starts_with(b"/") {
                parents.truncate(1);
            }
            rest.extend(split(&target));
        }
        Ok(parents.pop())
    }

    /// The content of the file at `path`, symbolic links followed; `None` without a file. An
    /// error if it is encrypted or has more than `limit` bytes.
    pub(crate) fn file(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        match self.lookup(path)? {
            Some(inode) if inode.kind == Kind::File => {
                let read = || {
                    ensure!(!inode.encrypted, "it is encrypted");
                    self.read(&inode, limit)
                };
                let read = read().with_context(|| format!("reading {path} in the image"))?;
                Ok(Some(read))
            }
            _ => Ok(None),
        }
    }

    /// The text in the file at `path`, as far as it is UTF-8; `None` without a file. An error if it
    /// has more than 1 MiB.
    pub(crate) fn text(&self, path: &str) -> Result<Option<String>> {
        let bytes = self.file(path, LARGEST_TEXT)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Names in the directory at `path`; none if there is no directory.
    pub(crate) fn names(&self, path: &str) -> Result<Vec<String>> {
        let directory = self.lookup(path)?;
        let Some(directory) = directory.filter(|inode| inode.kind == Kind::Directory) else {
            return Ok(Vec::new());
        };
        let names = self.list(&directory)?.into_keys();
        Ok(names
            .map(|name| String::from_utf8_lossy(&name).into_owned())
            .collect())
    }

    /// The whole content of a file of at most `limit` bytes.
    pub(crate) fn read(&self, file: &Inode, limit: u64) -> Result<Vec<u8>> {
        ensure!(
            file.size <= limit,
            "inode {} has {} bytes, more than the {limit} that it can sensibly have",
            file.number,
            file.size
        );
        let mut bytes = vec![0; usize::try_from(file.size)?];
        self.content(file)?.fill(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Gives the content of a file to `take` piece by piece; holes are pieces of zeros.
    pub(crate) fn pieces(
        &self,
        file: &Inode,
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut content = self.content(file)?;
        let mut buffer = vec![0; usize::try_from(file.size.min(PIECE))?];
        let mut at = 0;
        while at < file.size {
            let length = usize::try_from((file.size - at).min(PIECE))?;
            content.fill(&mut buffer[..length], at)?;
            take(&buffer[..length])?;
            at += length as u64;
        }
        Ok(())
    }

    /// Whether two files, of this and perhaps another file system, have the same content.
    pub(crate) fn same(&self, inode: &Inode, other: &Self, inode2: &Inode) -> Result<bool> {
        if inode.size != inode2.size {
            return Ok(false);
        }
        let (mut content, mut content2) = (self.content(inode)?, other.content(inode2)?);
        let piece = usize::try_from(inode.size.min(PIECE))?;
        let mut buffers = (vec![0; piece], vec![0; piece]);
        let mut at = 0;
        while at < inode.size {
            if let (Some(end), Some(end2)) = (content.hole(at), content2.hole(at)) {
                at = end.min(end2).min(inode.size);
                continue;
            }
            let length = usize::try_from((inode.size - at).min(PIECE))?;
            let (a, b) = (&mut buffers.0[..length], &mut buffers.1[..length]);
            content.fill(a, at)?;
            content2.fill(b, at)?;
            if a != b {
                return Ok(false);
            }
            at += length as u64;
        }
        Ok(true)
    }
}

/// A path's components, last one first.
fn split(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|b| *b == b'/')
        .filter(|name| !matches!(*name, b"" | b"."))
        .rev()
        .map(<[u8]>::to_vec)
        .collect()
}
