//! Which package each file of a root file system belongs to, by dpkg's lists:
//! /var/lib/dpkg/info/NAME.list and NAME:ARCHITECTURE.list (dpkg-query(1)), and
//! /var/lib/dpkg/diversions (dpkg-divert(1)).

use crate::images::image::tree::{Kind, Tree};
use anyhow::{Context, Result, ensure};
use std::collections::HashMap;

const INFO: &str = "/var/lib/dpkg/info";
const DIVERSIONS: &str = "/var/lib/dpkg/diversions";

/// Bytes of one list, and of all of them; a full desktop has a tenth of that.
const LARGEST_LIST: u64 = 16 << 20;
const ALL_LISTS: u64 = 256 << 20;

/// The owners of all files.
#[derive(Default)]
pub(crate) struct Owners {
    /// Names of packages as their lists are called, such as `bash` or `libc6:arm64`.
    pub(crate) names: Vec<String>,
    /// Paths with `/usr` merged; directories are among them. Values are places in `names`.
    of: HashMap<Vec<u8>, u32>,
    usr: Merged,
}

/// Where the links of `/` lead to: `/lib` to `/usr/lib`, in most systems.
#[derive(Default)]
struct Merged(HashMap<Vec<u8>, Vec<u8>>);

impl Merged {
    fn read(root: &Tree) -> Result<Self> {
        let mut links = HashMap::new();
        for (name, number) in root.list(&root.inode(root.root())?)? {
            let inode = root.inode(number)?;
            if inode.kind == Kind::Symlink {
                let target = root.target(&inode)?;
                let target = target.strip_prefix(b"/").unwrap_or(&target);
                links.insert(name, [b"/", target].concat());
            }
        }
        Ok(Self(links))
    }

    /// `path` as the tree has it.
    fn apply(&self, path: &[u8]) -> Vec<u8> {
        let bare = path.strip_prefix(b"/").unwrap_or(path);
        let end = bare.iter().position(|b| *b == b'/').unwrap_or(bare.len());
        match self.0.get(&bare[..end]) {
            // The link itself is what a package of its own may have.
            Some(target) if end < bare.len() => [target, &bare[end..]].concat(),
            _ => path.to_vec(),
        }
    }
}

/// Files that dpkg puts to another place: by their own path, who said so and where they are.
struct Diversion {
    to: Vec<u8>,
    /// The package whose own file stays in place; `:` if none.
    by: Vec<u8>,
}

impl Owners {
    /// Reads the lists of `root`; nobody owns anything where there are none.
    pub(crate) fn read(root: &Tree) -> Result<Self> {
        let mut owners = Self {
            usr: Merged::read(root)?,
            ..Self::default()
        };
        let diversions = root.file(DIVERSIONS, LARGEST_LIST)?.unwrap_or_default();
        let diversions = owners.diversions(&diversions);
        let Some(directory) = root.lookup(INFO)?.filter(|i| i.kind == Kind::Directory) else {
            return Ok(owners);
        };
        let mut bytes = 0;
        for (name, number) in root.list(&directory)? {
            let Some(package) = name.strip_suffix(b".list") else {
                continue;
            };
            let inode = root.inode(number)?;
            if inode.kind != Kind::File {
                continue;
            }
            bytes += inode.size;
            ensure!(bytes <= ALL_LISTS, "the lists in {INFO} are too large");
            let list = root
                .read(&inode, LARGEST_LIST)
                .with_context(|| format!("reading {INFO}/{}", String::from_utf8_lossy(&name)))?;
            owners.add(package, &list, &diversions);
        }
        Ok(owners)
    }

    /// Adds the files of one package.
    fn add(&mut self, package: &[u8], list: &[u8], diversions: &HashMap<Vec<u8>, Diversion>) {
        let Ok(number) = u32::try_from(self.names.len()) else {
            return;
        };
        self.names
            .push(String::from_utf8_lossy(package).into_owned());
        let bare = package.split(|b| *b == b':').next().unwrap_or_default();
        for line in list.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let path = self.usr.apply(line);
            let path = match diversions.get(&path) {
                Some(diversion) if diversion.by != bare => diversion.to.clone(),
                _ => path,
            };
            self.of.entry(path).or_insert(number);
        }
    }

    /// Three lines each: the path, where the file is, and the package that wanted it so.
    fn diversions(&self, text: &[u8]) -> HashMap<Vec<u8>, Diversion> {
        let lines: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
        let threes = lines.chunks_exact(3).map(|three| {
            let diversion = Diversion {
                to: self.usr.apply(three[1]),
                by: three[2].to_vec(),
            };
            (self.usr.apply(three[0]), diversion)
        });
        threes.collect()
    }

    /// The owner of the file at `path`, which is as the tree has it: a place in `names`.
    pub(crate) fn of(&self, path: &[u8]) -> Option<u32> {
        self.of.get(path).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_directories_and_diversions_are_followed() {
        let mut owners = Owners::default();
        let merged = [(b"lib".to_vec(), b"/usr/lib".to_vec())];
        owners.usr = Merged(merged.into_iter().collect());
        let text = b"/lib/a.so\n/lib/a.so.real\nb\n/usr/bin/c\n/usr/bin/c.local\n:\n";
        let diversions = owners.diversions(text);
        owners.add(
            b"a:arm64",
            b"/.\n/lib\n/lib/a.so\n/usr/bin/c\n",
            &diversions,
        );
        owners.add(b"b", b"/usr/lib/a.so\n", &diversions);
        let name = |path: &[u8]| owners.of(path).map(|n| owners.names[n as usize].as_str());
        assert_eq!(name(b"/usr/lib/a.so"), Some("b"));
        assert_eq!(name(b"/usr/lib/a.so.real"), Some("a:arm64"));
        assert_eq!(name(b"/usr/bin/c.local"), Some("a:arm64"));
        assert_eq!(name(b"/usr/bin/c"), None);
        assert_eq!(name(b"/lib"), Some("a:arm64"));
    }
}
