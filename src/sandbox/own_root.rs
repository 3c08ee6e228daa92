//! Making a view the root of a process: the mounts, links, files and devices in it.

use super::mounts::{self, Tree, bind, pivot, point, point_inside, tmpfs};
use super::view::{Access, Seen, View};
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, mkdirat};
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Where a root is put together: a directory that every machine has.
const BUILT_AT: &str = "/tmp";

/// Devices that a program may count on, and no others.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

impl View {
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
            // By what is opened, not by its path: it may lie below BUILT_AT, or in a directory
            // of root's that this process may not enter.
            let is_file = match &tree {
                Some(tree) => !tree.is_dir()?,
                None => false,
            };
            trees.push((one, tree, is_file));
        }
        let root = Path::new(BUILT_AT);
        furnish(root, proc)?;
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
        // What is written elsewhere would be lost without a word.
        Tree::remount_read_only(root)?;
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

/// Makes `root` a file system of its own, with what every root has and no machine's paths.
fn furnish(root: &Path, proc: Option<&Tree>) -> Result<()> {
    tmpfs(root, "mode=755", MsFlags::empty())?;
    for dir in ["proc", "sys", "dev", "etc", "home", "var"] {
        make_dir(root, dir)?;
    }
    // Fresh, and gone with the process; /root is HOME, and /mnt has mount points.
    for dir in ["run", "tmp", "root", "mnt", "var/tmp"] {
        make_dir(root, dir)?;
        let mode = if dir.ends_with("tmp") { 1777 } else { 755 };
        tmpfs(&root.join(dir), &format!("mode={mode}"), MsFlags::empty())?;
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
    Ok(())
}

fn make_dir(root: &Path, name: &str) -> Result<()> {
    let dir = root.join(name);
    fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))
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
    let shown = match one.access {
        Access::Aside if !is_file => return aside(root, &tree, &at),
        Access::Write => tree.attach(&at),
        Access::Read | Access::Aside => {
            tree.read_only()?;
            tree.attach(&at)
        }
    };
    match shown {
        Err(error) if error.downcast_ref() == Some(&Errno::ENOENT) => {
            replaced(&tree, &at, one, is_file)
        }
        shown => shown,
    }
}

/// What has been replaced under its name since it was opened cannot be mounted any more, as when the
/// machine's own tools write /etc/passwd or /etc/ld.so.cache anew beside the build. A file is shown
/// as it was.
fn replaced(tree: &Tree, at: &OwnedFd, one: &Seen, is_file: bool) -> Result<()> {
    if !is_file || one.access == Access::Write {
        bail!(
            "it was replaced by another one of its name while the build ran; start the build again"
        );
    }
    let path = mounts::path_of(at);
    fs::copy(tree.path(), &path).context("copying it")?;
    Ok(())
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
pub(crate) fn over(tree: &Tree, scratch: &Path) -> Result<Tree> {
    tmpfs(scratch, "mode=755", MsFlags::empty())?;
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir(scratch.join(name)).with_context(|| format!("making {name}"))?;
    }
    tree.attach(&point(&scratch.join("lower"))?)?;
    let meta = fs::metadata(scratch.join("lower")).context("looking at the directory")?;
    fs::set_permissions(scratch.join("upper"), meta.permissions()).context("setting a mode")?;
    // By a descriptor: its path may be covered by now.
    let before = point(Path::new(".")).context("finding the working directory")?;
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
    nix::unistd::fchdir(&before).context("changing back")?;
    match mounted {
        Ok(()) => Tree::of(&scratch.join("merged")),
        Err(_) => {
            let tree = Tree::of(&scratch.join("lower"))?;
            tree.read_only()?;
            Ok(tree)
        }
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
