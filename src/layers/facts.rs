//! What a key needs of one file.

use super::reads::NOTHING;
use crate::base::{digest, work};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Words with which a script can get at variables that it does not name: then every variable
/// counts.
const OPEN: [&str; 14] = [
    "BASE_DIR",
    "SCRIPT_DIR",
    "compgen",
    "declare",
    "env",
    "environ",
    "envsubst",
    "eval",
    "export -p",
    "printenv",
    "set >",
    "set |",
    "typeset",
    "${!",
];

/// Files up to this size are looked through for variables' names, in bytes: longer ones are no
/// scripts, and their checksums are kept.
const LONGEST: u64 = 4 << 20;

/// Where checksums are kept in WORK_DIR.
const SUMS: &str = "sums.json";

/// A file that was changed so many seconds ago may be changed again without a later time stamp.
const SETTLED: i64 = 2;

/// What a key needs of one file.
pub(super) struct Facts {
    /// Its type, mode and checksum.
    pub(super) value: String,
    /// Words of it that could be variables' names.
    pub(super) words: BTreeSet<String>,
    /// It can get at variables without naming them.
    pub(super) open: bool,
    /// A shell would find something to expand in it.
    pub(super) expands: bool,
    /// Its text, if it is a shell script.
    pub(super) script: Option<String>,
}

impl Facts {
    /// Of something that has only a value.
    pub(super) fn only(value: String) -> Self {
        Self {
            value,
            words: BTreeSet::new(),
            open: false,
            expands: false,
            script: None,
        }
    }

    /// Of the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn of(path: &Path, sums: &Sums) -> Result<Self> {
        let meta = match path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Self::only(NOTHING.to_owned()));
            }
            meta => meta?,
        };
        if !meta.is_file() && !meta.is_symlink() {
            return Ok(Self::only("no file".to_owned()));
        }
        if meta.is_symlink() {
            let target = fs::read_link(path)?;
            return Ok(Self::only(format!("link to {}", target.display())));
        }
        // Only the execute bit: the rest depends on the umask of whoever checked out.
        let execute = match meta.permissions().mode() & 0o100 {
            0 => "",
            _ => "executable ",
        };
        if meta.len() > LONGEST {
            let sum = sums.of(path, &meta)?;
            return Ok(Self::only(format!("{execute}{sum}")));
        }
        let bytes = fs::read(path)?;
        let is_shell = path.extension().is_some_and(|it| it == "sh");
        let mut facts = Self::of_text(&bytes);
        if is_shell || bytes.starts_with(b"#!") {
            facts.script = Some(String::from_utf8_lossy(&bytes).into_owned());
        }
        facts.value = format!("{execute}{}", facts.value);
        Ok(facts)
    }

    /// Of a text that is in no file.
    pub(super) fn of_text(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        // `#!/usr/bin/env` is no use of variables.
        let body = match text.split_once('\n') {
            Some((first, rest)) if first.starts_with("#!") => rest,
            _ => &text,
        };
        let words: BTreeSet<String> = body
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect();
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let open = OPEN.iter().any(|mark| match mark.bytes().all(is_word) {
            true => words.contains(*mark),
            false => body.contains(mark),
        });
        Self {
            value: hash(bytes),
            open,
            expands: body.contains(['$', '`']),
            words,
            script: None,
        }
    }
}

/// The SHA-256 of `bytes`, in hex.
pub(super) fn hash(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Checksums of large files, by what the file system says of them.
#[derive(Default)]
pub(super) struct Sums {
    path: PathBuf,
    known: BTreeMap<PathBuf, Sum>,
    /// Those that were asked for; others are forgotten.
    asked: RefCell<BTreeMap<PathBuf, Sum>>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    /// Device, inode, size, times of the last change of contents and of anything else.
    seen: String,
    sha256: String,
}

impl Sums {
    /// Those that are kept in `work_dir`.
    pub(super) fn load(work_dir: &Path) -> Self {
        let path = work_dir.join(SUMS);
        Self {
            known: work::load(&path).ok().flatten().unwrap_or_default(),
            path,
            asked: RefCell::default(),
        }
    }

    fn of(&self, path: &Path, meta: &Metadata) -> Result<String> {
        let modified = (meta.mtime(), meta.mtime_nsec());
        let changed = (meta.ctime(), meta.ctime_nsec());
        let seen = format!(
            "{} {} {} {modified:?} {changed:?}",
            meta.dev(),
            meta.ino(),
            meta.size()
        );
        let known = self.known.get(path).filter(|sum| sum.seen == seen);
        let sum = match known {
            Some(sum) => sum.clone(),
            None => Sum {
                seen,
                sha256: digest::of_file(path)?,
            },
        };
        let sha256 = sum.sha256.clone();
        if meta.ctime() + SETTLED < jiff::Timestamp::now().as_second() {
            self.asked.borrow_mut().insert(path.to_owned(), sum);
        }
        Ok(sha256)
    }
}

impl Drop for Sums {
    /// Keeps them for the next time, if that can be done: without them everything is read again.
    fn drop(&mut self) {
        let asked = self.asked.borrow();
        if *asked != self.known && self.path.parent().is_some_and(Path::is_dir) {
            let _ = work::save_unsynced(&self.path, &*asked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_is_read_again_only_when_it_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (file, work) = (dir.path().join("large"), dir.path().join("work"));
        fs::create_dir(&work).unwrap();
        fs::write(&file, vec![1; LONGEST as usize + 1]).unwrap();
        let value = || Facts::of(&file, &Sums::load(&work)).unwrap().value;
        let first = value();
        // Too new to be relied on.
        assert!(!work.join(SUMS).exists());
        std::thread::sleep(std::time::Duration::from_secs(SETTLED as u64 + 1));
        assert_eq!(value(), first);
        let mut kept: BTreeMap<PathBuf, Sum> = work::load(&work.join(SUMS)).unwrap().unwrap();
        kept.get_mut(&file).unwrap().sha256 = "kept".to_owned();
        work::save(&work.join(SUMS), &kept).unwrap();
        assert_eq!(value(), "kept");
        fs::write(&file, vec![2; LONGEST as usize + 1]).unwrap();
        assert!(value() != first && value() != "kept");
    }
}
