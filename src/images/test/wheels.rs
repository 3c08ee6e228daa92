//! Files of Python's packages, which are as public as those of Debian's.

use crate::images::image::tree::{Kind, Tree};
use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};

/// Directories that packages are installed in.
const DIRS: [&str; 2] = ["/site-packages/", "/dist-packages/"];

/// Bytes of a list of files.
const LARGEST_RECORD: u64 = 16 << 20;

/// What the installed packages say of their files (Python packaging user guide, "Recording
/// installed projects").
pub(super) struct Wheels<'a> {
    root: &'a Tree,
    /// By directory: paths in it, with their checksums.
    known: HashMap<String, HashSet<(String, String)>>,
}

impl<'a> Wheels<'a> {
    pub(super) fn of(root: &'a Tree) -> Self {
        Self {
            root,
            known: HashMap::new(),
        }
    }

    /// Whether the file at `path`, which has `content`, is a package's own and unchanged, or was
    /// compiled from a file beside it.
    pub(super) fn have(&mut self, path: &str, content: &[u8]) -> Result<bool> {
        let end = |dir: &&str| path.find(*dir).map(|at| at + dir.len());
        let Some(end) = DIRS.iter().find_map(end) else {
            return Ok(false);
        };
        let (dir, file) = path.split_at(end);
        if file.contains("__pycache__/") && file.ends_with(".pyc") {
            return Ok(true);
        }
        if !self.known.contains_key(dir) {
            let files = self.files(dir)?;
            self.known.insert(dir.to_owned(), files);
        }
        let sum = URL_SAFE_NO_PAD.encode(Sha256::digest(content));
        let known = self.known.get(dir);
        Ok(known.is_some_and(|files| files.contains(&(file.to_owned(), sum))))
    }

    fn files(&self, dir: &str) -> Result<HashSet<(String, String)>> {
        let mut files = HashSet::new();
        let Some(inode) = self.root.lookup(dir)? else {
            return Ok(files);
        };
        if inode.kind != Kind::Directory {
            return Ok(files);
        }
        for name in self.root.list(&inode)?.into_keys() {
            let name = String::from_utf8_lossy(&name).into_owned();
            if !name.ends_with(".dist-info") {
                continue;
            }
            let record = format!("{dir}{name}/RECORD");
            let record = self.root.file(&record, LARGEST_RECORD)?.unwrap_or_default();
            files.extend(String::from_utf8_lossy(&record).lines().filter_map(entry));
        }
        Ok(files)
    }
}

/// `path,sha256=SUM,size`.
fn entry(line: &str) -> Option<(String, String)> {
    let (rest, _) = line.rsplit_once(',')?;
    let (path, sum) = rest.rsplit_once(',')?;
    let sum = sum.strip_prefix("sha256=")?;
    Some((path.to_owned(), sum.to_owned()))
}
