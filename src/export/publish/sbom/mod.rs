//! Bills of materials: SPDX 2.3 and CycloneDX 1.6, both as JSON, made from dpkg's
//! database and the copyright files of the image and from nothing else.

mod cyclonedx;
mod spdx;

pub(super) use cyclonedx::cyclonedx;
pub(super) use spdx::spdx;

use super::copyright::{self, Licences};
use super::dpkg::Package;
use crate::base::inside::Root;
use crate::base::percent::package_part;
use crate::config::Base;
use crate::export::disk::layout::Identity;
use anyhow::{Context, Result};
use serde_json::Value;

/// The image that the bills are of.
pub(super) struct Subject<'a> {
    pub(super) name: &'a str,
    pub(super) identity: &'a Identity,
    /// Seconds since 1970: the time the bills bear.
    pub(super) epoch: i64,
    /// Whose package URLs they have.
    pub(super) base: Base,
    pub(super) release: &'a str,
    pub(super) raw_sha256: &'a str,
}

/// Longest copyright file that is read, bytes; a longer one counts as none.
const LONGEST: u64 = 16 << 20;

/// Licences of each package, in the same order; `None` where it has no copyright file.
pub(super) fn licences(root: &Root, packages: &[Package]) -> Vec<Option<Licences>> {
    let of = |package: &Package| {
        let path = format!("usr/share/doc/{}/copyright", package.name);
        let text = root.read_text(path, LONGEST).ok()??;
        Some(copyright::read(&text))
    };
    packages.iter().map(of).collect()
}

impl Subject<'_> {
    fn time(&self) -> Result<String> {
        let time = jiff::Timestamp::from_second(self.epoch).context("reading the epoch")?;
        Ok(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    }

    /// Package URL of type deb.
    fn purl(&self, name: &str, version: &str, arch: &str) -> String {
        format!(
            "pkg:deb/{}/{}@{}?arch={arch}&distro={}",
            self.base.word(),
            package_part(name),
            package_part(version),
            self.release
        )
    }

    fn binary(&self, package: &Package) -> String {
        self.purl(&package.name, &package.version, &package.architecture)
    }
}

fn pretty(value: &Value) -> Result<String> {
    let mut text = serde_json::to_string_pretty(value).context("writing a bill of materials")?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_urls_keep_colons_and_encode_plus() {
        assert_eq!(package_part("1:2.0+dfsg-1~deb"), "1:2.0%2Bdfsg-1~deb");
    }
}
