//! One directory of a root file system, held open, and the walk through what is below it. No
//! link is ever followed from here.

use super::{look, open_in, present};
use anyhow::{Context, Result, anyhow, ensure};
use nix::dir::Type;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, ResolveFlag, fcntl, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

/// What a name in a directory stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A FIFO, a socket or a device.
    Other,
}

impl Kind {
    /// By what stat(2) says.
    pub fn of(stat: &FileStat) -> Self {
        match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFREG => Self::File,
            SFlag::S_IFDIR => Self::Directory,
            SFlag::S_IFLNK => Self::Link,
            _ => Self::Other,
        }
    }
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name in the directory.
    pub name: OsString,
    /// What it is; no link was followed.
    pub kind: Kind,
}

/// A directory that is held open.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Dir {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// The same directory once more.
    ///
    /// # Errors
    /// When this process has too many files open.
    pub fn again(&self) -> Result<Self> {
        let fd = self.fd.try_clone().context("holding a directory open")?;
        Ok(Self { fd })
    }

    /// What is in it, in byte order.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn entries(&self) -> nix::Result<Vec<DirEntry>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        // A description of its own: reading moves its position.
        let mut list = nix::dir::Dir::openat(&self.fd, ".", flags, Mode::empty())?;
        let mut entries = Vec::new();
        for entry in list.iter() {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                Some(Type::File) => Kind::File,
                Some(Type::Directory) => Kind::Directory,
                Some(Type::Symlink) => Kind::Link,
                Some(_) => Kind::Other,
                None => Kind::of(&self.metadata(name)?),
            };
            entries.push(DirEntry {
                name: name.to_owned(),
                kind,
            });
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// What stat(2) says of `name`; of a link itself.
    ///
    /// # Errors
    /// When there is nothing of that name.
    pub fn metadata(&self, name: &OsStr) -> nix::Result<FileStat> {
        look(self.as_fd(), name)
    }

    /// What stat(2) says of the directory itself.
    ///
    /// # Errors
    /// When the file system does not answer.
    pub fn own_metadata(&self) -> nix::Result<FileStat> {
        nix::sys::stat::fstat(&self.fd)
    }

    /// Where the link `name` leads, as it is written.
    ///
    /// # Errors
    /// When it is not a link.
    pub fn link(&self, name: &OsStr) -> nix::Result<OsString> {
        readlinkat(&self.fd, name)
    }

    /// The directory `path` below this one; an error if any part of it is a link.
    ///
    /// # Errors
    /// When it is missing, a link, or not a directory.
    pub fn subdirectory(&self, path: impl AsRef<Path>) -> nix::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        open_in(self.as_fd(), path.as_ref(), flags, resolve).map(Self::new)
    }

    /// The regular file `name`, open for reading.
    ///
    /// # Errors
    /// When it is a link or not a regular file, or cannot be opened.
    pub fn file(&self, name: &OsStr) -> Result<File> {
        // Without waiting for the other end of a FIFO.
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let file = File::from(openat(&self.fd, name, flags, Mode::empty())?);
        ensure!(file.metadata()?.is_file(), "not a regular file");
        Ok(file)
    }

    /// The regular file `name`, open for reading and writing.
    ///
    /// # Errors
    /// When it is a link or not a regular file, or cannot be opened.
    pub fn writable(&self, name: &OsStr) -> Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::from(openat(&self.fd, name, flags, Mode::empty())?);
        ensure!(file.metadata()?.is_file(), "not a regular file");
        Ok(file)
    }

    /// Whether `name`, itself if it is a link, has extended attributes.
    pub fn has_attributes(&self, name: &OsStr) -> bool {
        let path = super::seen_here(self).join(name);
        xattr::list(path).is_ok_and(|mut names| names.next().is_some())
    }

    /// Removes the file, link or other thing `name`, if it is there.
    ///
    /// # Errors
    /// When it is a directory, or cannot be removed.
    pub fn remove(&self, name: &OsStr) -> nix::Result<()> {
        present(unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir)).map(|_| ())
    }

    /// Removes everything in it; with `keep_dirs`, everything but directories. Says nothing of
    /// the directory itself.
    ///
    /// # Errors
    /// What cannot be removed.
    pub fn empty(&self, keep_dirs: bool) -> Result<()> {
        let mut found = vec![PathBuf::new()];
        let mut next = 0;
        while next < found.len() {
            let path = found[next].clone();
            next += 1;
            let opened;
            let dir = match path.as_os_str().is_empty() {
                true => self,
                false => {
                    opened = self
                        .subdirectory(&path)
                        .with_context(|| format!("opening {}", path.display()))?;
                    &opened
                }
            };
            for entry in dir.entries()? {
                let path = path.join(&entry.name);
                if entry.kind == Kind::Directory {
                    found.push(path);
                } else {
                    dir.remove(&entry.name)
                        .with_context(|| format!("removing {}", path.display()))?;
                }
            }
        }
        // A directory stands in the list before what is in it.
        while let (Some(path), false) = (found.pop(), keep_dirs || found.is_empty()) {
            self.remove_directory(&path)
                .with_context(|| format!("removing {}", path.display()))?;
        }
        Ok(())
    }

    /// Removes the empty directory `path` below this one.
    fn remove_directory(&self, path: &Path) -> Result<()> {
        let (parent, name) = super::split(path)?;
        let parent = self.subdirectory(parent)?;
        unlinkat(&parent, name, UnlinkatFlags::RemoveDir)?;
        Ok(())
    }

    /// Calls `visit` for this directory and those below it, each with its path from here (this
    /// one's is empty) and what is in it, on as many threads as there are processors: an overlay
    /// looks up every file for the first time. What is in a directory is visited if `visit`
    /// says so.
    ///
    /// # Errors
    /// The first that `visit` gave, or a directory that cannot be read.
    pub fn walk(
        &self,
        visit: impl Fn(&Path, &Self, &[DirEntry]) -> Result<bool> + Sync,
    ) -> Result<()> {
        let todo = Todo::default();
        let work = || -> Result<()> {
            while let Some(path) = todo.next() {
                let below = self
                    .visited(&path, &visit)
                    .with_context(|| format!("reading the directory /{}", path.display()));
                match below {
                    Ok(below) => todo.done(below),
                    Err(error) => {
                        todo.give_up();
                        return Err(error);
                    }
                }
            }
            Ok(())
        };
        let threads = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let panicked = |_| anyhow!("a thread that reads the tree panicked");
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().map_err(panicked)?)
        })
    }

    /// Visits one directory; returns the paths of those in it that are to be visited.
    fn visited(
        &self,
        path: &Path,
        visit: &impl Fn(&Path, &Self, &[DirEntry]) -> Result<bool>,
    ) -> Result<Vec<PathBuf>> {
        let dir = self.subdirectory(path)?;
        let entries = dir.entries()?;
        if !visit(path, &dir, &entries)? {
            return Ok(Vec::new());
        }
        let dirs = entries.iter().filter(|entry| entry.kind == Kind::Directory);
        Ok(dirs.map(|entry| path.join(&entry.name)).collect())
    }

    /// A path that programs started while the result lives can be given. It leads to this very
    /// directory, wherever its name leads now.
    ///
    /// Only for programs that follow no link below what they are given: `mke2fs -d`, mksquashfs
    /// and mkfs.erofs read links as links, mcopy gets the names of regular files only.
    ///
    /// # Errors
    /// When this process has too many files open.
    pub fn lend(&self) -> Result<Lent> {
        let fd = self.fd.try_clone().context("holding a directory open")?;
        fcntl(&fd, FcntlArg::F_SETFD(FdFlag::empty())).context("passing on a directory")?;
        let path = format!("/proc/self/fd/{}/.", fd.as_raw_fd()).into();
        Ok(Lent { _fd: fd, path })
    }
}

/// A directory as programs see it; they inherit its descriptor.
#[derive(Debug)]
pub struct Lent {
    _fd: OwnedFd,
    path: PathBuf,
}

impl Lent {
    /// The directory's path in every program that is started now.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Directories that are still to be visited, and how many are being visited.
struct Todo {
    state: Mutex<(Vec<PathBuf>, usize)>,
    more: Condvar,
}

impl Default for Todo {
    fn default() -> Self {
        Self {
            state: Mutex::new((vec![PathBuf::new()], 0)),
            more: Condvar::new(),
        }
    }
}

impl Todo {
    /// The next one; `None` once there will be no more.
    fn next(&self) -> Option<PathBuf> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(path) = state.0.pop() {
                state.1 += 1;
                return Some(path);
            }
            if state.1 == 0 {
                return None;
            }
            state = self
                .more
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// One was visited; `below` are to be visited, too.
    fn done(&self, below: Vec<PathBuf>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.extend(below);
        state.1 = state.1.saturating_sub(1);
        self.more.notify_all();
    }

    /// Leaves the rest, after an error.
    fn give_up(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.clear();
        state.1 = state.1.saturating_sub(1);
        self.more.notify_all();
    }
}
