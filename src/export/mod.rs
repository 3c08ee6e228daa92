//! From a root directory to the files in the deploy directory, without loop
//! devices or mounts.
//!
//! layout → placeholders → image (partition, fat, ext4) → pass (checksum, block map,
//! compress) → publish → deploy

mod bmap;
mod compress;
mod copyright;
mod deflate;
mod deploy;
mod dpkg;
mod ext4;
mod ext4_times;
pub(crate) mod fat;
mod imager;
mod info;
mod layout;
pub(crate) mod partition;
mod pass;
mod placeholders;
mod publish;
mod record;
pub(crate) mod run;
mod sbom;
mod sign;
pub(crate) mod sparse;
mod tree;

pub use record::without_secrets;
pub use sign::Signer;

use crate::config::{Arch, Compression, Distro};
use anyhow::{Context, Result, bail};
use layout::{FileSystem, Identity, Layout, Role};
use run::Log;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What to export, and how.
pub struct ExportRequest<'a> {
    /// The complete root file system; changed by the export (a throw-away overlay).
    pub rootfs: &'a Path,
    /// An existing directory for the raw image, on a file system that keeps holes.
    pub scratch: &'a Path,
    /// Where the artefacts go; made if needed.
    pub deploy_dir: &'a Path,
    /// Stem of the image's name, e.g. `2026-11-23-Westwork-lite`.
    pub name: String,
    /// Stem of the compressed artefacts' names.
    pub archive_name: String,
    /// At least one; [`Compression::None`] is the image itself.
    pub formats: Vec<Compression>,
    /// 0–9; `None` is the format's default.
    pub level: Option<u8>,
    /// The boot partition, bytes.
    pub boot_size: u64,
    /// Free space in the root file system, bytes.
    pub root_margin: u64,
    pub arch: Arch,
    pub distro: Distro,
    /// Debian suite.
    pub release: String,
    /// Seconds since 1970: bound of every time stamp, part of every identifier.
    pub source_date_epoch: i64,
    /// Lines about the image's origin, for the `.info` file.
    pub info_lines: Vec<String>,
    /// How the image takes Raspberry Pi Imager's customisation; `none` if it does not.
    pub init_format: &'static str,
    /// Where the files will be published, for the Imager's manifest.
    pub deploy_url: Option<String>,
    /// Who signs the checksums.
    pub signer: Option<Signer>,
    /// What the build record says of the build, [`without_secrets`].
    pub record: serde_json::Value,
    /// The mke2fs program: `mke2fs`, or a path.
    pub mke2fs: String,
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

/// Makes the image and its artefacts. The same tree and request give the same
/// bytes. On an error the deploy directory is as it was.
pub fn export(request: &ExportRequest<'_>, log: Log<'_>) -> Result<Exported> {
    let began = Instant::now();
    let layout = plan(request, log)?;
    placeholders::fix(request.rootfs, &layout)?;
    let image = publish::raw_image(request)?;
    assemble(request, &layout, image.path(), log)?;
    publish::publish(request, layout.size(), image, began, log)
}

/// Measures the tree and lays the image out; an error if the boot files do not fit.
fn plan(request: &ExportRequest<'_>, log: Log<'_>) -> Result<Layout> {
    let firmware = request.rootfs.join("boot/firmware");
    let usage = tree::measure(request.rootfs, &firmware)?;
    let size = ext4::size(usage, request.root_margin);
    let identity = Identity::new(request.source_date_epoch, &request.name);
    let layout = Layout::boot_and_root(&identity, request.boot_size, size.bytes, size.inodes);
    fat::contents(&firmware)?.check_fits(layout.partitions[0].size)?;
    log(&format!(
        "root: {} MiB and {} inodes used, {} MiB made with {} MiB free",
        (usage.blocks * tree::BLOCK) >> 20,
        usage.inodes,
        size.bytes >> 20,
        request.root_margin >> 20
    ));
    Ok(layout)
}

/// Writes table and file systems into `image`, an empty file.
fn assemble(
    request: &ExportRequest<'_>,
    layout: &Layout,
    image: &Path,
    log: Log<'_>,
) -> Result<()> {
    let file = File::options().write(true).open(image)?;
    file.set_len(layout.size()).context("sizing the image")?;
    let firmware = request.rootfs.join("boot/firmware");
    for partition in &layout.partitions {
        match (partition.role, &partition.file_system) {
            (Role::Boot, FileSystem::Fat32 { .. }) => {
                let contents = fat::contents(&firmware)?;
                fat::make(image, partition, &contents, request.source_date_epoch, log)?;
                empty(&firmware)?;
            }
            (Role::Root, FileSystem::Ext4 { .. }) => ext4::make(
                &request.mke2fs,
                image,
                partition,
                request.rootfs,
                request.scratch,
                request.source_date_epoch,
                log,
            )?,
            (role, format) => bail!("making {format:?} as {role:?}, which has no writer"),
        }
    }
    // Last, since mkfs.fat must not find partitions in its way.
    partition::write(layout, &file)
}

/// Removes what is in `dir`, not `dir` itself.
fn empty(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let path = entry?.path();
        let removed = if path.symlink_metadata()?.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(())
}
