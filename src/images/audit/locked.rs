//! The packages of a `westwork.lock` or `Cargo.lock`.

use super::model::{Ecosystem, Parts, add};
use super::versions::without_rebuild;
use crate::base::percent::package_part;
use serde::Deserialize;

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    root: Vec<Root>,
    /// Cargo's.
    #[serde(default)]
    package: Vec<Crate>,
}

#[derive(Deserialize)]
struct Root {
    #[serde(rename = "use")]
    purpose: String,
    suite: String,
    distribution: Option<String>,
    packages: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    architecture: String,
    path: String,
}

#[derive(Deserialize)]
struct Crate {
    name: String,
    version: String,
    source: Option<String>,
}

/// The parts of the lock file `text`. Adds to `notes` what it does not say. Native tools are left out:
/// they are in no image.
///
/// # Errors
/// When it is no lock file.
pub(super) fn read(text: &str, notes: &mut Vec<String>) -> Result<Parts, toml::de::Error> {
    let lock: Lock = toml::from_str(text)?;
    let mut parts = Parts::new();
    for root in lock.root.iter().filter(|root| root.purpose == "image") {
        let distribution = root.distribution.as_deref().unwrap_or("debian");
        // The package URL type has no vendor for Raspberry Pi OS; its packages are told as Debian's.
        let vendor = if distribution == "raspios" {
            "raspbian"
        } else {
            distribution
        };
        for package in &root.packages {
            // A pool has a directory for each source: pool/main/o/openssl/libssl3_….deb.
            let in_pool = package.path.starts_with("pool/").then_some(&package.path);
            let source = in_pool.and_then(|path| path.rsplit('/').nth(1));
            let url = format!(
                "pkg:deb/{vendor}/{}@{}?arch={}&distro={}",
                package_part(&package.name),
                package_part(&package.version),
                package.architecture,
                root.suite
            );
            let version = without_rebuild(&package.version);
            let id = (Ecosystem::Debian, source.unwrap_or(&package.name), version);
            add(&mut parts, id, Some(&root.suite), &package.name, url);
        }
    }
    if !parts.is_empty() {
        notes.push(
            "a lock file has no versions of sources, so those of packages were compared; where a source \
             numbers its packages otherwise, the image or its bill of materials says more"
                .to_owned(),
        );
    }
    // A crate without a source is the tree's own.
    for package in lock
        .package
        .iter()
        .filter(|package| package.source.is_some())
    {
        let url = format!(
            "pkg:cargo/{}@{}",
            package.name,
            package_part(&package.version)
        );
        let id = (
            Ecosystem::Crates,
            package.name.as_str(),
            package.version.as_str(),
        );
        add(&mut parts, id, None, &package.name, url);
    }
    Ok(parts)
}
