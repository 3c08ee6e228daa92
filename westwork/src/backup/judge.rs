//! What a member of an archive may be.

use super::exchange::STAY;
use super::{ATTRIBUTE, DATA};
use crate::root::Root;
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    Symlink,
    HardLink,
}

/// A judged member: below `data`, in a directory that came before it, there once.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: PathBuf,
    pub(super) kind: Kind,
    /// Of links.
    pub(super) target: PathBuf,
    pub(super) owner: u32,
    pub(super) group: u32,
    pub(super) attributes: Vec<(OsString, Vec<u8>)>,
}

/// Remembers of each member what later ones are judged by, in some thirty bytes.
#[derive(Debug, Default)]
pub(super) struct Judge {
    seen: HashMap<[u8; 16], Kind>,
}

impl Judge {
    pub(super) fn member<R: Read>(
        &mut self,
        root: &Root,
        entry: &mut tar::Entry<'_, R>,
    ) -> Result<Member> {
        let bytes = entry.path_bytes().into_owned();
        let bytes = bytes.strip_suffix(b"/").unwrap_or(&bytes);
        let name = Path::new(OsStr::from_bytes(bytes)).to_owned();
        if !is_inside(&name) {
            bail!("{name:?} is outside of the data");
        }
        let entry_type = entry.header().entry_type();
        let kind = match entry_type {
            kind if kind.is_dir() => Kind::Directory,
            kind if kind.is_file() || kind.is_gnu_sparse() => Kind::File,
            kind if kind.is_symlink() => Kind::Symlink,
            kind if kind.is_hard_link() => Kind::HardLink,
            _ => bail!("{name:?} is neither file, directory nor link"),
        };
        let is_top = name == Path::new(DATA);
        let parent = name.parent().and_then(|parent| self.seen.get(&key(parent)));
        if !is_top && parent != Some(&Kind::Directory) {
            bail!("{name:?} is not in a directory of the archive");
        }
        if is_top && kind != Kind::Directory {
            bail!("{name:?} is no directory");
        }
        let target = entry
            .link_name_bytes()
            .map(|bytes| PathBuf::from(OsString::from_vec(bytes.into_owned())))
            .unwrap_or_default();
        // A file of an archive has its contents, and is not a link: it came with the members before.
        let of_a_file = || is_inside(&target) && self.seen.get(&key(&target)) == Some(&Kind::File);
        let of_a_link = || self.seen.get(&key(&target)) == Some(&Kind::Symlink);
        if kind == Kind::HardLink && !of_a_file() && !of_a_link() {
            bail!("{name:?} is a link to what is not in the archive");
        }
        if self.seen.insert(key(&name), kind).is_some() {
            bail!("{name:?} is in it twice");
        }
        let mut member = Member {
            name,
            kind,
            target,
            owner: number(entry.header().uid())?,
            group: number(entry.header().gid())?,
            attributes: Vec::new(),
        };
        records(root, entry, &mut member)?;
        Ok(member)
    }

    pub(super) fn count(&self) -> usize {
        self.seen.len()
    }
}

fn number(id: std::io::Result<u64>) -> Result<u32> {
    u32::try_from(id.context("it is damaged")?).context("it is damaged")
}

/// Owners by name count more than by number, which may be another one here.
fn records<R: Read>(root: &Root, entry: &mut tar::Entry<'_, R>, member: &mut Member) -> Result<()> {
    for record in entry.pax_extensions()?.into_iter().flatten() {
        let record = record.context("it is damaged")?;
        let (key, value) = (record.key_bytes(), record.value_bytes());
        let id = |file| root.id(file, std::str::from_utf8(value).ok()?);
        match key {
            b"uname" => member.owner = id("passwd").unwrap_or(member.owner),
            b"gname" => member.group = id("group").unwrap_or(member.group),
            _ => {
                if let Some(name) = key.strip_prefix(ATTRIBUTE.as_bytes()) {
                    let name = OsStr::from_bytes(name).to_owned();
                    member.attributes.push((name, value.to_owned()));
                }
            }
        }
    }
    Ok(())
}

/// Written as the archive's own names are: below `data`, without `.`, `..` and doubled slashes,
/// and none of the names that restoring needs for itself.
fn is_inside(name: &Path) -> bool {
    let mut again = PathBuf::new();
    for part in name.components() {
        match part {
            Component::Normal(part) => again.push(part),
            _ => return false,
        }
    }
    let stays = |top: &OsStr| STAY.iter().any(|stays| top == *stays);
    name.starts_with(DATA)
        && again.as_os_str() == name.as_os_str()
        && !name
            .components()
            .nth(1)
            .is_some_and(|top| stays(top.as_os_str()))
}

/// Half of a SHA-256 stands for a name, so that a hundred thousand names are few megabytes.
fn key(name: &Path) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&Sha256::digest(name.as_os_str().as_bytes())[..16]);
    half
}
