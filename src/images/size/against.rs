//! In which sizes two images differ.

use super::{Group, Sizes};
use serde::Serialize;
use std::collections::BTreeMap;

/// All that differs; each list begins with the largest change.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Against {
    /// Of all files, in bytes: before and now.
    pub(crate) before: u64,
    pub(crate) now: u64,
    pub(crate) packages: Vec<Change>,
    pub(crate) no_package: Vec<Change>,
    pub(crate) directories: Vec<Change>,
    pub(crate) files: Vec<Change>,
}

/// One thing whose size differs.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    /// Of a package, or a path.
    pub(crate) name: String,
    /// Bytes; `None` where it is not there.
    pub(crate) before: Option<u64>,
    pub(crate) now: Option<u64>,
}

impl Change {
    /// By how many bytes it grew; less than 0 if it shrank.
    pub(crate) fn by(&self) -> i64 {
        let signed = |size: Option<u64>| i64::try_from(size.unwrap_or(0)).unwrap_or(i64::MAX);
        signed(self.now).saturating_sub(signed(self.before))
    }
}

/// What differs from `before` to `now`.
pub(crate) fn against(before: &Sizes, now: &Sizes) -> Against {
    let packages = |sizes: &Sizes| {
        let named = sizes.packages.iter().map(|p| {
            let name = match p.architecture.as_str() {
                "" | "all" => p.name.clone(),
                architecture => format!("{}:{architecture}", p.name),
            };
            (name, p.size)
        });
        named.collect()
    };
    let groups = |groups: &[Group]| -> BTreeMap<_, _> {
        groups.iter().map(|g| (g.path.clone(), g.size)).collect()
    };
    let files = |sizes: &Sizes| -> BTreeMap<_, _> {
        let files = sizes.files.iter();
        files.map(|file| (file.path.clone(), file.size)).collect()
    };
    Against {
        before: before.size,
        now: now.size,
        packages: changes(packages(before), packages(now)),
        no_package: changes(groups(&before.no_package), groups(&now.no_package)),
        directories: changes(groups(&before.directories), groups(&now.directories)),
        files: changes(files(before), files(now)),
    }
}

fn changes(mut before: BTreeMap<String, u64>, now: BTreeMap<String, u64>) -> Vec<Change> {
    let mut found = Vec::new();
    for (name, size) in now {
        let old = before.remove(&name);
        if old != Some(size) {
            found.push(Change {
                name,
                before: old,
                now: Some(size),
            });
        }
    }
    found.extend(before.into_iter().map(|(name, size)| Change {
        name,
        before: Some(size),
        now: None,
    }));
    found.sort_by(|a, b| {
        let key = |change: &Change| std::cmp::Reverse(change.by().unsigned_abs());
        (key(a), &a.name).cmp(&(key(b), &b.name))
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_most_comes_first() {
        let map = |list: &[(&str, u64)]| list.iter().map(|(n, s)| ((*n).to_owned(), *s)).collect();
        let found = changes(
            map(&[("a", 5), ("gone", 100), ("same", 7)]),
            map(&[("a", 9), ("new", 50), ("same", 7)]),
        );
        let by: Vec<(&str, i64)> = found.iter().map(|c| (c.name.as_str(), c.by())).collect();
        assert_eq!(by, [("gone", -100), ("new", 50), ("a", 4)]);
    }
}
