//! The packages in a root file system, with what they need of one another.

use crate::base::dpkg::{self, Paragraph};
use crate::base::inside::Root;
use anyhow::Result;
use std::collections::HashMap;

/// One installed package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) architecture: String,
    /// Name and version of the source package.
    pub(super) source: (String, String),
    pub(super) maintainer: Option<String>,
    pub(super) homepage: Option<String>,
    /// First line of the description.
    pub(super) summary: Option<String>,
    /// What it depends on: each is one of several names.
    depends: Vec<Vec<String>>,
    provides: Vec<String>,
}

/// All installed packages of `root`, by name. A tree without a status file has none.
pub(super) fn packages(root: &Root) -> Result<Vec<Package>> {
    let status = root.read_text(dpkg::STATUS, dpkg::LONGEST)?;
    Ok(parse(&status.unwrap_or_default()))
}

fn parse(status: &str) -> Vec<Package> {
    let mut packages: Vec<_> = dpkg::installed(status).filter_map(package).collect();
    packages.sort_unstable_by(|a, b| {
        (&a.name, &a.version, &a.architecture).cmp(&(&b.name, &b.version, &b.architecture))
    });
    packages
}

fn package(paragraph: Paragraph<'_>) -> Option<Package> {
    let field = |name: &str| paragraph.field(name);
    let owned = |name: &str| field(name).map(str::to_owned);
    let name = owned("Package")?;
    let version = owned("Version")?;
    // `Source: NAME (VERSION)`, each only where it differs from the package's own.
    let source = match field("Source").map(|source| source.split_once(" (")) {
        None => (name.clone(), version.clone()),
        Some(None) => (owned("Source")?, version.clone()),
        Some(Some((source, other))) => (source.to_owned(), other.trim_end_matches(')').to_owned()),
    };
    let depends = ["Pre-Depends", "Depends"]
        .iter()
        .filter_map(|name| field(name))
        .flat_map(|value| value.split(','))
        .map(|one| one.split('|').map(bare).collect())
        .collect();
    Some(Package {
        architecture: owned("Architecture")?,
        maintainer: owned("Maintainer"),
        homepage: owned("Homepage"),
        summary: owned("Description"),
        depends,
        provides: field("Provides")
            .map(|value| value.split(',').map(bare).collect())
            .unwrap_or_default(),
        name,
        version,
        source,
    })
}

/// A relation without its version and architecture: `perl:any (>= 5)` is `perl`.
fn bare(relation: &str) -> String {
    let relation = relation.trim();
    let end = relation
        .find([' ', '(', ':', '['])
        .unwrap_or(relation.len());
    relation[..end].to_owned()
}

/// For each package, the places in `packages` of those that fulfil its dependencies.
pub(super) fn dependencies(packages: &[Package]) -> Vec<Vec<usize>> {
    let mut by_name: HashMap<&str, usize> = HashMap::new();
    for (place, package) in packages.iter().enumerate() {
        for name in &package.provides {
            by_name.entry(name).or_insert(place);
        }
    }
    for (place, package) in packages.iter().enumerate() {
        by_name.insert(&package.name, place);
    }
    let of = |(place, package): (usize, &Package)| {
        let mut found: Vec<usize> = package
            .depends
            .iter()
            .filter_map(|any| any.iter().find_map(|name| by_name.get(name.as_str())))
            .copied()
            .filter(|other| *other != place)
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    };
    packages.iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_packages_with_sources_and_dependencies() {
        let status = "Package: b\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\
                      Depends: mail-agent | x, a (>= 2), none\n\n\
                      Package: c\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 2\n\n\
                      Package: a\nStatus: install ok installed\nArchitecture: arm64\n\
                      Source: src (9-1)\nVersion: 3+b1\nProvides: mail-agent (= 3)\n";
        let packages = parse(status);
        let names: Vec<_> = packages.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(packages[0].source, ("src".into(), "9-1".into()));
        assert_eq!(packages[1].source, ("b".into(), "1".into()));
        assert_eq!(dependencies(&packages), [vec![], vec![0]]);
    }
}
