//! The program's own hands in a root file system that others wrote.
//!
//! Links, FIFOs and devices in such a tree are the image's business. [`Root`] finds every path
//! *inside* the tree, as the running image would: `/etc/x -> /data/x` is the image's `/data/x`,
//! never the machine's, and `..` ends at the tree's root. The kernel does the resolving
//! (openat2(2) with `RESOLVE_IN_ROOT`), so nothing can change between the look and the use.
//!
//! There is no way from a [`Root`] to a path that could be joined. System calls of this process
//! that want one (mount(2)) get [`seen_here`]; programs get [`Dir::lend`].
//!
//! openat2 came with Linux 5.6; overlays in user namespaces need 5.11.

mod dir;
mod write;

pub use dir::{Dir, DirEntry, Kind, Lent};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat, mkdirat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Links followed on the way to one file, as the kernel does.
const MOST_LINKS: usize = 40;

/// A root file system: a tree whose links are found inside it.
#[derive(Debug)]
pub struct Root {
    dir: Dir,
    /// For messages only.
    shown: PathBuf,
}

impl Root {
    /// The directory `path` of this machine as a root. It must not be a link itself, since
    /// what stands there may be the work of a script of the tree.
    ///
    /// # Errors
    /// When it is not a directory that can be read.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open(path, flags, Mode::empty())
            .with_context(|| format!("opening the root file system {}", path.display()))?;
        Ok(Self {
            dir: Dir::new(fd),
            shown: path.to_owned(),
        })
    }

    /// As [`Root::open`]; `None` if nothing is at `path`.
    ///
    /// # Errors
    /// As [`Root::open`].
    pub fn find(path: &Path) -> Result<Option<Self>> {
        match path.symlink_metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            _ => Self::open(path).map(Some),
        }
    }

    /// The root directory itself.
    pub fn top(&self) -> &Dir {
        &self.dir
    }

    /// The directory `path`, links followed; `None` if nothing or something else is there.
    ///
    /// # Errors
    /// When it cannot be opened, or links lead in a circle.
    pub fn directory(&self, path: impl AsRef<Path>) -> Result<Option<Dir>> {
        let path = path.as_ref();
        let found = self.open_at(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY);
        Ok(present(found)
            .with_context(|| self.doing("opening", path))?
            .map(Dir::new))
    }

    /// What is in the directory `path`, links followed, by name; nothing if there is none.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn entries(&self, path: impl AsRef<Path>) -> Result<Vec<DirEntry>> {
        let path = path.as_ref();
        match self.directory(path)? {
            Some(dir) => dir.entries().with_context(|| self.doing("listing", path)),
            None => Ok(Vec::new()),
        }
    }

    /// A descriptor of whatever is at `path`, links followed, that can be used as a place
    /// ([`seen_here`]) but neither read nor written; `None` if nothing is there.
    ///
    /// # Errors
    /// When it cannot be reached, or links lead in a circle.
    pub fn place(&self, path: impl AsRef<Path>) -> Result<Option<OwnedFd>> {
        let path = path.as_ref();
        present(self.open_at(path, OFlag::O_PATH)).with_context(|| self.doing("finding", path))
    }

    /// What is at `path`, links followed; `None` if nothing is.
    ///
    /// # Errors
    /// When it cannot be reached, or links lead in a circle.
    pub fn kind(&self, path: impl AsRef<Path>) -> Result<Option<Kind>> {
        let path = path.as_ref();
        let Some(place) = self.place(path)? else {
            return Ok(None);
        };
        let stat = fstat(&place).with_context(|| self.doing("looking at", path))?;
        Ok(Some(Kind::of(&stat)))
    }

    /// The regular file `path`, links followed, open for reading; `None` if nothing is there.
    /// Whatever else is there is not even opened: a FIFO would wait, a device might act.
    ///
    /// # Errors
    /// When it is no regular file, or cannot be opened.
    pub fn file(&self, path: impl AsRef<Path>) -> Result<Option<File>> {
        let path = path.as_ref();
        let Some(place) = self.place(path)? else {
            return Ok(None);
        };
        let stat = fstat(&place).with_context(|| self.doing("looking at", path))?;
        ensure!(
            Kind::of(&stat) == Kind::File,
            "{} is not a file",
            self.show(path)
        );
        // The very file that was looked at.
        let file = File::open(seen_here(&place)).with_context(|| self.doing("opening", path))?;
        Ok(Some(file))
    }

    /// The contents of the regular file `path`, links followed; `None` if nothing is there.
    ///
    /// # Errors
    /// When it is no regular file, is longer than `limit` bytes, or cannot be read.
    pub fn read(&self, path: impl AsRef<Path>, limit: u64) -> Result<Option<Vec<u8>>> {
        let path = path.as_ref();
        let Some(file) = self.file(path)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.take(limit + 1)
            .read_to_end(&mut bytes)
            .with_context(|| self.doing("reading", path))?;
        ensure!(
            bytes.len() as u64 <= limit,
            "{} has more than {} KiB, which is too long for such a file",
            self.show(path),
            limit / 1024
        );
        Ok(Some(bytes))
    }

    /// As [`Root::read`], as text; what is not UTF-8 is replaced.
    ///
    /// # Errors
    /// As [`Root::read`].
    pub fn read_text(&self, path: impl AsRef<Path>, limit: u64) -> Result<Option<String>> {
        let bytes = self.read(path, limit)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The directory `path`, made where it is missing (mode 755). No link is followed, not
    /// even a directory on the way.
    ///
    /// # Errors
    /// Which part of `path` is a link, and where it leads; or is not a directory.
    pub fn make_directory(&self, path: impl AsRef<Path>) -> Result<Dir> {
        let path = path.as_ref();
        let mut at = self.dir.again()?;
        let mut done = PathBuf::new();
        for part in path.components() {
            let std::path::Component::Normal(name) = part else {
                continue;
            };
            done.push(name);
            match mkdirat(&at, name, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => return Err(error).with_context(|| self.doing("making", &done)),
            }
            match at.metadata(name).map(|stat| Kind::of(&stat)) {
                Ok(Kind::Directory) => {}
                Ok(Kind::Link) => {
                    let target = at.link(name).unwrap_or_default();
                    let target = Path::new(&target).display();
                    bail!("/{} is a link to {target}", done.display());
                }
                Ok(_) => bail!("/{} is not a directory", done.display()),
                Err(error) => return Err(error).with_context(|| self.doing("reading", &done)),
            }
            at = at
                .subdirectory(name)
                .with_context(|| self.doing("opening", &done))?;
        }
        Ok(at)
    }

    /// A descriptor of the file `path`, usable as a place ([`seen_here`]); made empty (mode
    /// 644), with its directories, where it is missing. No link is followed.
    ///
    /// # Errors
    /// When a link, or something that is not a regular file, stands there.
    pub fn make_file(&self, path: impl AsRef<Path>) -> Result<OwnedFd> {
        let path = path.as_ref();
        let (parent, name) = split(path)?;
        let parent = self.make_directory(parent)?;
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        match nix::fcntl::openat(&parent, name, flags, Mode::from_bits_truncate(0o644)) {
            Ok(_) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error).with_context(|| self.doing("making", path)),
        }
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let place = nix::fcntl::openat(&parent, name, flags, Mode::empty())
            .with_context(|| self.doing("opening", path))?;
        let stat = fstat(&place).with_context(|| self.doing("looking at", path))?;
        match Kind::of(&stat) {
            Kind::File => Ok(place),
            Kind::Link => bail!("{} is a link", self.show(path)),
            _ => bail!("{} is not a file", self.show(path)),
        }
    }

    /// Removes the name `path`, if there is one: a link itself, not what it leads to. The
    /// directory that it is in is found with links followed.
    ///
    /// # Errors
    /// When it is a directory, or cannot be removed.
    pub fn remove(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let (parent, name) = split(path)?;
        match self.directory(parent)? {
            Some(dir) => dir
                .remove(name)
                .with_context(|| self.doing("removing", path)),
            None => Ok(()),
        }
    }

    /// Directory and name of what `path` leads to, a link at its end followed; `None` if its
    /// directory is missing.
    fn locate(&self, path: &Path) -> Result<Option<(Dir, OsString)>> {
        let mut path = path.to_owned();
        for _ in 0..MOST_LINKS {
            let (parent, name) = split(&path)?;
            let Some(dir) = self.directory(parent)? else {
                return Ok(None);
            };
            match readlinkat(&dir, name) {
                // Relative to the link's directory, which the kernel finds in the same way.
                Ok(target) => path = parent.join(target),
                Err(_) => return Ok(Some((dir, name.to_owned()))),
            }
        }
        bail!("the links at {} lead in a circle", self.show(&path))
    }

    fn open_at(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        open_in(self.dir.as_fd(), path, flags, ResolveFlag::RESOLVE_IN_ROOT)
    }

    fn show(&self, path: &Path) -> String {
        let path = path.strip_prefix("/").unwrap_or(path);
        format!("/{} in {}", path.display(), self.shown.display())
    }

    fn doing(&self, what: &str, path: &Path) -> String {
        format!("{what} {}", self.show(path))
    }
}

/// A path by which system calls of this process reach what `fd` is a descriptor of, whatever is
/// done to names meanwhile: a target for mount(2). It ends with the descriptor, and means nothing
/// to another process.
pub fn seen_here(fd: &impl AsFd) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()).into()
}

/// openat2(2), again while a `..` in `path` races with a rename somewhere else.
fn open_in(
    dir: BorrowedFd<'_>,
    path: &Path,
    flags: OFlag,
    resolve: ResolveFlag,
) -> nix::Result<OwnedFd> {
    let path = match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    };
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(resolve | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    for _ in 0..100 {
        match openat2(dir, path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            other => return other,
        }
    }
    openat2(dir, path, how)
}

/// `None` where nothing is there: a missing name, a file where a directory would have to be, or
/// links that lead in a circle.
fn present<T>(found: nix::Result<T>) -> nix::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `path` as the directory it is in and its name there.
fn split(path: &Path) -> Result<(&Path, &OsStr)> {
    let name = path
        .file_name()
        .with_context(|| format!("reading the path {}, which names no file", path.display()))?;
    Ok((path.parent().unwrap_or(Path::new("")), name))
}

/// What stat(2) says of `name`, a link not followed.
fn look(dir: BorrowedFd<'_>, name: &OsStr) -> nix::Result<FileStat> {
    fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

#[cfg(test)]
mod tests;
