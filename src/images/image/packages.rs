//! The installed packages, from dpkg's database: deb822 stanzas in /var/lib/dpkg/status.

use super::tree::Tree;
use anyhow::Result;
use serde::Serialize;

/// Where the database is.
const STATUS: &str = "/var/lib/dpkg/status";

/// Bytes of it, and packages in it, that are looked at; a full desktop has a third of that.
const LARGEST: u64 = 16 << 20;
const MOST: usize = 50_000;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) architecture: String,
    pub(crate) version: String,
    /// Bytes, as the package estimates it.
    pub(crate) installed_size: u64,
}

/// The installed packages of a root file system by name; `None` without dpkg.
pub(crate) fn read(root: &Tree) -> Result<Option<Vec<Package>>> {
    let status = root.file(STATUS, LARGEST)?;
    Ok(status.map(|bytes| parse(&String::from_utf8_lossy(&bytes))))
}

fn parse(status: &str) -> Vec<Package> {
    let mut packages: Vec<Package> = {
        let stanzas = status.split("\n\n").filter_map(package);
        stanzas.take(MOST).collect()
    };
    packages.sort();
    packages
}

fn package(stanza: &str) -> Option<Package> {
    let field = |name: &str| {
        let of = |line: &str| {
            Some(
                line.strip_prefix(name)?
                    .strip_prefix(':')?
                    .trim()
                    .to_owned(),
            )
        };
        stanza.lines().find_map(of)
    };
    // "want flag state": files are there when the state is "installed".
    field("Status")?.ends_with(" installed").then_some(())?;
    let size = field("Installed-Size").and_then(|size| size.parse::<u64>().ok());
    Some(Package {
        name: field("Package")?,
        architecture: field("Architecture").unwrap_or_default(),
        version: field("Version").unwrap_or_default(),
        installed_size: size.unwrap_or(0).saturating_mul(1024),
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_what_is_installed_counts() {
        let status = "Package: b\nStatus: install ok installed\nInstalled-Size: 3\nVersion: 1\n\n\
                      Package: a\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                      Package: a2\nStatus: hold ok installed\nArchitecture: all\nVersion: 2:1\n";
        let found = parse(status);
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].name.as_str(), found[0].version.as_str()),
            ("a2", "2:1")
        );
        assert_eq!(found[1].installed_size, 3072);
    }
}
