//! Differences of two trees of files.

use crate::base::size::size;
use crate::images::image::ext4::{Ext4, Inode, Kind, ROOT};
use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

#[derive(Debug, Default, Serialize)]
pub(crate) struct Changes {
    pub(crate) added: Vec<Entry>,
    pub(crate) removed: Vec<Entry>,
    pub(crate) changed: Vec<Change>,
}

/// A path that one side has; below an added or removed directory, everything is listed.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) kind: &'static str,
    /// Bytes.
    pub(crate) size: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Change {
    pub(crate) path: String,
    pub(crate) what: Vec<Difference>,
}

/// One property of a path; the values are for people.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    /// `type`, `mode`, `owner`, `size`, `content`, `target`, `device` or `attribute NAME`.
    pub(crate) property: String,
    pub(crate) a: Option<String>,
    pub(crate) b: Option<String>,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    pub(super) fn add(&mut self, other: Self) {
        self.added.extend(other.added);
        self.removed.extend(other.removed);
        self.changed.extend(other.changed);
    }
}

/// Compares two trees; with a partition number, paths begin with it.
pub(super) fn compare(a: &Ext4, b: &Ext4, partition: Option<u32>) -> Result<Changes> {
    let prefix = partition
        .map(|number| format!("partition {number}: "))
        .unwrap_or_default();
    let (before, mut after) = (walk(a)?, walk(b)?);
    let mut changes = Changes::default();
    let mut pair = Pair {
        a,
        b,
        compared: HashMap::new(),
    };
    for (path, inode) in before {
        let name = format!("{prefix}{}", String::from_utf8_lossy(&path));
        match after.remove(&path) {
            None => changes.removed.push(entry(name, &inode)),
            Some(other) => {
                let what = pair
                    .differences(&inode, &other)
                    .with_context(|| format!("comparing {name}"))?;
                if !what.is_empty() {
                    changes.changed.push(Change { path: name, what });
                }
            }
        }
    }
    for (path, inode) in after {
        let name = format!("{prefix}{}", String::from_utf8_lossy(&path));
        changes.added.push(entry(name, &inode));
    }
    Ok(changes)
}

fn entry(path: String, inode: &Inode) -> Entry {
    Entry {
        path,
        kind: kind(inode.kind),
        size: inode.size,
    }
}

/// Every path and its inode.
fn walk(fs: &Ext4) -> Result<BTreeMap<Vec<u8>, Inode>> {
    let mut found = BTreeMap::new();
    let root = fs.inode(ROOT)?;
    let mut open = vec![(Vec::new(), root.clone())];
    found.insert(b"/".to_vec(), root);
    while let Some((path, directory)) = open.pop() {
        let list = fs.list(&directory);
        for (name, number) in
            list.with_context(|| format!("listing {}", String::from_utf8_lossy(&path)))?
        {
            let path = [&path[..], b"/", &name[..]].concat();
            let inode = fs.inode(number)?;
            // mke2fs makes it for e2fsck; it is no part of the tree.
            if path == b"/lost+found" {
                continue;
            }
            if inode.kind == Kind::Directory {
                open.push((path.clone(), inode.clone()));
            }
            found.insert(path, inode);
        }
    }
    Ok(found)
}

struct Pair<'a> {
    a: &'a Ext4,
    b: &'a Ext4,
    /// Contents of hard links are compared once.
    compared: HashMap<(u32, u32), bool>,
}

impl Pair<'_> {
    fn differences(&mut self, a: &Inode, b: &Inode) -> Result<Vec<Difference>> {
        let mut found = Vec::new();
        let mut note = |property: &str, a: String, b: String| {
            if a != b {
                found.push(Difference {
                    property: property.to_owned(),
                    a: Some(a),
                    b: Some(b),
                });
            }
        };
        note("type", kind(a.kind).to_owned(), kind(b.kind).to_owned());
        note("mode", format!("{:04o}", a.mode), format!("{:04o}", b.mode));
        note(
            "owner",
            format!("{}:{}", a.uid, a.gid),
            format!("{}:{}", b.uid, b.gid),
        );
        match (a.kind, b.kind) {
            (Kind::File, Kind::File) => {
                if a.size != b.size {
                    note("size", a.size.to_string(), b.size.to_string());
                }
                if !self.same(a, b)? {
                    found.push(Difference {
                        property: "content".to_owned(),
                        a: None,
                        b: None,
                    });
                }
            }
            (Kind::Symlink, Kind::Symlink) => {
                let target = |fs: &Ext4, inode| -> Result<String> {
                    Ok(String::from_utf8_lossy(&fs.read(inode)?).into_owned())
                };
                note("target", target(self.a, a)?, target(self.b, b)?);
            }
            (Kind::CharDevice, Kind::CharDevice) | (Kind::BlockDevice, Kind::BlockDevice) => {
                let number = |inode| {
                    let (major, minor) = Ext4::device(inode);
                    format!("{major}:{minor}")
                };
                note("device", number(a), number(b));
            }
            _ => {}
        }
        self.attributes(a, b, &mut found)?;
        Ok(found)
    }

    fn same(&mut self, a: &Inode, b: &Inode) -> Result<bool> {
        let key = (a.number, b.number);
        if let Some(same) = self.compared.get(&key) {
            return Ok(*same);
        }
        let same = self.a.same(a, self.b, b)?;
        self.compared.insert(key, same);
        Ok(same)
    }

    fn attributes(&self, a: &Inode, b: &Inode, found: &mut Vec<Difference>) -> Result<()> {
        let (before, mut after) = (self.a.attributes(a)?, self.b.attributes(b)?);
        let mut note = |name: &str, a: Option<Vec<u8>>, b: Option<Vec<u8>>| {
            if a != b {
                found.push(Difference {
                    property: format!("attribute {name}"),
                    a: a.map(hex::encode),
                    b: b.map(hex::encode),
                });
            }
        };
        for (name, value) in before {
            let other = after.remove(&name);
            note(&name, Some(value), other);
        }
        for (name, value) in after {
            note(&name, None, Some(value));
        }
        Ok(())
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Directory => "directory",
        Kind::Symlink => "symbolic link",
        Kind::CharDevice => "character device",
        Kind::BlockDevice => "block device",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
    }
}

impl Difference {
    /// As `mode 0644 -> 0755`.
    pub(super) fn words(&self) -> String {
        let value = |value: &Option<String>| {
            let value = value.as_deref().unwrap_or("none");
            match value.parse::<u64>() {
                Ok(bytes) if self.property == "size" => size(bytes),
                _ => value.to_owned(),
            }
        };
        if self.a.is_none() && self.b.is_none() {
            return self.property.clone();
        }
        let (a, b) = (value(&self.a), value(&self.b));
        if a == b {
            // The short forms of two sizes.
            return format!("{} {:?} -> {:?}", self.property, self.a, self.b)
                .replace("Some(\"", "")
                .replace("\")", " B");
        }
        format!("{} {a} -> {b}", self.property)
    }
}
