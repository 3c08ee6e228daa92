//! Differences of two trees of files.

use crate::base::size::size;
use crate::images::image::tree::{Inode, Kind, Tree};
use anyhow::{Result, bail, ensure};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};

#[derive(Debug, Default, Serialize)]
pub(crate) struct Changes {
    pub(crate) added: Vec<Node>,
    pub(crate) removed: Vec<Node>,
    pub(crate) changed: Vec<Change>,
}

/// A path that one side has; below an added or removed directory, everything is listed.
#[derive(Debug, Serialize)]
pub(crate) struct Node {
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

/// What was found in two trees, and what of them could not be compared.
#[derive(Default)]
pub(super) struct Found {
    pub(super) changes: Changes,
    pub(super) notes: Vec<String>,
}

/// Bytes of the paths that are kept; more would be no list that anybody reads.
const LONGEST_PATHS: usize = 32 << 20;

/// What a path costs besides its letters, bytes.
const BESIDES: usize = 100;

/// Notes after which a tree is given up.
const MOST_NOTES: usize = 20;

/// Compares two trees; with a partition number, paths begin with it.
pub(super) fn compare(a: &Tree, b: &Tree, partition: Option<u32>) -> Found {
    let prefix = partition
        .map(|number| format!("partition {number}: "))
        .unwrap_or_default();
    let mut walk = Walk {
        pair: Pair {
            a,
            b,
            compared: HashMap::new(),
        },
        prefix,
        seen: (HashSet::new(), HashSet::new()),
        open: Vec::new(),
        bytes: 0,
        found: Found::default(),
    };
    if let Err(error) = walk.all() {
        walk.found.notes.push(format!("{error:#}"));
    }
    let changes = &mut walk.found.changes;
    changes.added.sort_by(|a, b| a.path.cmp(&b.path));
    changes.removed.sort_by(|a, b| a.path.cmp(&b.path));
    changes.changed.sort_by(|a, b| a.path.cmp(&b.path));
    walk.found
}

fn entry(path: String, inode: &Inode) -> Node {
    Node {
        path,
        kind: inode.kind.name(),
        size: inode.size,
    }
}

/// A directory that one side or both have.
struct Open {
    path: Vec<u8>,
    a: Option<Inode>,
    b: Option<Inode>,
}

fn root(tree: &Tree) -> Result<Inode> {
    tree.inode(tree.root())
}

/// Two trees, walked together.
struct Walk<'a> {
    pair: Pair<'a>,
    /// Stands before paths.
    prefix: String,
    /// Directories that were met. Each one is at one place only.
    seen: (HashSet<u64>, HashSet<u64>),
    open: Vec<Open>,
    /// Bytes of all paths so far.
    bytes: usize,
    found: Found,
}

impl Walk<'_> {
    fn all(&mut self) -> Result<()> {
        let (a, b) = (root(self.pair.a)?, root(self.pair.b)?);
        self.both(b"/", &a, &b)?;
        self.enter(Vec::new(), Some(a), Some(b))?;
        while let Some(open) = self.open.pop() {
            if let Err(error) = self.directory(&open) {
                self.note(&open.path, &error)?;
            }
        }
        Ok(())
    }

    /// Compares what two directories list, or takes all of one.
    fn directory(&mut self, open: &Open) -> Result<()> {
        let list = |fs: &Tree, directory: &Option<Inode>| match directory {
            Some(directory) => fs.list(directory),
            None => Ok(BTreeMap::new()),
        };
        let before = list(self.pair.a, &open.a)?;
        let mut after = list(self.pair.b, &open.b)?;
        let pairs: Vec<_> = before
            .into_iter()
            .map(|(name, number)| {
                let other = after.remove(&name);
                (name, Some(number), other)
            })
            .collect();
        let added = after
            .into_iter()
            .map(|(name, number)| (name, None, Some(number)));
        for (name, a, b) in pairs.into_iter().chain(added) {
            let path = [&open.path[..], b"/", &name[..]].concat();
            // mke2fs makes it for e2fsck; it is no part of the tree.
            if path == b"/lost+found" {
                continue;
            }
            if let Err(error) = self.name(path.clone(), a, b) {
                self.note(&path, &error)?;
            }
        }
        Ok(())
    }

    /// Compares one path, whose inodes' numbers are `a` and `b`.
    fn name(&mut self, path: Vec<u8>, a: Option<u64>, b: Option<u64>) -> Result<()> {
        let a = a.map(|number| self.pair.a.inode(number)).transpose()?;
        let b = b.map(|number| self.pair.b.inode(number)).transpose()?;
        match (&a, &b) {
            (Some(a), Some(b)) => self.both(&path, a, b)?,
            (Some(a), None) => {
                let entry = entry(self.shown(&path)?, a);
                self.found.changes.removed.push(entry);
            }
            (None, Some(b)) => {
                let entry = entry(self.shown(&path)?, b);
                self.found.changes.added.push(entry);
            }
            (None, None) => {}
        }
        let directory = |inode: &Inode| inode.kind == Kind::Directory;
        self.enter(path, a.filter(directory), b.filter(directory))
    }

    /// Puts a directory onto the list of those that are still to be compared.
    fn enter(&mut self, path: Vec<u8>, a: Option<Inode>, b: Option<Inode>) -> Result<()> {
        if a.is_none() && b.is_none() {
            return Ok(());
        }
        self.shown(&path)?;
        let first = |inode: &Option<Inode>, seen: &mut HashSet<u64>| {
            inode.as_ref().is_none_or(|inode| seen.insert(inode.number))
        };
        let (in_a, in_b) = (first(&a, &mut self.seen.0), first(&b, &mut self.seen.1));
        ensure!(in_a && in_b, "the directory is at another place as well");
        self.open.push(Open { path, a, b });
        Ok(())
    }

    fn both(&mut self, path: &[u8], a: &Inode, b: &Inode) -> Result<()> {
        let what = self.pair.differences(a, b)?;
        if !what.is_empty() {
            let path = self.shown(path)?;
            self.found.changes.changed.push(Change { path, what });
        }
        Ok(())
    }

    /// A path as it is shown.
    fn shown(&mut self, path: &[u8]) -> Result<String> {
        self.bytes += path.len() + BESIDES;
        if self.bytes > LONGEST_PATHS {
            bail!(TooMany);
        }
        Ok(format!("{}{}", self.prefix, String::from_utf8_lossy(path)))
    }

    /// Notes what is wrong at a path; an error when it is time to give up.
    fn note(&mut self, path: &[u8], error: &anyhow::Error) -> Result<()> {
        if error.is::<TooMany>() {
            bail!(TooMany);
        }
        let path = String::from_utf8_lossy(path);
        let path: String = path.chars().take(200).collect();
        let note = format!("comparing {}{path}: {error:#}", self.prefix);
        self.found.notes.push(note);
        ensure!(
            self.found.notes.len() < MOST_NOTES,
            "the rest is not compared: too much is wrong"
        );
        Ok(())
    }
}

/// The trees differ in more than can be listed.
#[derive(Debug)]
struct TooMany;

impl std::fmt::Display for TooMany {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the trees are larger than can be compared; the rest is left out"
        )
    }
}

impl std::error::Error for TooMany {}

struct Pair<'a> {
    a: &'a Tree,
    b: &'a Tree,
    /// Contents of hard links are compared once.
    compared: HashMap<(u64, u64), bool>,
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
        note("type", a.kind.name().to_owned(), b.kind.name().to_owned());
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
                let target = |fs: &Tree, inode| -> Result<String> {
                    Ok(String::from_utf8_lossy(&fs.target(inode)?).into_owned())
                };
                note("target", target(self.a, a)?, target(self.b, b)?);
            }
            (Kind::CharDevice, Kind::CharDevice) | (Kind::BlockDevice, Kind::BlockDevice) => {
                let number = |inode: &Inode| {
                    let (major, minor) = inode.device;
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

impl Difference {
    /// As `mode 0644 -> 0755`.
    pub(crate) fn words(&self) -> String {
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
