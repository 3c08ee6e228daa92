//! The manifest that Raspberry Pi Imager opens: where the image is, what it must be
//! after unpacking, and which models it is for.

use crate::base::percent;
use crate::config::{Arch, Compression, Distro};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;

/// The image and the artefact that Imager is to fetch.
pub(super) struct ManifestEntry<'a> {
    pub(super) name: &'a str,
    pub(super) release: &'a str,
    pub(super) arch: Arch,
    pub(super) distro: Distro,
    /// File name of the artefact, and its size in bytes.
    pub(super) artefact: &'a str,
    pub(super) artefact_size: u64,
    pub(super) artefact_sha256: &'a str,
    /// File name of the block map.
    pub(super) bmap: &'a str,
    pub(super) raw_size: u64,
    pub(super) raw_sha256: &'a str,
    /// Seconds since 1970.
    pub(super) epoch: i64,
    /// How the image takes Imager's customisation: `none`, `systemd`, `cloudinit`, …
    pub(super) init_format: &'a str,
    /// Where the files are published; without it, the deploy directory.
    pub(super) url: Option<&'a str>,
    /// Where the files are, absolute.
    pub(super) dir: &'a Path,
}

/// A model of Raspberry Pi, as Imager's first list shows it.
struct Model {
    name: &'static str,
    description: &'static str,
    tag: &'static str,
}

const PI5: Model = Model {
    name: "Raspberry Pi 5",
    description: "Models B, 500, Compute Module 5",
    tag: "pi5-64bit",
};
const PI4: Model = Model {
    name: "Raspberry Pi 4",
    description: "Models B, 400, Compute Module 4",
    tag: "pi4-64bit",
};
const PI3: Model = Model {
    name: "Raspberry Pi 3",
    description: "Models A+, B, B+, Compute Module 3, Zero 2 W",
    tag: "pi3-64bit",
};
const PI5_32: Model = Model {
    tag: "pi5-32bit",
    ..PI5
};
const PI4_32: Model = Model {
    tag: "pi4-32bit",
    ..PI4
};
const PI3_32: Model = Model {
    tag: "pi3-32bit",
    ..PI3
};
const PI2_32: Model = Model {
    name: "Raspberry Pi 2",
    description: "Model B",
    tag: "pi2-32bit",
};
const PI1_32: Model = Model {
    name: "Raspberry Pi 1",
    description: "Models A, A+, B, B+, Compute Module 1, Zero, Zero W",
    tag: "pi1-32bit",
};

/// The models an image boots on: those of its kernels.
fn models(distro: Distro, arch: Arch) -> &'static [Model] {
    match (distro, arch) {
        (Distro::Debian, Arch::Arm64) => &[PI4, PI3],
        (Distro::Debian, Arch::Armhf) => &[PI2_32],
        (Distro::Raspios, Arch::Arm64) => &[PI5, PI4, PI3],
        (Distro::Raspios, Arch::Armhf) => &[PI5_32, PI4_32, PI3_32, PI2_32, PI1_32],
    }
}

/// Which of several artefacts every version of Imager can read: the higher the better.
pub(super) fn preference(compression: Compression) -> u8 {
    match compression {
        Compression::Xz => 4,
        Compression::Zip => 3,
        Compression::Gz => 2,
        Compression::Zst => 1,
        Compression::None => 0,
    }
}

/// The manifest's text.
pub(super) fn manifest(entry: &ManifestEntry<'_>) -> Result<String> {
    let architecture = match entry.arch {
        Arch::Arm64 => "armv8",
        Arch::Armhf => "armhf",
    };
    let models = models(entry.distro, entry.arch);
    let devices: Vec<Value> = models
        .iter()
        .map(|model| {
            json!({
                "name": model.name,
                "description": model.description,
                "tags": [model.tag],
                "matching_type": "exclusive",
                "architecture": architecture,
            })
        })
        .collect();
    let time = jiff::Timestamp::from_second(entry.epoch).context("reading the epoch")?;
    let image = json!({
        "name": entry.name,
        "description": format!(
            "{} {} for {}",
            entry.distro.name(),
            entry.release,
            entry.arch.debian()
        ),
        // One of Imager's own.
        "icon": "icons/use_custom.png",
        "url": entry.place(entry.artefact),
        "bmap_url": entry.place(entry.bmap),
        "extract_size": entry.raw_size,
        "extract_sha256": entry.raw_sha256,
        "image_download_size": entry.artefact_size,
        "image_download_sha256": entry.artefact_sha256,
        "release_date": time.strftime("%Y-%m-%d").to_string(),
        "init_format": entry.init_format,
        "architecture": architecture,
        "devices": models.iter().map(|model| model.tag).collect::<Vec<_>>(),
    });
    let manifest = json!({"imager": {"devices": devices}, "os_list": [image]});
    let mut text = serde_json::to_string_pretty(&manifest).context("writing the manifest")?;
    text.push('\n');
    Ok(text)
}

impl ManifestEntry<'_> {
    /// The address of a file: where it is published, or where it lies now.
    fn place(&self, file: &str) -> String {
        match self.url {
            Some(url) => format!("{}/{}", url.trim_end_matches('/'), percent::path(file)),
            None => format!(
                "file://{}",
                percent::path(&self.dir.join(file).to_string_lossy())
            ),
        }
    }
}
