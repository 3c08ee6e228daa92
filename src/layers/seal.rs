//! Secrets in what a layer was made from: a keyed hash stands in for the value, so that a layer
//! is made again when the value changes, and nobody can try passwords on what is kept of it.

use anyhow::{Context, Result};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

/// Bytes of the key.
const LENGTH: usize = 32;
/// Its file in WORK_DIR, which never leaves it.
const NAME: &str = "secret.key";

/// The random key of a work directory.
pub struct Seal([u8; LENGTH]);

impl Seal {
    /// The key of `work_dir`, made if there is none or it is damaged. Layers that depend on
    /// secrets are then made again.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make(work_dir: &Path) -> Result<Self> {
        let path = work_dir.join(NAME);
        if let Some(seal) = Self::read(&path) {
            return Ok(seal);
        }
        let write = || -> Result<()> {
            fs::create_dir_all(work_dir)?;
            // Mode 0600 from the beginning.
            let mut file = tempfile::Builder::new()
                .prefix(".new-")
                .tempfile_in(work_dir)?;
            file.write_all(&random()?)?;
            file.as_file().sync_all()?;
            if path
                .metadata()
                .is_ok_and(|meta| meta.len() != LENGTH as u64)
            {
                file.persist(&path)?;
            } else if let Err(error) = file.persist_noclobber(&path) {
                // Another build of the same command may have been quicker.
                Self::read(&path).ok_or(error)?;
            }
            Ok(())
        };
        write().with_context(|| format!("making {}", path.display()))?;
        Self::read(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// The key of `work_dir`, to be looked with: if there is none, no layer depends on a secret
    /// yet, and any key will do.
    ///
    /// # Errors
    /// When the kernel has no random numbers.
    pub fn look(work_dir: &Path) -> Result<Self> {
        match Self::read(&work_dir.join(NAME)) {
            Some(seal) => Ok(seal),
            None => Ok(Self(random()?)),
        }
    }

    fn read(path: &Path) -> Option<Self> {
        fs::read(path).ok()?.try_into().ok().map(Self)
    }

    /// What stands in for `value` under `name`, in hex.
    pub fn hash(&self, name: &str, value: &str) -> String {
        // HMAC takes a key of any length.
        #[allow(clippy::missing_panics_doc)]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0)
            .unwrap_or_else(|_| unreachable!("a key of {LENGTH} bytes"));
        // Names have no NUL in them.
        mac.update(name.as_bytes());
        mac.update(&[0]);
        mac.update(value.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }
}

fn random() -> Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("reading /dev/urandom")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn one_key_a_work_directory_and_only_the_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("work");
        let hash = |seal: Seal| seal.hash("A", "b");
        assert_ne!(
            hash(Seal::look(&work).unwrap()),
            hash(Seal::look(&work).unwrap())
        );
        assert!(!work.exists());
        let first = hash(Seal::make(&work).unwrap());
        assert_eq!(hash(Seal::make(&work).unwrap()), first);
        assert_eq!(hash(Seal::look(&work).unwrap()), first);
        let mode = work.join(NAME).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_ne!(hash(Seal::make(&dir.path().join("other")).unwrap()), first);
    }

    #[test]
    fn a_damaged_key_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        Seal::make(dir.path()).unwrap();
        for bytes in [&b""[..], b"short", &[7; 33]] {
            fs::write(dir.path().join(NAME), bytes).unwrap();
            Seal::make(dir.path()).unwrap();
            assert_eq!(fs::read(dir.path().join(NAME)).unwrap().len(), LENGTH);
        }
    }

    #[test]
    fn name_and_value_do_not_run_together() {
        let seal = Seal([1; LENGTH]);
        assert_ne!(seal.hash("A", "Bc"), seal.hash("AB", "c"));
        assert_eq!(seal.hash("A", "b"), seal.hash("A", "b"));
    }
}
