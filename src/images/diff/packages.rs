//! Differences of the installed packages.

use crate::images::image::packages::{self, Package};
use crate::images::image::tree::Tree;
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Default, Serialize)]
pub(crate) struct Changes {
    pub(crate) added: Vec<Package>,
    pub(crate) removed: Vec<Package>,
    pub(crate) changed: Vec<Change>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    pub(crate) name: String,
    pub(crate) architecture: String,
    /// Versions.
    pub(crate) a: String,
    pub(crate) b: String,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

pub(super) fn compare(a: &Tree, b: &Tree) -> Result<Changes> {
    let read = |root| Ok::<_, anyhow::Error>(packages::read(root)?.unwrap_or_default());
    Ok(changes(read(a)?, read(b)?))
}

fn changes(a: Vec<Package>, b: Vec<Package>) -> Changes {
    let key = |p: &Package| (p.name.clone(), p.architecture.clone());
    let mut before: BTreeMap<_, _> = a.into_iter().map(|p| (key(&p), p)).collect();
    let mut changes = Changes::default();
    for package in b {
        match before.remove(&key(&package)) {
            None => changes.added.push(package),
            Some(old) if old.version != package.version => changes.changed.push(Change {
                name: package.name,
                architecture: package.architecture,
                a: old.version,
                b: package.version,
            }),
            Some(_) => {}
        }
    }
    changes.removed = before.into_values().collect();
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str) -> Package {
        Package {
            name: name.to_owned(),
            architecture: "arm64".to_owned(),
            version: version.to_owned(),
            installed_size: 0,
        }
    }

    #[test]
    fn added_removed_and_changed() {
        let a = vec![package("a", "1"), package("b", "1"), package("c", "1")];
        let b = vec![package("b", "2"), package("c", "1"), package("d", "1")];
        let found = changes(a, b);
        assert_eq!(found.added, [package("d", "1")]);
        assert_eq!(found.removed, [package("a", "1")]);
        assert_eq!(found.changed.len(), 1);
        assert_eq!(
            (found.changed[0].a.as_str(), found.changed[0].b.as_str()),
            ("1", "2")
        );
    }
}
