//! Kernel, initrd, device tree and command line from the boot partition.

use super::BootFiles;
use super::machine::Machine;
use crate::base::arch::Arch;
use crate::images::image::Image;
use crate::images::image::packages;
use crate::images::image::probe::Files;
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Takes the boot files of the card in `file` into a directory below `dir`. Without `machine` the
/// usual one is taken.
pub(super) fn extract(file: &File, dir: &Path, machine: Option<Machine>) -> Result<BootFiles> {
    let card = Image::of_raw(file.try_clone().context("opening the card again")?)?;
    let mut partitions = card.table.partitions.iter();
    let boot = partitions.find_map(|partition| match card.probe(partition).1 {
        Files::Fat(fat) => Some(fat),
        _ => None,
    });
    let fat = boot.context("the image has no FAT boot partition")?;
    let files = dir.join("boot");
    for name in fat.files()?.keys() {
        let to = files.join(name);
        let parent = to.parent().context("finding a directory")?;
        fs::create_dir_all(parent).context("making a directory for the boot files")?;
        File::create(&to)
            .map_err(Into::into)
            .and_then(|mut file| fat.copy(name, &mut file))
            .with_context(|| format!("writing {}", to.display()))?;
    }
    choose(&files, machine)
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

/// Follows config.txt, else takes the newest kernel by name.
fn choose(dir: &Path, machine: Option<Machine>) -> Result<BootFiles> {
    let config = fs::read_to_string(dir.join("config.txt")).unwrap_or_default();
    let kernel = match setting(&config, "kernel") {
        Some(name) => dir.join(name),
        None => newest(dir, &["vmlinuz-", "kernel8", "kernel7", "kernel"])?
            .context("the boot partition has no kernel")?,
    };
    let initrd = match setting(&config, "initramfs") {
        Some(name) => Some(dir.join(name)),
        None => newest(dir, &["initrd.img-", "initramfs"])?,
    };
    let arch = architecture(&kernel)?;
    let machine = machine.unwrap_or(Machine::usual(arch));
    let names = machine.device_trees();
    let dtb = names
        .iter()
        .map(|name| dir.join(name))
        .find(|path| path.exists());
    if dtb.is_none() && !names.is_empty() {
        bail!("the boot partition has none of {}", names.join(", "));
    }
    let cmdline = fs::read_to_string(dir.join("cmdline.txt")).context("reading cmdline.txt")?;
    Ok(BootFiles {
        arch,
        machine,
        kernel,
        initrd,
        dtb,
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

/// The last file by name with the first prefix that any file has.
fn newest(dir: &Path, prefixes: &[&str]) -> Result<Option<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let found = prefixes
        .iter()
        .find_map(|prefix| names.iter().rfind(|name| name.starts_with(prefix)));
    Ok(found.map(|name| dir.join(name)))
}

/// By the magic numbers of the kernel's boot protocols: "ARM\x64" at 56 for arm64
/// (or a gzip or EFI-zboot image), 0x016f2818 at 36 for arm zImages.
fn architecture(kernel: &Path) -> Result<Arch> {
    let mut head = [0; 64];
    File::open(kernel)
        .and_then(|mut file| file.read_exact(&mut head))
        .with_context(|| format!("reading {}", kernel.display()))?;
    if head[36..40] == [0x18, 0x28, 0x6f, 0x01] {
        return Ok(Arch::Armhf);
    }
    let arm64 = head[56..60] == *b"ARM\x64" || head[..2] == [0x1f, 0x8b] || head[..2] == *b"MZ";
    ensure!(head.len() == 64, "the kernel is too short");
    if !arm64 {
        bail!("{} is neither an arm nor an arm64 kernel", kernel.display());
    }
    Ok(Arch::Arm64)
}

#[cfg(test)]
mod tests {
    use super::setting;

    #[test]
    fn settings_of_other_models_do_not_count() {
        let config = "kernel=a\n[pi4]\nkernel=b\n[all]\ninitramfs c followkernel\n";
        assert_eq!(setting(config, "kernel"), Some("a"));
        assert_eq!(setting(config, "initramfs"), Some("c"));
    }
}
