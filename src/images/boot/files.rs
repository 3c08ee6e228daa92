//! Kernel, initrd, device tree and command line from the boot partition.

use super::BootFiles;
use super::machine::Machine;
use crate::base::arch::Arch;
use crate::images::image::Image;
use crate::images::image::fat::Fat;
use crate::images::image::packages;
use crate::images::image::probe::Files;
use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A file without a name: however this program ends, nothing of it is left. Programs that it has
/// started open it by [`Nameless::path`].
pub(super) struct Nameless(pub(super) File);

impl Nameless {
    /// An empty one on the disk of the directory `beside`.
    pub(super) fn new(beside: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(beside);
        let file = file.with_context(|| format!("making a file in {}", beside.display()))?;
        Ok(Self(file))
    }

    pub(super) fn path(&self) -> PathBuf {
        let (process, number) = (std::process::id(), self.0.as_raw_fd());
        format!("/proc/{process}/fd/{number}").into()
    }
}

/// Takes the boot files of the card in `file` onto the disk of `scratch`. Without `machine` the
/// usual one is taken.
pub(super) fn extract(file: &File, scratch: &Path, machine: Option<Machine>) -> Result<BootFiles> {
    let card = Image::of_raw(file.try_clone().context("opening the card again")?)?;
    let mut partitions = card.table.partitions.iter();
    let boot = partitions.find_map(|partition| match card.probe(partition).1 {
        Files::Fat(fat) => Some(fat),
        _ => None,
    });
    let fat = boot.context("the image has no FAT boot partition")?;
    choose(&fat, scratch, machine)
}

/// Whether the systemd of the card in `file` is older than 256; `None` if it is not known. To be
/// asked before the first start: afterwards the journal may have to be replayed.
pub(super) fn has_old_systemd(file: &File) -> Result<Option<bool>> {
    let card = Image::of_raw(file.try_clone().context("opening the card again")?)?;
    for partition in &card.table.partitions {
        if let Files::Tree(root) = card.probe(partition).1 {
            let packages = packages::read(&root).ok().flatten().unwrap_or_default();
            let systemd = packages.iter().find(|package| package.name == "systemd");
            if let Some(systemd) = systemd {
                let digits = systemd.version.split(|c: char| !c.is_ascii_digit()).next();
                let major = digits.unwrap_or_default().parse::<u32>();
                return Ok(major.ok().map(|major| major < 256));
            }
        }
    }
    Ok(None)
}

/// Bytes of a text that the firmware reads.
const LARGEST_TEXT: u64 = 1 << 20;

/// Follows config.txt, else takes the newest kernel by name.
fn choose(fat: &Fat, scratch: &Path, machine: Option<Machine>) -> Result<BootFiles> {
    let text = |name: &str| -> Result<Option<String>> {
        let bytes = fat.read(name, LARGEST_TEXT)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    };
    let take = |name: &str| -> Result<Nameless> {
        let mut to = Nameless::new(scratch)?;
        let there = fat.copy(name, &mut to.0);
        let there = there.with_context(|| format!("copying {name} of the boot partition"))?;
        ensure!(there, "the boot partition has no {name}");
        Ok(to)
    };
    let names: Vec<String> = fat.files()?.into_keys().collect();
    let config = text("config.txt")?.unwrap_or_default();
    let kernel = match setting(&config, "kernel") {
        Some(name) => name,
        None => newest(&names, &["vmlinuz-", "kernel8", "kernel7", "kernel"])
            .context("the boot partition has no kernel")?,
    };
    let initrd = setting(&config, "initramfs")
        .or_else(|| newest(&names, &["initrd.img-", "initramfs"]))
        .map(take)
        .transpose()?;
    let kernel = take(kernel)?;
    let arch = architecture(&kernel.0)?;
    let machine = machine.unwrap_or(Machine::usual(arch));
    let trees = machine.device_trees();
    let dtb = trees
        .iter()
        .find(|tree| names.iter().any(|name| name == *tree));
    if dtb.is_none() && !trees.is_empty() {
        bail!("the boot partition has none of {}", trees.join(", "));
    }
    let cmdline = text("cmdline.txt")?.context("the boot partition has no cmdline.txt")?;
    Ok(BootFiles {
        arch,
        machine,
        kernel,
        initrd,
        dtb: dtb.map(|name| take(name)).transpose()?,
        cmdline: cmdline.split_whitespace().collect::<Vec<_>>().join(" "),
    })
}

/// The last value of `kernel=NAME` or `initramfs NAME [ADDRESS]` that holds for all
/// models: sections other than `[all]` are left out.
fn setting<'a>(config: &'a str, key: &str) -> Option<&'a str> {
    let mut all = true;
    let mut value = None;
    for line in config.lines().map(str::trim) {
        if line.starts_with('[') {
            all = line == "[all]";
        } else if all {
            let rest = line.strip_prefix(key).unwrap_or_default();
            if rest.starts_with(['=', ' ']) {
                value = rest[1..].split_whitespace().next();
            }
        }
    }
    value
}

/// The last file by name at the top with the first prefix that any file has.
fn newest<'a>(names: &'a [String], prefixes: &[&str]) -> Option<&'a str> {
    let top = || names.iter().filter(|name| !name.contains('/'));
    let of = |prefix: &&str| top().filter(|name| name.starts_with(*prefix)).max();
    prefixes.iter().find_map(of).map(String::as_str)
}

/// By the magic numbers of the kernel's boot protocols: "ARM\x64" at 56 for arm64
/// (or a gzip or EFI-zboot image), 0x016f2818 at 36 for arm zImages.
fn architecture(kernel: &File) -> Result<Arch> {
    let mut head = [0; 64];
    kernel
        .read_exact_at(&mut head, 0)
        .context("reading the kernel")?;
    if head[36..40] == [0x18, 0x28, 0x6f, 0x01] {
        return Ok(Arch::Armhf);
    }
    let arm64 = head[56..60] == *b"ARM\x64" || head[..2] == [0x1f, 0x8b] || head[..2] == *b"MZ";
    if !arm64 {
        bail!("the kernel is neither one for arm nor for arm64");
    }
    Ok(Arch::Arm64)
}

#[cfg(test)]
mod tests {
    use super::{newest, setting};

    #[test]
    fn the_newest_kernel_is_one_at_the_top() {
        let names = [
            "old/vmlinuz-9",
            "vmlinuz-6.1",
            "vmlinuz-6.12",
            "kernel8.img",
        ];
        let names = names.map(str::to_owned);
        assert_eq!(
            newest(&names, &["vmlinuz-", "kernel8"]),
            Some("vmlinuz-6.12")
        );
        assert_eq!(newest(&names, &["zImage", "kernel8"]), Some("kernel8.img"));
        assert_eq!(newest(&names, &["zImage"]), None);
    }

    #[test]
    fn settings_of_other_models_do_not_count() {
        let config = "kernel=a\n[pi4]\nkernel=b\n[all]\ninitramfs c followkernel\n";
        assert_eq!(setting(config, "kernel"), Some("a"));
        assert_eq!(setting(config, "initramfs"), Some("c"));
    }
}
