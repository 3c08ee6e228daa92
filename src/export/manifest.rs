//! The `.info` text: what the image is and which packages are in it.

use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::Path;

/// Facts of the finished image that open the text.
pub(crate) struct Facts<'a> {
    pub(crate) name: &'a str,
    pub(crate) release: &'a str,
    pub(crate) architecture: &'a str,
    pub(crate) raw_size: u64,
    pub(crate) raw_sha256: &'a str,
    /// Where the image comes from, one fact a line.
    pub(crate) origin: &'a [String],
}

/// The whole text. Packages are read from dpkg's status file in `rootfs`; a tree
/// without one has no packages.
pub(crate) fn info(facts: &Facts<'_>, rootfs: &Path) -> Result<String> {
    let status = rootfs.join("var/lib/dpkg/status");
    let status = match std::fs::read(&status) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(error).with_context(|| format!("reading {}", status.display()));
        }
    };
    let mut text = format!(
        "image: {}\nrelease: {}\narchitecture: {}\nraw size: {} bytes\nraw sha256: {}\n",
        facts.name, facts.release, facts.architecture, facts.raw_size, facts.raw_sha256
    );
    for line in facts.origin {
        let _ = writeln!(text, "{line}");
    }
    let packages = packages(&status);
    let _ = writeln!(text, "\npackages: {}", packages.len());
    for (name, version, architecture) in packages {
        let _ = writeln!(text, "{name} {version} {architecture}");
    }
    Ok(text)
}

/// Name, version and architecture of each installed package, by name.
/// Format: deb822 paragraphs, as dpkg writes them.
fn packages(status: &str) -> Vec<(&str, &str, &str)> {
    let mut packages: Vec<_> = status
        .split("\n\n")
        .filter_map(|paragraph| {
            let field = |name: &str| {
                paragraph
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            };
            field("Status")?.ends_with(" installed").then_some(())?;
            Some((field("Package")?, field("Version")?, field("Architecture")?))
        })
        .collect();
    packages.sort_unstable();
    packages
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_installed_packages_sorted() {
        let status = "Package: b\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\n\
                      Package: c\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 2\n\n\
                      Package: a\nStatus: install ok installed\nArchitecture: arm64\nVersion: 3\n";
        assert_eq!(
            super::packages(status),
            [("a", "3", "arm64"), ("b", "1", "all")]
        );
    }
}
