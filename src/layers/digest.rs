//! One checksum of everything in a layer, to tell a damaged one.
//!
//! It covers the paths, in byte order, and of each its type, mode, owner, device number, link
//! target, extended attributes and contents, and which names are hard links of one file. Times
//! are not in it. Owners are those that the build sees, so that it is the same on machines with
//! other ranges of ids.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use walkdir::{DirEntry, WalkDir};

/// Attributes with which overlayfs names inodes of this machine.
pub(super) const LOCAL: [&str; 3] = [
    "user.overlay.origin",
    "user.overlay.impure",
    "user.overlay.uuid",
];

/// The digest of the layer whose changes are in `upper`, in hex.
///
/// # Errors
/// When something in it cannot be read.
pub fn of(upper: &Path) -> Result<String> {
    let mut layer = Layer {
        hash: Sha256::new(),
        files: HashMap::new(),
        buffer: vec![0; 1 << 18],
    };
    let entries = WalkDir::new(upper).sort_by(|a, b| a.file_name().cmp(b.file_name()));
    for entry in entries {
        let entry = entry.with_context(|| format!("reading {}", upper.display()))?;
        let name = entry.path().strip_prefix(upper).unwrap_or(entry.path());
        layer
            .add(&entry, name)
            .with_context(|| format!("reading {}", entry.path().display()))?;
    }
    Ok(hex::encode(layer.hash.finalize()))
}

struct Layer {
    hash: Sha256,
    /// The first name of each file that has several.
    files: HashMap<(u64, u64), PathBuf>,
    buffer: Vec<u8>,
}

impl Layer {
    fn add(&mut self, entry: &DirEntry, name: &Path) -> Result<()> {
        let meta = entry.metadata()?;
        let kind = meta.file_type();
        self.text(name.as_os_str().as_bytes());
        // st_mode has the type as well.
        let head = [meta.mode(), meta.uid(), meta.gid()];
        head.iter()
            .for_each(|number| self.hash.update(number.to_le_bytes()));
        for (attribute, value) in attributes(entry.path())? {
            self.text(&attribute);
            self.text(&value);
        }
        if kind.is_symlink() {
            self.text(fs::read_link(entry.path())?.as_os_str().as_bytes());
        } else if kind.is_block_device() || kind.is_char_device() {
            self.hash.update(meta.rdev().to_le_bytes());
        } else if kind.is_file() {
            if meta.nlink() > 1 {
                let inode = (meta.dev(), meta.ino());
                let first = self.files.entry(inode).or_insert_with(|| name.to_owned());
                if first != name {
                    let first = first.clone();
                    self.text(first.as_os_str().as_bytes());
                    return Ok(());
                }
            }
            self.contents(entry.path())?;
        }
        Ok(())
    }

    fn contents(&mut self, path: &Path) -> Result<()> {
        let mut file = File::options()
            .read(true)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
            .open(path)?;
        let mut size = 0u64;
        loop {
            let n = file.read(&mut self.buffer)?;
            if n == 0 {
                break;
            }
            self.hash.update(&self.buffer[..n]);
            size += n as u64;
        }
        self.hash.update(size.to_le_bytes());
        Ok(())
    }

    /// Lengths keep neighbouring texts apart.
    fn text(&mut self, text: &[u8]) {
        self.hash.update((text.len() as u64).to_le_bytes());
        self.hash.update(text);
    }
}

/// The extended attributes that go with a layer, by name.
fn attributes(path: &Path) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut found = Vec::new();
    for name in xattr::list(path)? {
        if LOCAL.iter().any(|local| name == *local) {
            continue;
        }
        let value = xattr::get(path, &name)?.unwrap_or_default();
        found.push((name.as_bytes().to_vec(), value));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn layer() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("etc")).unwrap();
        fs::write(at("etc/one"), "1").unwrap();
        fs::write(at("etc/two"), "2").unwrap();
        fs::hard_link(at("etc/one"), at("etc/same")).unwrap();
        symlink("one", at("etc/link")).unwrap();
        nix::unistd::mkfifo(&at("etc/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        dir
    }

    #[test]
    fn two_layers_of_the_same_things_have_one_digest() {
        let (one, two) = (layer(), layer());
        assert_eq!(of(one.path()).unwrap(), of(two.path()).unwrap());
    }

    #[test]
    fn whatever_changes_is_seen() {
        let change = |what: fn(&Path)| {
            let dir = layer();
            let before = of(dir.path()).unwrap();
            what(dir.path());
            assert_ne!(before, of(dir.path()).unwrap());
        };
        change(|dir| fs::write(dir.join("etc/two"), "3").unwrap());
        change(|dir| fs::rename(dir.join("etc/two"), dir.join("etc/three")).unwrap());
        change(|dir| fs::remove_file(dir.join("etc/pipe")).unwrap());
        change(|dir| fs::write(dir.join("more"), "").unwrap());
        change(|dir| {
            fs::remove_file(dir.join("etc/link")).unwrap();
            symlink("two", dir.join("etc/link")).unwrap();
        });
        change(|dir| {
            fs::remove_file(dir.join("etc/same")).unwrap();
            fs::write(dir.join("etc/same"), "1").unwrap();
        });
        change(|dir| {
            let mode = fs::Permissions::from_mode(0o4755);
            fs::set_permissions(dir.join("etc/two"), mode).unwrap();
        });
        change(|dir| xattr::set(dir.join("etc/two"), "user.x", b"1").unwrap());
    }
}
