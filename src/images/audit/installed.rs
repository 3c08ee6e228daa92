//! What is installed in an image: Debian's packages by dpkg's database, wheels by their directories.

use super::model::{Ecosystem, Parts, add};
use super::osv::normal;
use crate::base::dpkg::{self, Paragraph};
use crate::base::percent::package_part;
use crate::images::image::Image;
use crate::images::image::probe::Files;
use crate::images::image::tree::{Kind, Tree};
use anyhow::{Result, bail};

/// Bytes of dpkg's database that are looked at.
const LARGEST: u64 = 16 << 20;

/// The parts of the first file system that has dpkg's database.
///
/// # Errors
/// When there is none.
pub(super) fn read(image: &Image) -> Result<Parts> {
    for partition in &image.table.partitions {
        let (_, files) = image.probe(partition);
        let Files::Tree(root) = files else {
            continue;
        };
        let Some(status) = root.file(&format!("/{}", dpkg::STATUS), LARGEST)? else {
            continue;
        };
        let mut parts = Parts::new();
        packages(
            &String::from_utf8_lossy(&status),
            &release(&root)?,
            &mut parts,
        );
        wheels(&root, &mut parts)?;
        return Ok(parts);
    }
    bail!("no file system in it has dpkg's database, so nothing can be said");
}

/// Values of os-release: `VERSION_CODENAME` and `ID`.
struct Release {
    suite: Option<String>,
    vendor: String,
}

fn release(root: &Tree) -> Result<Release> {
    let text = root.text("/etc/os-release")?.unwrap_or_default();
    let value = |key: &str| {
        let of = |line: &str| Some(line.strip_prefix(key)?.strip_prefix('=')?.trim().to_owned());
        text.lines()
            .find_map(of)
            .map(|value| value.trim_matches(['"', '\'']).to_owned())
    };
    Ok(Release {
        suite: value("VERSION_CODENAME").filter(|name| !name.is_empty()),
        vendor: value("ID").unwrap_or_else(|| "debian".to_owned()),
    })
}

fn packages(status: &str, release: &Release, parts: &mut Parts) {
    for paragraph in dpkg::installed(status) {
        let Some((name, version, architecture)) = paragraph.id() else {
            continue;
        };
        let (source, source_version) = source(paragraph, name, version);
        let distro = release
            .suite
            .as_ref()
            .map_or_else(String::new, |it| format!("&distro={it}"));
        let url = format!(
            "pkg:deb/{}/{}@{}?arch={architecture}{distro}",
            package_part(&release.vendor),
            package_part(name),
            package_part(version)
        );
        let id = (Ecosystem::Debian, source, source_version);
        add(parts, id, release.suite.as_deref(), name, url);
    }
}

/// `Source: NAME (VERSION)`, each only where it differs from the package's own.
fn source<'a>(paragraph: Paragraph<'a>, name: &'a str, version: &'a str) -> (&'a str, &'a str) {
    match paragraph
        .field("Source")
        .map(|text| text.split_once(" (").ok_or(text))
    {
        None => (name, version),
        Some(Err(source)) => (source, version),
        Some(Ok((source, version))) => (source, version.trim_end_matches(')')),
    }
}

/// Wheels, by `NAME-VERSION.dist-info`. Those in Debian's own directory are in its packages.
fn wheels(root: &Tree, parts: &mut Parts) -> Result<()> {
    root.walk(|path, inode| {
        let path = String::from_utf8_lossy(path);
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let id = name
            .strip_suffix(".dist-info")
            .and_then(|id| id.split_once('-'));
        let installed = ["/site-packages", "/dist-packages"]
            .iter()
            .any(|it| dir.ends_with(it));
        let of_debian = dir == "/usr/lib/python3/dist-packages";
        let installed = installed && !of_debian && inode.kind == Kind::Directory;
        if let (Some((name, version)), true) = (id, installed) {
            let name = normal(name);
            let url = format!("pkg:pypi/{}@{}", package_part(&name), package_part(version));
            add(parts, (Ecosystem::PyPi, &name, version), None, &name, url);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_told_by_their_sources() {
        let status = "Package: libssl3t64\nStatus: install ok installed\nArchitecture: arm64\nSource: openssl\nVersion: 3.5.1-1\n\n\
                      Package: gcc\nStatus: install ok installed\nArchitecture: arm64\nSource: gcc-defaults (1.220)\nVersion: 4:14.2.0-1\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nArchitecture: arm64\nVersion: 1\n\n\
                      Package: openssl\nStatus: hold ok installed\nArchitecture: arm64\nVersion: 3.5.1-1\n";
        let release = Release {
            suite: Some("trixie".into()),
            vendor: "debian".into(),
        };
        let mut parts = Parts::new();
        packages(status, &release, &mut parts);
        let of = |name: &str| &parts[&(Ecosystem::Debian, name.to_owned())][0];
        assert_eq!(parts.len(), 2);
        assert_eq!(of("gcc-defaults").version, "1.220");
        let both: Vec<&str> = of("openssl").packages.iter().map(String::as_str).collect();
        assert_eq!(both, ["libssl3t64", "openssl"]);
    }
}
