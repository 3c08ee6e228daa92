//! Finished images, read without root, loop devices or mounts: any form of file to a raw
//! disk, its partition table, its file systems, and the files in them.

pub(crate) mod disk;
pub(crate) mod ext4;
pub(crate) mod fat;
pub(crate) mod packages;
pub(crate) mod probe;
pub(crate) mod stream;
pub(crate) mod table;
pub(crate) mod xattr;

use anyhow::{Context, Result, bail, ensure};
use disk::Slice;
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
        let form = stream::Form::of(path)?;
        let file = match form {
            stream::Form::Raw => {
                File::open(path).with_context(|| format!("opening {}", path.display()))?
            }
            _ => unpacked(path)?,
        };
        Self::read(file, form).with_context(|| format!("reading {}", path.display()))
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

    /// The bytes of one partition; an error if it reaches beyond the image.
    pub(crate) fn slice(&self, partition: &Partition) -> Result<Slice> {
        let end = partition.start.checked_add(partition.size);
        if end.is_none_or(|end| end > self.size) {
            bail!(
                "partition {} reaches beyond the image's end; the image was cut short",
                partition.number
            );
        }
        Slice::new(&self.file, partition.start, partition.size)
    }
}

fn unpacked(path: &Path) -> Result<File> {
    let beside = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let mut file = tempfile::tempfile_in(beside.unwrap_or(Path::new(".")))
        .or_else(|_| tempfile::tempfile())
        .context("making a file for the unpacked image")?;
    stream::with(path, |reader| stream::write_sparse(reader, &mut file))
        .with_context(|| format!("unpacking {}", path.display()))?;
    Ok(file)
}
