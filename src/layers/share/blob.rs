//! What is in a shared cache: blobs by their checksums, and the shape of directories.

use crate::base::digest;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Seek;
use std::path::Path;

/// An archive or package by its checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) sha256: String,
    /// Bytes.
    pub(super) size: u64,
}

impl Blob {
    pub(super) fn name(&self) -> String {
        format!("blobs/{}", self.sha256)
    }

    pub(super) fn parse(line: &str) -> Option<Self> {
        let (sha256, size) = line.trim_end().split_once(' ')?;
        digest::is_sha256(sha256).then_some(Self {
            sha256: sha256.to_owned(),
            size: size.parse().ok()?,
        })
    }
}

/// What a directory in the cache consists of: one file and one directory, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    file: &'static str,
    directory: &'static str,
}

pub(super) const LAYER: Shape = Shape {
    file: "layer.json",
    directory: "upper",
};

pub(super) const TOOLS: Shape = Shape {
    file: "packages.json",
    directory: "root",
};

impl Shape {
    pub(super) fn parts(self) -> [&'static str; 2] {
        [self.file, self.directory]
    }

    pub(super) fn is_layer(self) -> bool {
        self == LAYER
    }

    /// Whether `dir` has it. A link in place of either would lead to files of this machine.
    pub(super) fn is_of(self, dir: &Path) -> bool {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let found: Option<BTreeSet<(String, bool)>> = entries
            .map(|entry| {
                let kind = entry.file_type().ok()?;
                let plain = kind.is_dir() || kind.is_file();
                plain.then(|| {
                    (
                        entry.file_name().to_string_lossy().into_owned(),
                        kind.is_dir(),
                    )
                })
            })
            .collect();
        let (file, directory) = (self.file.to_owned(), self.directory.to_owned());
        found == Some(BTreeSet::from([(file, false), (directory, true)]))
    }
}

/// Of the whole file; leaves its position at the end.
pub(super) fn checksum(file: &mut File) -> Result<Blob> {
    file.rewind()?;
    let (sha256, size) = digest::of_reader(file).context("reading a file again")?;
    Ok(Blob { sha256, size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_layer_is_one_file_and_one_directory() {
        let shape = |change: fn(&Path)| {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("upper")).unwrap();
            fs::write(dir.path().join("layer.json"), "{}").unwrap();
            change(dir.path());
            LAYER.is_of(dir.path())
        };
        assert!(shape(|_| {}));
        assert!(!shape(|dir| fs::write(dir.join("durable"), "").unwrap()));
        assert!(!shape(
            |dir| fs::remove_file(dir.join("layer.json")).unwrap()
        ));
        assert!(!shape(|dir| {
            fs::remove_dir(dir.join("upper")).unwrap();
            symlink("/root", dir.join("upper")).unwrap();
        }));
        assert!(!shape(|dir| {
            fs::remove_file(dir.join("layer.json")).unwrap();
            symlink("/etc/passwd", dir.join("layer.json")).unwrap();
        }));
    }
}
