//! The allow-list: which programs may run natively, and what they need for that.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeSet;

const ALLOW: &str = include_str!("allow.toml");

/// Programs that run natively for one reason.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Family {
    #[allow(dead_code, reason = "for the reader of allow.toml")]
    pub(super) reason: String,
    pub(super) package: String,
    pub(super) programs: Vec<String>,
    #[serde(default)]
    pub(super) scripts: Vec<String>,
    #[serde(default)]
    pub(super) unless: Vec<String>,
    #[serde(default)]
    pub(super) args: Vec<String>,
    /// With this as its first argument, a program may be led to a package's quick form.
    #[serde(default)]
    pub(super) quick: Option<String>,
    #[serde(default)]
    pub(super) needs: Vec<String>,
    #[serde(default)]
    pub(super) renamed: bool,
    #[serde(default)]
    pub(super) perl: bool,
    #[serde(default)]
    pub(super) python: bool,
}

#[derive(Debug, Deserialize)]
struct AllowList {
    family: Vec<Family>,
}

/// The families of the list.
pub(super) fn allow_list() -> Result<Vec<Family>> {
    let list: AllowList = toml::from_str(ALLOW).context("reading the allow-list")?;
    Ok(list.family)
}

/// The exporter makes file systems with the target suite's tools, so that the host's
/// version does not show in the image.
const FOR_EXPORT: &str = "e2fsprogs";

/// Every package the tools root must have.
pub fn packages() -> Result<BTreeSet<String>> {
    let families = allow_list()?;
    let twins = families
        .into_iter()
        .flat_map(|family| family.needs.into_iter().chain([family.package]));
    Ok(twins.chain([FOR_EXPORT.to_owned()]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_a_reason_and_resolved_paths() {
        for family in allow_list().unwrap() {
            assert!(!family.reason.is_empty(), "{}", family.package);
            assert!(
                family.programs.iter().all(|path| path.starts_with("/usr/")),
                "{}",
                family.package
            );
        }
    }

    #[test]
    fn nothing_that_reports_the_machine_is_listed() {
        let programs: BTreeSet<String> = allow_list()
            .unwrap()
            .into_iter()
            .flat_map(|family| family.programs)
            .collect();
        for never in [
            "/usr/bin/uname",
            "/usr/bin/arch",
            "/usr/bin/nproc",
            "/usr/bin/lscpu",
            "/usr/sbin/ldconfig",
            "/usr/bin/file",
        ] {
            assert!(!programs.contains(never), "{never}");
        }
    }
}
