//! Writing into files of a root file system.

use super::{Dir, Kind, Root, split};
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, fchmod};
use nix::unistd::{Gid, Uid, fchown};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

impl Root {
    /// Writes the file `path`, whole or not at all, in place of what has that name: a link is
    /// replaced, not followed. The directory that it is in is found with links followed.
    ///
    /// # Errors
    /// When its directory is missing, or it cannot be written.
    pub fn create(&self, path: impl AsRef<Path>, bytes: &[u8], mode: u32) -> Result<()> {
        let path = path.as_ref();
        let (parent, name) = split(path)?;
        let dir = self.directory(parent)?;
        let dir = dir.with_context(|| format!("finding the directory of {}", self.show(path)))?;
        put(&dir, name, bytes, mode, None).with_context(|| self.doing("writing", path))
    }

    /// Changes the contents of the regular file `path`, links followed, to what `change` makes
    /// of them. Does nothing if there is no such file, or `change` changes nothing.
    ///
    /// Its hard links in the tree keep being the same file. Where some of its names are not in
    /// the tree, they keep the old contents.
    ///
    /// # Errors
    /// When it is longer than `limit` bytes, cannot be read or written, or `change` fails.
    pub fn rewrite(
        &self,
        path: impl AsRef<Path>,
        limit: u64,
        change: impl FnOnce(&[u8]) -> Result<Vec<u8>>,
    ) -> Result<()> {
        let path = path.as_ref();
        let Some((dir, name)) = self.locate(path)? else {
            return Ok(());
        };
        let Ok(stat) = dir.metadata(&name) else {
            return Ok(());
        };
        if Kind::of(&stat) != Kind::File {
            return Ok(());
        }
        let Some(old) = self.read(path, limit)? else {
            return Ok(());
        };
        let new = change(&old).with_context(|| self.doing("reading", path))?;
        if new == old {
            return Ok(());
        }
        let doing = || self.doing("writing", path);
        if self.is_elsewhere(&stat)? {
            let mode = stat.st_mode & 0o7777;
            return put(&dir, &name, &new, mode, Some(&stat)).with_context(doing);
        }
        let flags = OFlag::O_WRONLY | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&dir, name.as_os_str(), flags, Mode::empty()).with_context(doing)?;
        File::from(file).write_all(&new).with_context(doing)
    }

    /// Whether the file has names that are not in this tree.
    #[allow(
        clippy::useless_conversion,
        reason = "the types differ by architecture"
    )]
    fn is_elsewhere(&self, of: &FileStat) -> Result<bool> {
        if of.st_nlink == 1 {
            return Ok(false);
        }
        let found = AtomicU64::new(0);
        self.dir.walk(|_, dir, entries| {
            for entry in entries.iter().filter(|entry| entry.kind == Kind::File) {
                let stat = dir.metadata(&entry.name)?;
                if (stat.st_dev, stat.st_ino) == (of.st_dev, of.st_ino) {
                    found.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(true)
        })?;
        Ok(found.into_inner() < u64::from(of.st_nlink))
    }
}

/// Makes the file `name` of `dir` by one rename; with the owner of `like`.
fn put(dir: &Dir, name: &OsStr, bytes: &[u8], mode: u32, like: Option<&FileStat>) -> Result<()> {
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let (part, file) = (0..100)
        .find_map(|n: u32| {
            let part = OsString::from(format!(".westwork-gen.{n}.part"));
            match openat(dir, part.as_os_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR) {
                Err(Errno::EEXIST) => None,
                other => Some(other.map(|file| (part, file))),
            }
        })
        .context("finding a free name")??;
    let fill = || -> Result<()> {
        let mut file = File::from(file);
        file.write_all(bytes)?;
        if let Some(like) = like {
            let (uid, gid) = (Uid::from_raw(like.st_uid), Gid::from_raw(like.st_gid));
            fchown(&file, Some(uid), Some(gid))?;
        }
        fchmod(&file, Mode::from_bits_truncate(mode))?;
        Ok(renameat(dir, part.as_os_str(), dir, name)?)
    };
    fill().inspect_err(|_| {
        // The first error is the one to be told.
        dir.remove(&part).ok();
    })
}
