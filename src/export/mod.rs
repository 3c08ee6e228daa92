//! From a root directory to the files in the deploy directory, without loop
//! devices or mounts.
//!
//! layout → placeholders → image (partition, fat, ext4) → pass (checksum, block map,
//! compress) → publish → deploy

pub mod disk;
pub mod finalise;
pub mod publish;
pub mod traces;

pub use disk::ext4::Ext4;

use crate::base::command::Program;
use crate::base::inside::{Dir, Kind, Root};
use crate::base::run::Log;
use crate::base::sparse;
use crate::config::{Config, Disk};
use anyhow::{Context, Result};
use disk::layout::{FileSystem, Identity, Layout, Partition, Role};
use disk::places::Places;
use disk::{ext4, fat, partition, placeholders, read_only, tree};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::TempPath;

/// What to export, and how.
pub struct ExportRequest<'a> {
    /// The complete root file system; changed by the export (a throw-away overlay).
    pub rootfs: &'a Root,
    /// An existing directory for the raw image, on a file system that keeps holes.
    pub scratch: &'a Path,
    /// Formats, sizes, partitions and all else that the settings say of an image.
    pub config: &'a Config,
    /// Where the artefacts go; made if needed.
    pub deploy_dir: &'a Path,
    /// Stem of the image's name, e.g. `2026-11-23-Westwork-lite`.
    pub name: String,
    /// Stem of the compressed artefacts' names.
    pub archive_name: String,
    /// Seconds since 1970: bound of every time stamp, part of every identifier.
    pub source_date_epoch: i64,
    /// Lines about the image's origin, for the `.info` file.
    pub info_lines: Vec<String>,
    /// How the image takes Raspberry Pi Imager's customisation; `none` if it does not.
    pub init_format: &'static str,
    /// What the build record says of the build, without secrets.
    pub record: serde_json::Value,
    /// Files that are published with the artefacts, under their own names.
    pub beside: Vec<PathBuf>,
    /// The programs that make ext4.
    pub ext4: Ext4,
    /// The program that makes a read-only root, if `disk` has one.
    pub mkfs_root: Option<Program>,
}

/// What an export made.
#[derive(Debug)]
pub struct Exported {
    /// The artefacts first, then what lies beside them.
    pub files: Vec<PathBuf>,
    /// Checksums and signature of all images in the directory, which change with each.
    pub shared: Vec<PathBuf>,
    /// Bytes of the raw image.
    pub raw_size: u64,
    /// In hex.
    pub raw_sha256: String,
}

/// How Raspberry Pi Imager's customisation reaches the system in `rootfs`: the value of
/// the manifest's `init_format`. What a read-only root is told is gone at the restart.
pub fn init_format(rootfs: &Root, disk: &Disk) -> &'static str {
    let listener = rootfs.kind("usr/lib/raspberrypi-sys-mods/imager_custom");
    if matches!(listener, Ok(Some(Kind::File))) && !disk.root.is_read_only() {
        "systemd"
    } else {
        "none"
    }
}

/// Makes the image and its artefacts. The same tree and request give the same
/// bytes. On an error the deploy directory is as it was.
pub fn export(request: &ExportRequest<'_>, log: Log<'_>) -> Result<Exported> {
    let began = Instant::now();
    let identity = Identity::new(request.source_date_epoch, &request.name);
    let mut layout = Layout::new(&identity, &request.config.disk, request.config.boot_size);
    let places = Places::open(request.rootfs, &layout)?;
    placeholders::fix(request.rootfs, &layout, &request.config.disk, log)?;
    let read_only = measure(request, &mut layout, &places, log)?;
    layout.place()?;
    let image = publish::raw_image(request)?;
    let path = image.path().to_owned();
    let root = assemble(request, &layout, &places, &path, log)?;
    let dir = places.dir(root)?;
    let mut make = |log: Log<'_>| fill(request, root, dir, &path, read_only.as_deref(), log);
    let rest = publish::Rest {
        start: root.start,
        make: &mut make,
    };
    publish::publish(request, layout.size(), image, rest, began, log)
}

/// Sets the sizes that the tree decides, and looks whether it fits those that the
/// config decides; an error says by how much not. A read-only root's size is known
/// once it is made: its file is returned.
fn measure(
    request: &ExportRequest<'_>,
    layout: &mut Layout,
    places: &Places,
    log: Log<'_>,
) -> Result<Option<TempPath>> {
    let mut read_only = None;
    for partition in &mut layout.partitions {
        let dir = places.dir(partition)?;
        let is_root = partition.role == Role::Root;
        // A mount point below another one is that partition's own.
        let skip = places.below(partition);
        let fitted = partition.clone();
        match &mut partition.file_system {
            FileSystem::Fat32 { .. } => {
                fat::contents(dir, fitted.directory())?.check_fits(&fitted)?;
            }
            FileSystem::Ext4 { inodes, .. } if !is_root => {
                *inodes = ext4::inodes_if_it_fits(tree::measure(dir, &skip)?, &fitted)?;
            }
            FileSystem::Ext4 { inodes, .. } => {
                let usage = tree::measure(dir, &skip)?;
                let size = ext4::size(usage, request.config.root_margin);
                *inodes = size.inodes;
                partition.size = size.bytes;
                log(&format!(
                    "root: {} MiB and {} inodes used, {} MiB made with {} MiB free",
                    (usage.blocks * tree::BLOCK) >> 20,
                    usage.inodes,
                    size.bytes >> 20,
                    request.config.root_margin >> 20
                ));
            }
            FileSystem::Squashfs | FileSystem::Erofs { .. } => {
                let file = make_read_only(request, &fitted, dir, &skip, log)?;
                partition.size = file.metadata()?.len();
                log(&format!("root: {} MiB, compressed", partition.size >> 20));
                read_only = Some(file);
            }
        }
    }
    Ok(read_only)
}

/// The file system of a root that can only be read, without what is in `left_out`.
fn make_read_only(
    request: &ExportRequest<'_>,
    partition: &Partition,
    dir: &Dir,
    left_out: &[PathBuf],
    log: Log<'_>,
) -> Result<TempPath> {
    let file = tempfile::Builder::new()
        .prefix("root.")
        .tempfile_in(request.scratch)
        .context("making a file for the root file system")?
        .into_temp_path();
    let program = request.mkfs_root.clone();
    let program = program.context("making a read-only root without its program")?;
    let left_out: Vec<_> = left_out.iter().map(|path| path.to_string_lossy()).collect();
    let left_out: Vec<&str> = left_out.iter().map(AsRef::as_ref).collect();
    let (format, epoch) = (&partition.file_system, request.source_date_epoch);
    read_only::make(program, format, dir, &left_out, &file, epoch, log)?;
    Ok(file)
}

/// Writes the table and all file systems but the root's into `image`, an empty file. Takes
/// what has partitions of its own out of the tree, the deepest first. Returns the root's
/// partition, which is still to be filled.
fn assemble<'a>(
    request: &ExportRequest<'_>,
    layout: &'a Layout,
    places: &Places,
    image: &Path,
    log: Log<'_>,
) -> Result<&'a Partition> {
    let file = File::options().read(true).write(true).open(image)?;
    file.set_len(layout.size()).context("sizing the image")?;
    let (roots, mut others): (Vec<&Partition>, Vec<&Partition>) =
        layout.partitions.iter().partition(|p| p.role == Role::Root);
    others.sort_by_key(|p| p.mount_point.matches('/').count());
    for partition in others.into_iter().rev() {
        let dir = places.dir(partition)?;
        fill(request, partition, dir, image, None, log)?;
        let place = &partition.mount_point;
        dir.empty(false)
            .with_context(|| format!("taking the files of {place} out of the root"))?;
    }
    // After the boot partition, since mkfs.fat must not find partitions in its way.
    partition::write(layout, &file)?;
    roots
        .first()
        .copied()
        .context("exporting a layout without a root partition")
}

/// Makes the file system of `partition`, of what is in `dir`, in `image`; `read_only` is that of a read-only root.
fn fill(
    request: &ExportRequest<'_>,
    partition: &Partition,
    dir: &Dir,
    image: &Path,
    read_only: Option<&Path>,
    log: Log<'_>,
) -> Result<()> {
    let epoch = request.source_date_epoch;
    match &partition.file_system {
        FileSystem::Fat32 { .. } => {
            let contents = fat::contents(dir, partition.directory())?;
            fat::make(image, partition, dir, &contents, epoch, log)
        }
        FileSystem::Ext4 { .. } => ext4::make(
            &request.ext4,
            image,
            partition,
            dir,
            request.scratch,
            epoch,
            log,
        ),
        FileSystem::Squashfs | FileSystem::Erofs { .. } => {
            let made = read_only.context("copying a root that was not made")?;
            let made = File::open(made).context("opening the root file system")?;
            let file = File::options().write(true).open(image)?;
            sparse::copy_to(&made, &file, partition.start)
        }
    }
}
