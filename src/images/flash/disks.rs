//! The machine's disks, and which of them may be overwritten. Source of the facts:
//! /sys/block (the kernel's Documentation/ABI/stable/sysfs-block), /proc/self/mountinfo
//! and /proc/swaps (proc(5)).

use crate::base::mountinfo::{self, Mount};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where to look; other directories in tests.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// Stands before `/sys` and `/proc`.
    pub(crate) root: PathBuf,
}

/// A whole disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disk {
    /// The kernel's name, such as `sdb` or `mmcblk0`.
    pub(crate) name: String,
    /// Bytes; 0 when a reader has no card in it.
    pub(crate) size: u64,
    pub(crate) model: String,
    pub(crate) bus: Bus,
    /// Whether the medium or the device is meant to be taken out.
    pub(crate) removable: bool,
    pub(crate) read_only: bool,
    /// Bytes of a sector as the disk is addressed.
    pub(crate) sector: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bus {
    Usb,
    /// A card reader of the machine itself.
    Sd,
    /// A file that looks like a disk.
    Loop,
    Other,
}

/// A place that a disk is used at: what it is used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Use {
    /// Mount point of a device.
    Mounted {
        device: String,
        at: String,
    },
    Swap {
        device: String,
    },
    /// Part of another device, such as a RAID or an encrypted volume.
    Part {
        device: String,
        of: String,
    },
}

impl Machine {
    /// This machine.
    pub(crate) fn real() -> Self {
        Self { root: "/".into() }
    }

    fn block(&self) -> PathBuf {
        self.root.join("sys/block")
    }

    /// All disks, by name.
    pub(crate) fn disks(&self) -> Result<Vec<Disk>> {
        let mut disks = Vec::new();
        let dir = self.block();
        for entry in fs::read_dir(&dir).with_context(|| format!("listing {}", dir.display()))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            disks.push(self.disk(&name));
        }
        disks.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(disks)
    }

    fn disk(&self, name: &str) -> Disk {
        let dir = self.block().join(name);
        let text = |file: &str| {
            let text = fs::read_to_string(dir.join(file)).unwrap_or_default();
            text.trim().to_owned()
        };
        // The link leads through the bus: …/usb1/1-2/…/block/sdb, …/mmc_host/mmc0/….
        let place = dir.canonicalize().unwrap_or_else(|_| dir.clone());
        let on = |word: &str| {
            place
                .iter()
                .any(|part| part.to_string_lossy().starts_with(word))
        };
        let bus = if name.starts_with("loop") {
            Bus::Loop
        } else if on("usb") {
            Bus::Usb
        } else if on("mmc") && text("device/type") == "SD" {
            Bus::Sd
        } else {
            Bus::Other
        };
        let model = format!("{} {}", text("device/vendor"), text("device/model"));
        let model = if model.trim().is_empty() {
            text("device/name")
        } else {
            model
        };
        Disk {
            name: name.to_owned(),
            // Always in units of 512 bytes.
            size: text("size").parse::<u64>().unwrap_or(0) * 512,
            model: model.trim().to_owned(),
            bus,
            removable: text("removable") == "1" || matches!(bus, Bus::Usb | Bus::Sd),
            read_only: text("ro") == "1",
            sector: text("queue/logical_block_size").parse().unwrap_or(512),
        }
    }

    /// The disk of a device number (`major:minor`), and the partition if it is one.
    pub(crate) fn find(&self, number: &str) -> Option<(Disk, Option<String>)> {
        for disk in self.disks().ok()? {
            for device in self.family(&disk.name) {
                if self.number(&device).as_deref() == Some(number) {
                    let name = disk.name.clone();
                    return Some((disk, Some(device).filter(|device| *device != name)));
                }
            }
        }
        None
    }

    /// Everything that a disk or something made of it is used for.
    pub(crate) fn uses(&self, disk: &str) -> Result<Vec<Use>> {
        let mut uses = Vec::new();
        let mut devices = self.family(disk);
        let mut next = 0;
        // Devices made of these, and of those in turn: holders are the way up.
        while next < devices.len() {
            let device = devices[next].clone();
            next += 1;
            for holder in names(&self.directory(&device).join("holders")) {
                uses.push(Use::Part {
                    device: device.clone(),
                    of: holder.clone(),
                });
                for member in self.family(&holder) {
                    if !devices.contains(&member) {
                        devices.push(member);
                    }
                }
            }
        }
        let numbers: BTreeSet<String> = devices.iter().filter_map(|d| self.number(d)).collect();
        for mount in self.mounts()? {
            let named = devices
                .iter()
                .find(|device| mount.source == format!("/dev/{device}"));
            if numbers.contains(&mount.number) || named.is_some() {
                uses.push(Use::Mounted {
                    device: mount.source,
                    at: mount.at,
                });
            }
        }
        let swaps = fs::read_to_string(self.root.join("proc/swaps")).unwrap_or_default();
        for line in swaps.lines().skip(1) {
            let path = line.split_whitespace().next().unwrap_or_default();
            if devices
                .iter()
                .any(|device| path == format!("/dev/{device}"))
            {
                uses.push(Use::Swap {
                    device: path.to_owned(),
                });
            }
        }
        Ok(uses)
    }

    /// Whether the file system with the device number `number` lies on `disk`.
    pub(crate) fn holds(&self, disk: &str, number: &str) -> Result<bool> {
        let mounts = self.mounts()?;
        Ok(self.uses(disk)?.iter().any(|use_| match use_ {
            Use::Mounted { device, at } => mounts
                .iter()
                .any(|m| m.number == number && m.source == *device && m.at == *at),
            _ => false,
        }))
    }

    /// The disk and its partitions.
    fn family(&self, disk: &str) -> Vec<String> {
        let dir = self.block().join(disk);
        let mut devices = vec![disk.to_owned()];
        let partitions = names(&dir).into_iter();
        devices.extend(partitions.filter(|name| dir.join(name).join("partition").exists()));
        devices
    }

    /// A device's directory in /sys.
    fn directory(&self, device: &str) -> PathBuf {
        let whole = self.block().join(device);
        if whole.exists() {
            return whole;
        }
        names(&self.block())
            .into_iter()
            .map(|disk| self.block().join(disk).join(device))
            .find(|path| path.exists())
            .unwrap_or(whole)
    }

    /// `major:minor`.
    fn number(&self, device: &str) -> Option<String> {
        let text = fs::read_to_string(self.directory(device).join("dev")).ok()?;
        Some(text.trim().to_owned())
    }

    /// All mounts, with the kernel's names of devices as sources.
    fn mounts(&self) -> Result<Vec<Mount>> {
        let mut mounts = mountinfo::mounts(&self.root)?;
        for mount in &mut mounts {
            // /dev/mapper/x and /dev/disk/by-… are links.
            let inside = self.root.join(mount.source.trim_start_matches('/'));
            let real = inside.canonicalize().ok();
            let name = real.as_deref().and_then(Path::file_name);
            if let Some(name) = name.filter(|_| mount.source.starts_with("/dev/")) {
                mount.source = format!("/dev/{}", name.to_string_lossy());
            }
        }
        Ok(mounts)
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
