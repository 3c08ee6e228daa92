//! Where a shared cache is: a folder here, an object store elsewhere.

use anyhow::{Context, Result};
use nix::libc;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Objects by name.
pub(super) trait Objects: Send + Sync {
    /// Writes the object to `to`; of one with more than `limit` bytes some more than these. False
    /// when there is none of this name.
    fn get(&self, name: &str, limit: u64, to: &mut File) -> Result<bool>;
    /// Stores the rest of `from`, all of it or nothing, whatever was there before.
    fn put(&self, name: &str, from: &mut File) -> Result<()>;
    fn has(&self, name: &str) -> Result<bool>;
}

/// A folder, of this machine or mounted.
pub(super) struct Folder(pub(super) PathBuf);

impl Objects for Folder {
    fn get(&self, name: &str, limit: u64, to: &mut File) -> Result<bool> {
        let path = self.0.join(name);
        // A FIFO in its place must not be waited for.
        let open = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&path);
        match open {
            Ok(file) => {
                io::copy(&mut file.take(limit.saturating_add(1)), to)
                    .with_context(|| format!("reading {}", path.display()))?;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(|| format!("opening {}", path.display())),
        }
    }

    fn put(&self, name: &str, from: &mut File) -> Result<()> {
        let path = self.0.join(name);
        let mut whole = || -> Result<()> {
            let dir = path.parent().context("finding the folder")?;
            fs::create_dir_all(dir)?;
            let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
            io::copy(from, &mut file)?;
            // Others of the fleet, who may be other users, read it.
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
            file.as_file().set_permissions(mode)?;
            file.persist(&path)?;
            Ok(())
        };
        whole().with_context(|| format!("writing {}", path.display()))
    }

    fn has(&self, name: &str) -> Result<bool> {
        let path = self.0.join(name);
        path.try_exists()
            .with_context(|| format!("looking at {}", path.display()))
    }
}
