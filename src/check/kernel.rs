//! What the running Linux must be able to do.

use super::first_line;
use crate::base::problem::Problem;
use crate::config::Arch;
use std::fs;
use std::path::Path;

/// Since 5.11 an ordinary user's namespace may mount overlayfs.
const OLDEST: (u32, u32) = (5, 11);

/// Since 6.7 a user namespace has its own binfmt_misc.
pub(super) const BINFMT_IN_NAMESPACE: (u32, u32) = (6, 7);

/// Key of the page size in the auxiliary vector.
const AT_PAGESZ: usize = 6;

/// Version and overlayfs.
pub(super) fn problems() -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some((major, minor)) = version().filter(|version| *version < OLDEST) {
        let what =
            format!("this is Linux {major}.{minor}, which cannot mount overlayfs without root");
        problems.push(Problem::new(
            what,
            format!("use Linux {}.{} or newer", OLDEST.0, OLDEST.1),
        ));
    }
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !lists_overlay(&known) && !Path::new("/lib/modules").exists() {
        problems.push(Problem::new(
            "this Linux has no overlayfs",
            "use a kernel built with CONFIG_OVERLAY_FS",
        ));
    }
    problems
}

/// Emulated 32-bit programs assume pages of 4 KiB.
pub(super) fn page_size(arch: Arch) -> Option<Problem> {
    let size = own_page_size().filter(|size| *size > 4096)?;
    (arch == Arch::Armhf).then(|| {
        let what =
            format!("this Linux has pages of {size} bytes, with which armhf programs do not run");
        Problem::new(
            what,
            "boot a kernel with pages of 4096 bytes, or set ARCH=arm64",
        )
    })
}

fn own_page_size() -> Option<usize> {
    let vector = fs::read("/proc/self/auxv").ok()?;
    let words: Vec<_> = vector
        .chunks_exact(size_of::<usize>())
        .filter_map(|word| Some(usize::from_ne_bytes(word.try_into().ok()?)))
        .collect();
    words
        .chunks_exact(2)
        .find(|pair| pair[0] == AT_PAGESZ)
        .map(|pair| pair[1])
}

/// Major and minor version of the running Linux.
pub(super) fn version() -> Option<(u32, u32)> {
    parse(&first_line("/proc/sys/kernel/osrelease")?)
}

fn parse(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn lists_overlay(filesystems: &str) -> bool {
    filesystems
        .lines()
        .any(|line| line.split_whitespace().last() == Some("overlay"))
}

#[cfg(test)]
mod tests {
    use super::{lists_overlay, own_page_size, parse};

    #[test]
    fn reads_versions() {
        assert_eq!(parse("6.1.0-13-amd64"), Some((6, 1)));
        assert_eq!(parse("5.10-rc1"), Some((5, 10)));
        assert_eq!(parse("odd"), None);
    }

    #[test]
    fn finds_overlay() {
        assert!(lists_overlay("nodev\tsysfs\nnodev\toverlay\n\text4\n"));
        assert!(!lists_overlay("nodev\tsysfs\n\text4\n"));
    }

    #[test]
    fn the_page_size_is_a_power_of_two() {
        assert!(own_page_size().unwrap().is_power_of_two());
    }
}
