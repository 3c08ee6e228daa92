//! What a process sees of the machine: a root of its own with a few paths in it, and no other.

use super::mounts::Tree;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

/// What may be done with a path that is seen, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Access {
    /// It is read.
    Read,
    /// Written, too, but what is written ends with the process.
    Aside,
    /// It is read and written.
    Write,
}

/// One path that is seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Where it is seen, absolute, without links in it.
    pub at: PathBuf,
    /// What is seen there; `None` is an empty directory.
    pub what: Option<PathBuf>,
    /// What may be done with it.
    pub access: Access,
    /// Belongs to the caller, whose id is root's inside.
    pub own: bool,
}

/// The paths that a process sees.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    pub(super) seen: Vec<Seen>,
    /// Links: where, and the text of each.
    pub(super) links: BTreeMap<PathBuf, PathBuf>,
    /// Files with these texts.
    pub(super) files: BTreeMap<PathBuf, OsString>,
    /// What of it is watched: what is opened below these is told of.
    pub(super) watched: Vec<PathBuf>,
    /// What of it stays as a process leaves it: what is written below these is told of.
    pub(super) lasting: Vec<PathBuf>,
}

impl View {
    /// What every program needs of the machine: its programs and libraries, and of /etc what
    /// they look up. Nothing of /home, /root, /srv, /var but dpkg's database.
    pub fn of_machine() -> Self {
        let mut view = Self::default();
        for name in [
            "usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix", "gnu",
        ] {
            let path = Path::new("/").join(name);
            match fs::read_link(&path) {
                Ok(target) => drop(view.links.insert(path, target)),
                Err(_) if path.is_dir() => view.push(&path, Access::Read, false),
                Err(_) => {}
            }
        }
        for name in ETC {
            let path = Path::new("/etc").join(name);
            match fs::read_link(&path) {
                // Such as /etc/localtime, and /etc/os-release: what they name is in /usr.
                Ok(target) => drop(view.links.insert(path, target)),
                Err(_) if path.exists() => view.push(&path, Access::Read, false),
                Err(_) => {}
            }
        }
        // Scripts of old ask it what is mounted.
        let mounts = Path::new("/proc/self/mounts");
        view.links.insert("/etc/mtab".into(), mounts.to_owned());
        // Perhaps a link into /run, which is not seen.
        if let Ok(text) = fs::read_to_string("/etc/resolv.conf") {
            view.file(Path::new("/etc/resolv.conf"), text);
        }
        let dpkg = Path::new("/var/lib/dpkg");
        if dpkg.is_dir() {
            view.push(dpkg, Access::Read, false);
        }
        view
    }

    /// Lets `path` of the caller's be seen under its own name, with the links that lead to it.
    ///
    /// # Errors
    /// When there is nothing at `path`, or it is relative.
    pub fn see(&mut self, path: &Path, access: Access) -> Result<()> {
        let real = self.follow(path)?;
        self.push(&real, access, true);
        Ok(())
    }

    /// Lets what is at `what` be seen at `at`, where no link is.
    pub fn see_at(&mut self, what: &Path, at: &Path, access: Access) {
        self.seen.push(Seen {
            at: at.to_owned(),
            what: Some(what.to_owned()),
            access,
            own: true,
        });
    }

    /// An empty directory at `at`, instead of what is there.
    pub fn hide(&mut self, at: &Path) {
        self.seen.push(Seen {
            at: at.to_owned(),
            what: None,
            access: Access::Write,
            own: true,
        });
    }

    /// Lets it be told what is opened at `path`, which is seen, and below.
    ///
    /// # Errors
    /// When there is nothing at `path`.
    pub fn watch(&mut self, path: &Path) -> Result<()> {
        let real = path
            .canonicalize()
            .with_context(|| format!("finding {}", path.display()))?;
        self.watched.push(real);
        Ok(())
    }

    /// Lets it be told what is written at `path`, which is seen, and below.
    ///
    /// # Errors
    /// When there is nothing at `path`.
    pub fn lasting(&mut self, path: &Path) -> Result<()> {
        let real = path
            .canonicalize()
            .with_context(|| format!("finding {}", path.display()))?;
        self.lasting.push(real);
        Ok(())
    }

    /// A file with this text, where nothing else is.
    pub fn file(&mut self, at: &Path, text: impl Into<OsString>) {
        self.files.insert(at.to_owned(), text.into());
    }

    /// Whether `path` is in what is seen and not hidden again; by name alone.
    pub fn shows(&self, path: &Path) -> bool {
        let over = self.seen.iter().filter(|seen| path.starts_with(&seen.at));
        let nearest = over.max_by_key(|seen| seen.at.components().count());
        nearest.is_some_and(|seen| seen.what.is_some())
            || self.links.keys().any(|link| path.starts_with(link))
    }

    /// What is named twice is mounted once, with the wider of the two accesses.
    fn push(&mut self, path: &Path, access: Access, own: bool) {
        let same = |seen: &&mut Seen| seen.at == path && seen.what.as_deref() == Some(path);
        if let Some(seen) = self.seen.iter_mut().find(same) {
            seen.access = seen.access.max(access);
            seen.own |= own;
            return;
        }
        self.seen.push(Seen {
            at: path.to_owned(),
            what: Some(path.to_owned()),
            access,
            own,
        });
    }

    /// Where `path` really is. The links on the way are remembered.
    fn follow(&mut self, path: &Path) -> Result<PathBuf> {
        let mut real = PathBuf::from("/");
        for part in path.components() {
            match part {
                Component::RootDir | Component::CurDir => {}
                Component::ParentDir => drop(real.pop()),
                Component::Normal(name) => {
                    real.push(name);
                    if let Ok(target) = fs::read_link(&real) {
                        let there = real
                            .canonicalize()
                            .with_context(|| format!("following {}", real.display()))?;
                        self.links.insert(real.clone(), target);
                        real = self.follow(&there)?;
                    }
                }
                Component::Prefix(_) => bail!("{} is not a path", path.display()),
            }
        }
        fs::symlink_metadata(&real).with_context(|| format!("looking at {}", path.display()))?;
        Ok(real)
    }

    /// The caller's own paths shown with the owners of `user_namespace`, to be given to
    /// [`View::enter`]. Only root of the machine can make them.
    ///
    /// # Errors
    /// When a file system, or this process, cannot do that.
    pub fn id_mapped(&self, user_namespace: &OwnedFd) -> Result<BTreeMap<PathBuf, Tree>> {
        let own = self.seen.iter().filter(|seen| seen.own);
        let paths: BTreeSet<&PathBuf> = own.filter_map(|seen| seen.what.as_ref()).collect();
        let mapped = |path: &PathBuf| {
            let tree = Tree::of(path)?.id_mapped(user_namespace);
            tree.with_context(|| path.display().to_string())
        };
        paths
            .into_iter()
            .map(|path| Ok((path.clone(), mapped(path)?)))
            .collect()
    }
}

/// Of /etc, what programs look up: names, libraries, certificates, apt's and their own settings.
const ETC: &[&str] = &[
    "alternatives",
    "apt",
    "bash.bashrc",
    "ca-certificates",
    "ca-certificates.conf",
    "debconf.conf",
    "debian_version",
    "default",
    "dpkg",
    "gai.conf",
    "group",
    "host.conf",
    "hosts",
    "inputrc",
    "java-17-openjdk",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "localtime",
    "login.defs",
    "magic",
    "magic.mime",
    "mailcap",
    "mime.types",
    "mke2fs.conf",
    "mtools.conf",
    "networks",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "perl",
    "pki",
    "profile",
    "profile.d",
    "protocols",
    "python3",
    "services",
    "ssl",
    "terminfo",
    "timezone",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_path_is_seen_where_it_is_and_by_the_links_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("disk/work")).unwrap();
        symlink(base.join("disk"), base.join("there")).unwrap();
        let mut view = View::default();
        view.see(&base.join("there/work"), Access::Write).unwrap();
        assert_eq!(view.seen[0].at, base.join("disk/work"));
        assert_eq!(view.links[&base.join("there")], base.join("disk"));
        assert!(view.see(&base.join("none"), Access::Read).is_err());
    }

    #[test]
    fn what_is_named_twice_is_seen_once_by_the_wider_access() {
        let mut view = View::default();
        let tree = Path::new("/tree");
        for access in [Access::Aside, Access::Write, Access::Read] {
            view.push(tree, access, true);
        }
        let [seen] = &view.seen[..] else {
            panic!("{:?}", view.seen);
        };
        assert_eq!((seen.access, seen.own), (Access::Write, true));
    }

    #[test]
    fn what_is_hidden_is_not_shown() {
        let mut view = View::default();
        view.push(Path::new("/tree"), Access::Aside, true);
        view.hide(Path::new("/tree/work"));
        view.see_at(
            Path::new("/x"),
            Path::new("/tree/work/stage0"),
            Access::Write,
        );
        assert!(view.shows(Path::new("/tree/a")));
        assert!(!view.shows(Path::new("/tree/work/layers")));
        assert!(view.shows(Path::new("/tree/work/stage0/rootfs")));
        assert!(!view.shows(Path::new("/home/ann")));
    }
}
