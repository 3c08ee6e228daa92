//! What a process sees of the machine: a root of its own with a few paths in it, and no other.

use super::mounts::{self, Tree, bind, pivot, point, point_inside, tmpfs};
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, mkdirat};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

/// Devices that a program may count on, and no others.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// What may be done with a path that is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// It is read.
    Read,
    /// It is read and written.
    Write,
    /// Written, too, but what is written ends with the process.
    Aside,
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
    seen: Vec<Seen>,
    /// Links: where, and the text of each.
    links: BTreeMap<PathBuf, PathBuf>,
    /// Files with these texts.
    files: BTreeMap<PathBuf, OsString>,
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

    fn push(&mut self, path: &Path, access: Access, own: bool) {
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

    /// Makes this view the process's root, with /dev, an empty /sys, fresh /run and /tmp. `ready`
    /// are trees made already, `proc` the process namespace to be seen.
    ///
    /// # Errors
    /// When something that is to be seen is gone, or a mount is refused.
    pub fn enter(&self, mut ready: BTreeMap<PathBuf, Tree>, proc: Option<&Tree>) -> Result<()> {
        let mut seen: Vec<&Seen> = self.seen.iter().collect();
        seen.sort_by_key(|seen| seen.at.components().count());
        let mut trees = Vec::new();
        for one in seen {
            let tree = match &one.what {
                Some(what) => Some(match ready.remove(what) {
                    Some(tree) => tree,
                    None => Tree::of(what)?,
                }),
                None => None,
            };
            // Now: what is below BUILT_AT is not seen afterwards.
            let is_file = one.what.as_ref().is_some_and(|what| !what.is_dir());
            trees.push((one, tree, is_file));
        }
        let root = Path::new(BUILT_AT);
        tmpfs(root, "mode=755", MsFlags::empty())?;
        for dir in [
            "proc", "sys", "dev", "run", "tmp", "root", "etc", "home", "mnt", "var", "var/tmp",
        ] {
            make_dir(root, dir)?;
        }
        match proc {
            Some(tree) => tree.attach(&point(&root.join("proc"))?)?,
            // A container may hide parts of /proc; then the kernel refuses a new one.
            None => Tree::proc()
                .or_else(|_| Tree::of(Path::new("/proc")))?
                .attach(&point(&root.join("proc"))?)?,
        }
        make_dev(&root.join("dev"))?;
        // The host's would make what a script does depend on the machine.
        tmpfs(&root.join("sys"), "mode=555", MsFlags::MS_RDONLY)?;
        tmpfs(&root.join("run"), "mode=755", MsFlags::empty())?;
        tmpfs(&root.join("tmp"), "mode=1777", MsFlags::empty())?;
        let point_of_root = point(root)?;
        for (at, target) in &self.links {
            self.link(root, at, target)?;
        }
        for (at, text) in &self.files {
            let path = root.join(at.strip_prefix("/").unwrap_or(at));
            if let Some(dir) = path.parent() {
                fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
            }
            fs::write(&path, text.as_encoded_bytes())
                .with_context(|| format!("placing {}", at.display()))?;
        }
        for (one, tree, is_file) in trees {
            show((&point_of_root, root), one, tree, is_file)
                .with_context(|| format!("showing {}", one.at.display()))?;
        }
        drop(point_of_root);
        pivot(root)
    }

    /// Makes a link, unless it lies in something that is seen as a whole and so has it already.
    fn link(&self, root: &Path, at: &Path, target: &Path) -> Result<()> {
        if self.seen.iter().any(|seen| at.starts_with(&seen.at)) {
            return Ok(());
        }
        let path = root.join(at.strip_prefix("/").unwrap_or(at));
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        }
        match symlink(target, &path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(error).with_context(|| format!("linking {}", at.display()))
            }
            _ => Ok(()),
        }
    }
}

/// Where a root is put together: a directory that every machine has.
const BUILT_AT: &str = "/tmp";

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

fn make_dir(root: &Path, name: &str) -> Result<()> {
    let dir = root.join(name);
    fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
    let mode = if name == "var/tmp" { 0o1777 } else { 0o755 };
    fs::set_permissions(&dir, fs::Permissions::from_mode(mode))
        .with_context(|| format!("setting the mode of {}", dir.display()))
}

/// Shows one path below `root`, whose descriptor is `point_of_root`.
fn show(
    (point_of_root, root): (&OwnedFd, &Path),
    one: &Seen,
    tree: Option<Tree>,
    is_file: bool,
) -> Result<()> {
    let name = one.at.strip_prefix("/").unwrap_or(&one.at);
    let text = name.to_str().context("a path that is not UTF-8")?;
    let at = match point_inside(point_of_root, text)? {
        Some(at) => at,
        None => mount_point(point_of_root, name, is_file)?,
    };
    let Some(tree) = tree else {
        return tmpfs(
            Path::new(&mounts::path_of(&at)),
            "mode=755",
            MsFlags::empty(),
        );
    };
    match one.access {
        Access::Read => tree.read_only()?.attach(&at),
        Access::Write => tree.attach(&at),
        Access::Aside if is_file => tree.read_only()?.attach(&at),
        Access::Aside => aside(root, &tree, &at),
    }
}

/// Makes the directories to `path`, and at its end a directory or an empty file.
fn mount_point(root: &OwnedFd, path: &Path, is_file: bool) -> Result<OwnedFd> {
    let mut at = root.try_clone().context("opening the root again")?;
    let last = path.components().count();
    for (index, part) in path.components().enumerate() {
        let name = part
            .as_os_str()
            .to_str()
            .context("a path that is not UTF-8")?;
        if let Some(next) = point_inside(&at, name)? {
            at = next;
            continue;
        }
        if is_file && index + 1 == last {
            let path = format!("{}/{name}", mounts::path_of(&at));
            fs::write(&path, "").with_context(|| format!("making {name}"))?;
        } else {
            match mkdirat(&at, name, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => return Err(error).with_context(|| format!("making {name}")),
            }
        }
        at = point_inside(&at, name)?.with_context(|| format!("opening {name}"))?;
    }
    Ok(at)
}

/// Shows `tree` at `at` so that what is written to it is kept in memory and ends with the mount.
fn aside(root: &Path, tree: &Tree, at: &OwnedFd) -> Result<()> {
    // Put together at a place of the new root that is uncovered again: /mnt.
    let scratch = root.join("mnt");
    over(tree, &scratch)?.attach(at)?;
    mounts::unmount(&scratch)
}

/// `tree` with a layer in memory above it, put together in the directory `scratch`, where a tmpfs
/// is mounted for it.
///
/// # Errors
/// When a mount is refused. A file system that cannot be beneath an overlay is shown read-only.
pub fn over(tree: &Tree, scratch: &Path) -> Result<Tree> {
    tmpfs(scratch, "mode=755", MsFlags::empty())?;
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir(scratch.join(name)).with_context(|| format!("making {name}"))?;
    }
    tree.attach(&point(&scratch.join("lower"))?)?;
    let meta = fs::metadata(scratch.join("lower")).context("looking at the directory")?;
    fs::set_permissions(scratch.join("upper"), meta.permissions()).context("setting a mode")?;
    let before = std::env::current_dir().context("finding the working directory")?;
    // By names without colons and commas, which mean something in the options.
    std::env::set_current_dir(scratch).context("changing to the scratch directory")?;
    let options = "userxattr,lowerdir=lower,upperdir=upper,workdir=work";
    let mounted = mount(
        Some("overlay"),
        "merged",
        Some("overlay"),
        MsFlags::empty(),
        Some(options),
    );
    std::env::set_current_dir(before).context("changing back")?;
    match mounted {
        Ok(()) => Tree::of(&scratch.join("merged")),
        Err(_) => Tree::of(&scratch.join("lower"))?.read_only(),
    }
}

/// Fills `dev` with the devices a program may count on.
///
/// # Errors
/// When a mount is refused.
pub(super) fn make_dev(dev: &Path) -> Result<()> {
    tmpfs(dev, "mode=755", MsFlags::MS_NOEXEC)?;
    for name in DEVICES {
        let node = dev.join(name);
        fs::write(&node, "").with_context(|| format!("making {}", node.display()))?;
        bind(&Path::new("/dev").join(name), &node)?;
    }
    for (target, name) in [
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
        ("pts/ptmx", "ptmx"),
    ] {
        symlink(target, dev.join(name))
            .with_context(|| format!("linking {}", dev.join(name).display()))?;
    }
    let (pts, shm) = (dev.join("pts"), dev.join("shm"));
    fs::create_dir(&pts).context("making /dev/pts")?;
    fs::create_dir(&shm).context("making /dev/shm")?;
    tmpfs(&shm, "mode=1777", MsFlags::MS_NODEV)?;
    mount(
        Some("devpts"),
        &pts,
        Some("devpts"),
        MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC,
        Some("newinstance,ptmxmode=0666,mode=620,gid=5"),
    )
    .context("mounting /dev/pts")
}

#[cfg(test)]
mod tests {
    use super::*;

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
