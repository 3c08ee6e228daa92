//! Finished images, read without root, loop devices or mounts: any form of file to a raw
//! disk, its partition table, its file systems, and the files in them.

pub(crate) mod accounts;
mod cache;
pub(crate) mod disk;
pub(crate) mod erofs;
pub(crate) mod ext4;
pub(crate) mod fat;
pub(crate) mod owners;
pub(crate) mod packages;
pub(crate) mod probe;
pub(crate) mod squashfs;
pub(crate) mod stream;
pub(crate) mod table;
pub(crate) mod tree;
mod unpack;

use crate::base::problem::{Problem, Problems};
use anyhow::{Context, Result, ensure};
use disk::Slice;
use probe::{FileSystem, Files, probe};
use std::fs::File;
use std::path::Path;
use table::{Partition, Table};

/// The program of Raspberry Pi OS that Imager's `firstrun.sh` calls; an image without it
/// does not take settings that way.
pub(crate) const IMAGER_COMMANDS: &str = "/usr/lib/raspberrypi-sys-mods/imager_custom";

/// An image's name without the extensions of the forms, such as `.img.zst`.
pub(crate) fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut stem = &*name;
    for extension in [".zst", ".xz", ".gz", ".zip", ".img"] {
        stem = stem.strip_suffix(extension).unwrap_or(stem);
    }
    stem.to_owned()
}

/// An image whose every byte can be read.
pub(crate) struct Image {
    file: File,
    /// Bytes of the raw image.
    pub(crate) size: u64,
    pub(crate) form: stream::Form,
    pub(crate) table: Table,
}

impl Image {
    /// Opens an image in any of the forms of [`stream::Form`]. A compressed one is unpacked
    /// to a nameless file with holes beside it, or in the directory for temporary files.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::unpack(path, &stream::Packed::open(path, false)?)
    }

    /// The image at `path`, whose form is known.
    pub(crate) fn unpack(path: &Path, packed: &stream::Packed) -> Result<Self> {
        let file = match packed.form {
            stream::Form::Raw => {
                File::open(path).with_context(|| format!("opening {}", path.display()))?
            }
            _ => unpacked(path, packed)?,
        };
        if disk::size(&file)? == 0 {
            let problem = Problem::new("the image is empty", "download it again").at(path);
            return Err(Problems(vec![problem]).into());
        }
        Self::read(file, packed.form).with_context(|| format!("reading {}", path.display()))
    }

    /// The raw image that `file` holds.
    pub(crate) fn of_raw(file: File) -> Result<Self> {
        Self::read(file, stream::Form::Raw)
    }

    /// The image that `file` holds.
    fn read(file: File, form: stream::Form) -> Result<Self> {
        let size = disk::size(&file)?;
        ensure!(size > 0, "the image is empty");
        let table = table::read(&file, size)?;
        Ok(Self {
            file,
            size,
            form,
            table,
        })
    }

    /// The raw image, for reading.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The bytes of one partition, as far as the image has them.
    pub(crate) fn slice(&self, partition: &Partition) -> Result<Slice> {
        let size = self.there(partition);
        Slice::new(&self.file, partition.start.min(self.size), size)
    }

    /// How many bytes of a partition the image has.
    pub(crate) fn there(&self, partition: &Partition) -> u64 {
        partition
            .end()
            .min(self.size)
            .saturating_sub(partition.start)
    }

    /// What a partition holds. Whatever is wrong with it is a note in the facts.
    pub(crate) fn probe(&self, partition: &Partition) -> (FileSystem, Files) {
        if partition.is_extended() {
            let facts = FileSystem {
                kind: "extended",
                ..FileSystem::default()
            };
            return (facts, Files::None);
        }
        let (mut facts, files) = match self.slice(partition).and_then(probe) {
            Ok(found) => found,
            Err(error) => {
                let facts = FileSystem {
                    kind: "unknown",
                    note: Some(format!("{error:#}")),
                    ..FileSystem::default()
                };
                (facts, Files::None)
            }
        };
        let there = self.there(partition);
        let whole = facts.size.is_some_and(|size| size <= there);
        if there < partition.size && !(whole && facts.note.is_none()) {
            facts.note = Some(if there == 0 {
                "it begins behind the image's end".to_owned()
            } else {
                format!(
                    "the image was cut short: {there} of {} bytes are there",
                    partition.size
                )
            });
            return (facts, Files::None);
        }
        (facts, files)
    }
}

fn unpacked(path: &Path, packed: &stream::Packed) -> Result<File> {
    let beside = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let mut file = tempfile::tempfile_in(beside.unwrap_or(Path::new(".")))
        .or_else(|_| tempfile::tempfile())
        .context("making a file for the unpacked image")?;
    let written = packed.with(|reader| stream::write_sparse(reader, &mut file));
    stream::unpacking(written, path)?;
    Ok(file)
}
