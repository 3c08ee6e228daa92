//! The files that the firmware reads.

use crate::images::image::fat::Fat;
use anyhow::Result;
use serde::Serialize;

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

/// Files of the boot partition `number`; `None` if it is none.
pub(super) fn read(fat: &Fat, number: u32) -> Result<Option<Boot>> {
    let text = |name: &str| -> Result<Option<String>> {
        Ok(fat
            .read(name)?
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    };
    let (config_txt, cmdline_txt) = (text("config.txt")?, text("cmdline.txt")?);
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
    for (path, size) in fat.files()? {
        let name = path.rsplit('/').next().unwrap_or(&path).to_lowercase();
        let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
        let ends = |suffix: &str| name.ends_with(suffix);
        if ends(".dtbo") {
            boot.overlays += 1;
        } else if ends(".dtb") {
            boot.device_trees.push(BootFile { path, size });
        } else if starts(&["vmlinuz", "vmlinux", "kernel", "image"]) && !ends(".txt") {
            boot.kernels.push(BootFile { path, size });
        } else if starts(&["initrd", "initramfs"]) {
            boot.initramfs.push(BootFile { path, size });
        } else if name == "bootcode.bin" || starts(&["start"]) && ends(".elf") || starts(&["fixup"])
        {
            boot.firmware.push(BootFile { path, size });
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
            boot.customisation.push(path);
        }
    }
    Ok(Some(boot))
}
