//! From the allow-list to the dispatcher's table: whose versions match, so that their twins may run.

use super::native::ToolsRoot;
use super::twins::Tried;
use crate::base::dpkg;
use crate::base::inside::Root;
use anyhow::Result;
use std::collections::BTreeMap;

/// Versions of packages by name.
pub type Versions = BTreeMap<String, String>;

/// The dispatcher's table for one target.
#[derive(Debug, Default)]
pub struct Table {
    /// Sorted lines in the form the dispatcher reads, without the emulator's.
    pub text: String,
    /// Packages that stay emulated although they are on the list, with the reason.
    pub left_out: Vec<String>,
}

impl Table {
    /// Makes the table for the target in `rootfs`, which may be empty or missing still, of what was
    /// `tried` of `tools`.
    ///
    /// What is not installed yet comes from the same archive state as the tools. Where the
    /// target takes packages from archives that the tools do not come from, `offered` has the
    /// versions it would install, and those must be the tools' too: a fork may be another
    /// program.
    pub(super) fn new(
        tools: &ToolsRoot,
        tried: &[Tried],
        rootfs: Option<&Root>,
        offered: Option<&Versions>,
    ) -> Result<Self> {
        let status = rootfs.map(|root| root.read_text(dpkg::STATUS, dpkg::LONGEST));
        let installed = installed_versions(&status.transpose()?.flatten().unwrap_or_default());
        let mut lines = BTreeMap::new();
        let mut left_out = Vec::new();
        for Tried {
            family,
            lines: of_family,
        } in tried
        {
            let name = &family.package;
            let Some(ours) = tools.versions.get(name) else {
                left_out.push(format!("{name}: not in the tools root"));
                continue;
            };
            let theirs = [
                (installed.get(name), "in the target"),
                (
                    offered.and_then(|offered| offered.get(name)),
                    "on offer to the target",
                ),
            ];
            let other = theirs
                .into_iter()
                .filter_map(|(version, place)| Some((version?, place)))
                .find(|(version, _)| source_version(ours) != source_version(version));
            match (other, theirs) {
                (Some((version, place)), _) => left_out.push(format!(
                    "{name}: {ours} in the tools root, {version} {place}"
                )),
                // Nothing of it can run.
                (None, [(None, _), (None, _)]) if offered.is_some() => {}
                _ => lines.extend(of_family.clone()),
            }
        }
        let text = lines
            .into_iter()
            .map(|(key, rest)| format!("{key}\t{rest}\n"))
            .collect();
        Ok(Self { text, left_out })
    }
}

/// A version without the mark of a binary rebuild (`+b1`), which architectures have apart, and
/// without the marks of the Raspberry Pi archive (`+rpt1`) and Raspbian (`+rpi1`) on a Debian
/// revision: what is left is the version of Debian that was changed.
///
/// A mark in the upstream part, or one with `~`, says that the program itself is another.
fn source_version(version: &str) -> String {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let source = match version.rsplit_once("+b") {
        Some((source, rebuild)) if digits(rebuild) => source,
        _ => version,
    };
    let Some((upstream, revision)) = source.rsplit_once('-') else {
        return source.to_owned();
    };
    let is_mark = |part: &str| {
        ["rpt", "rpi"]
            .iter()
            .filter_map(|vendor| part.strip_prefix(vendor))
            .any(|number| number.split('.').all(digits))
    };
    let kept: Vec<&str> = revision.split('+').filter(|part| !is_mark(part)).collect();
    format!("{upstream}-{}", kept.join("+"))
}

/// Installed packages and their versions, from dpkg's `status` file.
fn installed_versions(status: &str) -> Versions {
    dpkg::installed(status)
        .filter_map(|package| {
            let field = |name| package.field(name).map(str::to_owned);
            Some((field("Package")?, field("Version")?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rebuilds_of_one_source_are_the_same_program() {
        assert_eq!(source_version("3.11-4+b1"), "3.11-4");
        assert_eq!(source_version("1.0+beta-1"), "1.0+beta-1");
    }

    #[test]
    fn forks_are_the_same_program_only_with_debians_own_version() {
        for (fork, debian) in [
            ("9.7-3+rpt1", "9.7-3"),
            ("9.7-3+rpi1+b2", "9.7-3"),
            ("2.41-12+rpi1+deb13u1", "2.41-12+deb13u1"),
            ("1:1.2-3+rpt1.1", "1:1.2-3"),
        ] {
            assert_eq!(source_version(fork), debian);
        }
        for other in [
            "0.3+rpt20241119-1",
            "1.2-3~rpt1",
            "1.2-3+rpt",
            "1.2+rpi1",
            "1.2-0+rpt1",
        ] {
            assert_ne!(source_version(other), source_version("1.2-3"), "{other}");
            assert_ne!(source_version(other), source_version("0.3-1"), "{other}");
        }
    }

    #[test]
    fn versions_are_those_of_installed_packages() {
        let status = "Package: sed\nStatus: install ok installed\nVersion: 4.9-2\n\nPackage: old\nStatus: deinstall ok config-files\nVersion: 1\n";
        assert_eq!(
            installed_versions(status),
            BTreeMap::from([("sed".to_owned(), "4.9-2".to_owned())])
        );
    }
}
