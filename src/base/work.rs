//! The work directory: whose it is at the moment, and small files in it that are never half
//! written.

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::Path;

/// The work directory held by one command; released by the kernel when the command and every
/// process it forked are gone, however they went.
#[derive(Debug)]
pub struct Held {
    _lock: Flock<File>,
}

/// Takes `work_dir` (made if needed) for this process, which is about to do `what`.
///
/// # Errors
/// When another process has it; the message says which.
pub fn hold(work_dir: &Path, what: &str) -> Result<Held> {
    fs::create_dir_all(work_dir).with_context(|| format!("making {}", work_dir.display()))?;
    let path = work_dir.join("lock");
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => lock,
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut holder = String::new();
            // What it says is for the message only.
            let _ = file.read_to_string(&mut holder);
            bail!(
                "{} is in use by {}; wait for it, end it, or set another WORK_DIR",
                work_dir.display(),
                holder.trim()
            );
        }
        Err((_, error)) => {
            return Err(error).with_context(|| format!("locking {}", path.display()));
        }
    };
    // On a full disk the name is missing, but the lock holds.
    let _ = lock
        .set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| writeln!(lock, "process {} (westwork-gen {what})", std::process::id()));
    Ok(Held { _lock: lock })
}

/// Writes `value` as JSON to `path`, by way of a temporary file.
pub(crate) fn save<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let json = serde_json::to_vec_pretty(value)
        .with_context(|| format!("preparing {}", path.display()))?;
    write(path, &json)
}

/// Writes `bytes` to `path`, by way of a temporary file.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let dir = path.parent().context("finding a file's directory")?;
    let whole = || -> Result<()> {
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
        file.write_all(bytes)?;
        file.persist(path)?;
        Ok(())
    };
    whole().with_context(|| format!("writing {}", path.display()))
}

/// What [`save`] wrote; `None` when there is no such file.
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .with_context(|| format!("reading {}", path.display()))
            .map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_told_who_was_first() {
        let dir = tempfile::tempdir().unwrap();
        let held = hold(dir.path(), "build").unwrap();
        let error = hold(dir.path(), "clean").unwrap_err().to_string();
        let expected = format!("process {} (westwork-gen build)", std::process::id());
        assert!(error.contains(&expected), "{error}");
        drop(held);
        hold(dir.path(), "clean").unwrap();
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        assert_eq!(load::<Vec<u8>>(&path).unwrap(), None);
        save(&path, &[1u8, 2]).unwrap();
        assert_eq!(load::<Vec<u8>>(&path).unwrap(), Some(vec![1, 2]));
        fs::write(&path, "[1").unwrap();
        assert!(load::<Vec<u8>>(&path).is_err());
    }
}
