//! The image under test: what the assertions read.

use crate::images::image::Image;
use crate::images::image::fat::Fat;
use crate::images::image::packages::{self, Package};
use crate::images::image::probe::{FileSystem, Files};
use crate::images::image::stream::Form;
use crate::images::image::tree::Tree;
use anyhow::{Context, Result};
use std::cell::OnceCell;
use std::path::Path;

/// Bytes of a text of the boot partition.
const LARGEST_TEXT: u64 = 4 << 20;

pub(super) struct Subject {
    /// Bytes of the file, and of the raw image in it.
    pub(super) file_size: u64,
    pub(super) raw_size: u64,
    root: Option<Tree>,
    boot: Option<Box<Fat>>,
    /// What the two hold besides files.
    pub(super) root_facts: Option<FileSystem>,
    pub(super) boot_facts: Option<FileSystem>,
    /// Why a file system cannot be read.
    notes: Vec<String>,
    packages: OnceCell<Vec<Package>>,
}

impl Subject {
    /// Opens the image at `path`. The raw image, unpacked if it was packed, is returned as well.
    pub(super) fn open(path: &Path) -> Result<(Self, Image)> {
        let image = Image::open(path)?;
        let file_size = match image.form {
            Form::Raw => image.size,
            _ => std::fs::metadata(path)?.len(),
        };
        let mut subject = Self {
            file_size,
            raw_size: image.size,
            root: None,
            boot: None,
            root_facts: None,
            boot_facts: None,
            notes: image.table.note.iter().cloned().collect(),
            packages: OnceCell::new(),
        };
        for partition in &image.table.partitions {
            let (facts, files) = image.probe(partition);
            if let Some(note) = &facts.note {
                let number = partition.number;
                subject.notes.push(format!("partition {number}: {note}"));
            }
            subject.take(facts, files);
        }
        Ok((subject, image))
    }

    /// Takes the first file system with an os-release as the root, and the first FAT as the boot
    /// partition.
    fn take(&mut self, facts: FileSystem, files: Files) {
        match files {
            Files::Tree(tree) if self.root.is_none() => match tree.lookup("/etc/os-release") {
                Ok(Some(_)) => {
                    self.root = Some(tree);
                    self.root_facts = Some(facts);
                }
                Ok(None) => {}
                Err(error) => self.notes.push(format!("{error:#}")),
            },
            Files::Fat(fat) if self.boot.is_none() => {
                self.boot = Some(fat);
                self.boot_facts = Some(facts);
            }
            _ => {}
        }
    }

    fn because(&self) -> String {
        match self.notes.first() {
            Some(note) => format!(" ({note})"),
            None => String::new(),
        }
    }

    /// The root file system.
    pub(super) fn root(&self) -> Result<&Tree> {
        self.root
            .as_ref()
            .with_context(|| format!("no root file system can be read{}", self.because()))
    }

    /// The boot partition.
    pub(super) fn boot(&self) -> Result<&Fat> {
        self.boot
            .as_deref()
            .with_context(|| format!("no boot partition can be read{}", self.because()))
    }

    /// The installed packages.
    pub(super) fn packages(&self) -> Result<&[Package]> {
        if let Some(packages) = self.packages.get() {
            return Ok(packages);
        }
        let read = packages::read(self.root()?)?.context("the image has no dpkg database")?;
        Ok(self.packages.get_or_init(|| read))
    }

    /// A text of the root file system; empty if it is not there.
    pub(super) fn text(&self, path: &str) -> Result<String> {
        Ok(self.root()?.text(path)?.unwrap_or_default())
    }

    /// A text of the boot partition.
    pub(super) fn boot_text(&self, name: &str) -> Result<String> {
        let bytes = self.boot()?.read(name, LARGEST_TEXT)?;
        let bytes = bytes.with_context(|| format!("the boot partition has no {name}"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
