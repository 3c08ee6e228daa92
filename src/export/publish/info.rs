//! The `.info` text: what the image is and which packages are in it.

use super::dpkg::Package;
use std::fmt::Write as _;

/// Facts of the finished image that open the text.
pub(super) struct Facts<'a> {
    pub(super) name: &'a str,
    pub(super) release: &'a str,
    pub(super) architecture: &'a str,
    pub(super) raw_size: u64,
    pub(super) raw_sha256: &'a str,
    /// Where the image comes from, one fact a line.
    pub(super) origin: &'a [String],
}

/// The whole text.
pub(super) fn info(facts: &Facts<'_>, packages: &[Package]) -> String {
    let mut text = format!(
        "image: {}\nrelease: {}\narchitecture: {}\nraw size: {} bytes\nraw sha256: {}\n",
        facts.name, facts.release, facts.architecture, facts.raw_size, facts.raw_sha256
    );
    for line in facts.origin {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text, "\npackages: {}", packages.len());
    for package in packages {
        let _ = writeln!(
            text,
            "{} {} {}",
            package.name, package.version, package.architecture
        );
    }
    text
}
