//! The files that the firmware reads.

use crate::images::image::fat::Fat;
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Serialize)]
pub(crate) struct Boot {
    /// Number of its partition.
    pub(crate) partition: u32,
    pub(crate) config_txt: Option<String>,
    pub(crate) cmdline_txt: Option<String>,
    pub(crate) kernels: Vec<BootFile>,
    pub(crate) initramfs: Vec<BootFile>,
    pub(crate) device_trees: Vec<BootFile>,
    /// Number of overlays.
    pub(crate) overlays: usize,
    /// The firmware itself: `start*.elf`, `fixup*.dat`, `bootcode.bin`.
    pub(crate) firmware: Vec<BootFile>,
    /// What Imager or `flash` put there for the first boot.
    pub(crate) customisation: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct BootFile {
    pub(crate) path: String,
    /// Bytes.
    pub(crate) size: u64,
}

/// Bytes of a configuration file; the firmware reads no more than a few kilobytes.
const LARGEST_TEXT: u64 = 1 << 20;

/// Files of the boot partition `number`; `None` if it is none. What cannot be read is noted.
pub(super) fn read(fat: &Fat, number: u32, notes: &mut Vec<String>) -> Result<Option<Boot>> {
    let text = |name: &str| -> Result<Option<String>> {
        Ok(fat
            .read(name, LARGEST_TEXT)?
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    };
    let mut or_note = |text: Result<Option<String>>| {
        text.unwrap_or_else(|error| {
            notes.push(format!("partition {number}: {error:#}"));
            None
        })
    };
    let (config_txt, cmdline_txt) = (or_note(text("config.txt")), or_note(text("cmdline.txt")));
    if config_txt.is_none() && cmdline_txt.is_none() {
        return Ok(None);
    }
    let mut boot = Boot {
        partition: number,
        config_txt,
        cmdline_txt,
        kernels: Vec::new(),
        initramfs: Vec::new(),
        device_trees: Vec::new(),
        overlays: 0,
        firmware: Vec::new(),
        customisation: Vec::new(),
    };
    match fat.files() {
        Ok(files) => boot.sort(files),
        Err(error) => notes.push(format!("partition {number}: {error:#}")),
    }
    Ok(Some(boot))
}

impl Boot {
    /// Puts every file where it belongs.
    fn sort(&mut self, files: BTreeMap<String, u64>) {
        for (path, size) in files {
            let name = path.rsplit('/').next().unwrap_or(&path).to_lowercase();
            let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
            let ends = |suffix: &str| name.ends_with(suffix);
            if ends(".dtbo") {
                self.overlays += 1;
            } else if ends(".dtb") {
                self.device_trees.push(BootFile { path, size });
            } else if starts(&["vmlinuz", "vmlinux", "kernel", "image"]) && !ends(".txt") {
                self.kernels.push(BootFile { path, size });
            } else if starts(&["initrd", "initramfs"]) {
                self.initramfs.push(BootFile { path, size });
            } else if name == "bootcode.bin"
                || starts(&["start"]) && ends(".elf")
                || starts(&["fixup"])
            {
                self.firmware.push(BootFile { path, size });
            } else if [
                "firstrun.sh",
                "custom.toml",
                "user-data",
                "network-config",
                "meta-data",
                "userconf.txt",
                "ssh",
            ]
            .contains(&name.as_str())
            {
                self.customisation.push(path);
            }
        }
    }
}
