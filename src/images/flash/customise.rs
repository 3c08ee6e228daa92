//! Settings for the first boot, on a card's boot partition.

use super::firstrun::{Settings, command_line};
use super::sink::Sink;
use super::write::HEAD;
use crate::base::problem::{Problem, Problems};
use crate::images::image::disk::Slice;
use crate::images::image::ext4::Ext4;
use crate::images::image::fat::Fat;
use crate::images::image::probe::probe;
use crate::images::image::table::Partition;
use crate::images::image::{IMAGER_COMMANDS, Image, stem};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;

/// The boot partition of an image that takes settings at its first boot.
///
/// # Errors
/// [`Problems`] if the image does not, or would not know the time zone.
pub(super) fn boot_partition(image: &Image, path: &Path, settings: &Settings) -> Result<Partition> {
    let refuse = |what: &str, remedy: &str| -> anyhow::Error {
        Problems(vec![Problem::new(what, remedy).at(path)]).into()
    };
    let mut boot = None;
    let mut takes = manifest_says_systemd(path);
    for partition in &image.table.partitions {
        let kind = probe(image.slice(partition)?)?.kind;
        if kind == "vfat" && boot.is_none() {
            boot = Some(partition.clone());
        } else if kind == "ext4" {
            let Ok(root) = Ext4::open(image.slice(partition)?) else {
                continue;
            };
            if root.lookup(IMAGER_COMMANDS)?.is_none() {
                continue;
            }
            takes = true;
            if let Some(zone) = &settings.timezone {
                if root
                    .lookup(&format!("/usr/share/zoneinfo/{zone}"))?
                    .is_none()
                {
                    let what = format!("the image has no time zone {zone}");
                    return Err(refuse(&what, "use a name such as Europe/London"));
                }
            }
        }
    }
    let boot = boot.filter(|boot| boot.start >= HEAD as u64);
    match boot {
        Some(boot) if takes => Ok(boot),
        _ => Err(refuse(
            "the image does not take settings at its first boot: it has no firstrun.sh mechanism of Raspberry Pi Imager",
            "build it with one, or leave out --hostname, --user, --ssh-key, --wifi, --country and --timezone",
        )),
    }
}

/// For a root whose files cannot be read here.
fn manifest_says_systemd(image: &Path) -> bool {
    let manifest = image.with_file_name(format!("{}.rpi-imager-manifest", stem(image)));
    let json = fs::read(manifest).ok();
    let json = json.and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
    json.is_some_and(|json| json["os_list"][0]["init_format"] == "systemd")
}

/// Puts the settings onto the target's boot partition, and reads them back.
pub(super) fn apply(settings: &Settings, boot: &Partition, sink: &Sink) -> Result<()> {
    let open = || Fat::open(Slice::new(&sink.file, boot.start, boot.size)?);
    let fat = open()?;
    let old = fat
        .read("cmdline.txt")?
        .context("looking for cmdline.txt on the boot partition")?;
    let line = command_line(&String::from_utf8_lossy(&old));
    let script = settings.script();
    let files = [
        ("firstrun.sh", script.as_bytes()),
        ("cmdline.txt", line.as_bytes()),
    ];
    for (name, bytes) in files {
        fat.write(name, bytes)?;
    }
    fat.close()?;
    sink.flush()?;
    let fat = open()?;
    for (name, bytes) in files {
        ensure!(
            fat.read(name)?.as_deref() == Some(bytes),
            "the target did not keep {name}; it is worn out or a fake, use another one"
        );
    }
    Ok(())
}
