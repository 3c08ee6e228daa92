//! Locks on files and directories between processes. The kernel releases them when the process
//! and all it forked are gone, however they went.

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Held until it is dropped.
#[derive(Debug)]
pub struct Lock(Flock<File>);

impl Lock {
    /// The locked file.
    pub fn file(&mut self) -> &mut File {
        &mut self.0
    }
}

/// Waits until nobody else has the lock file `path`, which is made if needed.
///
/// # Errors
/// When it cannot be opened or locked.
pub fn wait(path: &Path) -> Result<Lock> {
    exclusive(open(path)?, path)
}

/// Waits until nobody else has the directory `path` locked.
///
/// # Errors
/// When it cannot be opened or locked.
pub fn wait_for_dir(path: &Path) -> Result<Lock> {
    let dir = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    exclusive(dir, path)
}

/// Takes the lock file `path`, which is made if needed; the file itself when somebody else has it.
///
/// # Errors
/// When it cannot be opened or locked.
pub fn attempt(path: &Path) -> Result<std::result::Result<Lock, File>> {
    match Flock::lock(open(path)?, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Ok(Lock(lock))),
        Err((file, Errno::EWOULDBLOCK)) => Ok(Err(file)),
        Err((_, error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

/// Locks `file` for as long as it is open anywhere: in this process, or in one that it starts.
///
/// # Errors
/// When somebody else has it, or its file system knows no locks.
pub(crate) fn mark(file: &File) -> std::io::Result<()> {
    flock(file, libc::LOCK_SH)
}

/// Whether nobody has `file` locked.
pub(crate) fn is_free(file: File) -> bool {
    Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok()
}

fn flock(file: &File, operation: libc::c_int) -> std::io::Result<()> {
    // SAFETY: an open descriptor.
    #[allow(unsafe_code)]
    let result = unsafe { libc::flock(file.as_raw_fd(), operation | libc::LOCK_NB) };
    Errno::result(result)?;
    Ok(())
}

fn open(path: &Path) -> Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))
}

fn exclusive(file: File, path: &Path) -> Result<Lock> {
    Flock::lock(file, FlockArg::LockExclusive)
        .map(Lock)
        .map_err(|(_, error)| error)
        .with_context(|| format!("locking {}", path.display()))
}
