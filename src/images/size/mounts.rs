//! Where partitions are mounted, by fstab(5) of the root file system.

use crate::images::image::Image;
use crate::images::image::probe::FileSystem;
use crate::images::image::tree::{Kind, Tree};

/// Bytes of an fstab.
const LARGEST: u64 = 1 << 20;

/// Where the firmware's files are: in Debian and Raspberry Pi OS, and in older ones.
const FIRMWARE: [&str; 2] = ["/boot/firmware", "/boot"];

/// What fstab says.
pub(super) struct Mounts {
    /// Device as it is written, and mount point.
    lines: Vec<(String, String)>,
    /// PARTUUIDs by partition number.
    partuuids: Vec<(u32, String)>,
    /// Where a FAT is that fstab does not name.
    firmware: Option<&'static str>,
}

impl Mounts {
    pub(super) fn read(image: &Image, root: Option<&Tree>) -> Self {
        let text = root.and_then(|root| root.file("/etc/fstab", LARGEST).ok().flatten());
        let text = text.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let (device, place) = (words.next()?, words.next()?);
            let mounted = !device.starts_with('#') && place.starts_with('/') && place != "/";
            mounted.then(|| (device.to_owned(), place.trim_end_matches('/').to_owned()))
        });
        let there = |path: &&str| {
            let found = root.and_then(|root| root.lookup(path).ok().flatten());
            found.is_some_and(|inode| inode.kind == Kind::Directory)
        };
        let partitions = image.table.partitions.iter();
        Self {
            lines: lines.collect(),
            partuuids: partitions
                .map(|p| (p.number, p.partuuid.to_lowercase()))
                .collect(),
            firmware: FIRMWARE.into_iter().find(there),
        }
    }

    /// Where partition `number` is mounted; if that is not known, it has a name of its own.
    pub(super) fn of(&self, number: u32, facts: &FileSystem) -> String {
        let partuuid = self.partuuids.iter().find(|(other, _)| *other == number);
        let named = |device: &str| {
            let Some((key, value)) = device.split_once('=') else {
                return false;
            };
            let is = |own: Option<&String>| own.is_some_and(|own| own.eq_ignore_ascii_case(value));
            match key {
                "PARTUUID" => is(partuuid.map(|(_, uuid)| uuid)),
                "UUID" => is(facts.uuid.as_ref()),
                "LABEL" => is(facts.label.as_ref()),
                _ => false,
            }
        };
        let line = self.lines.iter().find(|(device, _)| named(device));
        let place = line.map(|(_, place)| place.clone());
        let firmware = self.firmware.filter(|_| facts.kind == "vfat");
        place
            .or_else(|| firmware.map(str::to_owned))
            .unwrap_or_else(|| format!("/(partition {number})"))
    }
}
