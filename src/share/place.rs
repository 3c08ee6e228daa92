//! Where a shared cache is: a folder here, an object store elsewhere.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Schemes of object stores, as their own tools write them.
const REMOTE: &[&str] = &[
    "s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "http", "https",
];

/// A judged address of a shared cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Address {
    /// Absolute.
    Folder(PathBuf),
    Url(String),
}

impl Address {
    /// Reads a path, relative to `cwd`, or a URL.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub fn parse(text: &str, cwd: &Path) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::Folder(cwd.join(text)));
        };
        if scheme == "file" {
            return Ok(Self::Folder(cwd.join(rest)));
        }
        if !REMOTE.contains(&scheme) {
            return Err(format!(
                "\"{scheme}\" is no kind of cache; use a folder, or one of {}://",
                REMOTE.join("://, ")
            ));
        }
        if !cfg!(feature = "remote-cache") {
            return Err("this westwork-gen was compiled without object stores; \
                 use a folder, or compile it with --features remote-cache"
                .to_owned());
        }
        Ok(Self::Url(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Url(url) => write!(f, "{url}"),
        }
    }
}

/// Objects by name.
pub(super) trait Place: Send + Sync {
    /// Writes the object to `to`. False when there is none of this name.
    fn get(&self, name: &str, to: &mut File) -> Result<bool>;
    /// Stores the rest of `from`, all of it or nothing, whatever was there before.
    fn put(&self, name: &str, from: &mut File) -> Result<()>;
    fn has(&self, name: &str) -> Result<bool>;
}

pub(super) fn open(address: &Address) -> Result<Arc<dyn Place>> {
    match address {
        Address::Folder(path) => Ok(Arc::new(Folder(path.clone()))),
        #[cfg(feature = "remote-cache")]
        Address::Url(url) => Ok(Arc::new(super::remote::Remote::open(url)?)),
        #[cfg(not(feature = "remote-cache"))]
        Address::Url(_) => anyhow::bail!("compiled without object stores"),
    }
}

struct Folder(PathBuf);

impl Place for Folder {
    fn get(&self, name: &str, to: &mut File) -> Result<bool> {
        let path = self.0.join(name);
        match File::open(&path) {
            Ok(mut file) => {
                io::copy(&mut file, to).with_context(|| format!("reading {}", path.display()))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_folder_or_a_known_kind_of_store() {
        let parse = |text: &str| Address::parse(text, Path::new("/here"));
        assert_eq!(parse("c").unwrap(), Address::Folder("/here/c".into()));
        assert_eq!(parse("file:///c").unwrap(), Address::Folder("/c".into()));
        assert!(
            parse("ftp://x/y")
                .unwrap_err()
                .contains("\"ftp\" is no kind")
        );
        let s3 = parse("s3://bucket/prefix");
        assert_eq!(s3.is_ok(), cfg!(feature = "remote-cache"));
    }
}
