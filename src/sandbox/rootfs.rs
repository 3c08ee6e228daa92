//! What a command finds in a root file system it is run in: /proc, a small /dev, an empty /sys, its
//! stage's /run and /tmp or fresh ones, working name resolution, and no service that could start.
//!
//! All of it is mounts in the command's own namespace, placed by descriptors that were resolved
//! inside the root. What must have a name in the tree itself (`policy-rc.d`, `resolv.conf`, the
//! tools' mount point) is in a layer of its own beneath the step's ([`super::stand_ins`]), so that
//! nothing of it has to be taken back.

use super::mounts::{Tree, pivot_to, point, point_inside, tmpfs};
use super::own_root::make_dev;
pub use super::stand_ins::TOOLS_DIR;
use super::stand_ins::stand_in;
use crate::base::inside::{DirEntry, Kind, Root};
use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::MsFlags;
use nix::sys::stat::{Mode, mkdirat};
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Where the build's own things (step script, apt configuration) are inside the chroot:
/// on a fresh file system, so never in a layer.
pub const PRIVATE_DIR: &str = "run/westwork-gen";
/// Path of the build's apt configuration inside the chroot.
pub const CONF_PATH: &str = "/run/westwork-gen/apt.conf";
/// Process 1 of a command, inside the chroot.
pub(super) const INIT_PATH: &str = "/run/westwork-gen/init";
/// Where the index of locked packages is inside the chroot, and outside while a bootstrap runs.
pub const LOCKED_DIR: &str = "run/westwork-gen/locked";
/// Names the core that qemu-user emulates.
pub const QEMU_CPU_VAR: &str = "QEMU_CPU";
/// Names the emulator.
pub const EMULATOR_VAR: &str = "WESTWORK_GEN_EMULATOR";

/// Compiled by build.rs.
const INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));
const ARCHIVES: &str = "var/cache/apt/archives";

/// What the program adds to a root file system while a command runs in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Furniture {
    /// Seen at /var/cache/apt/archives.
    pub archives: Option<PathBuf>,
    /// Seen at [`TOOLS_DIR`].
    pub tools: Option<PathBuf>,
    /// The index of locked packages, if the build is locked, seen at [`LOCKED_DIR`].
    pub locked: Option<PathBuf>,
    /// Suite of that index.
    pub release: String,
    /// The apt configuration that is in force for this build only.
    pub apt_conf: Option<String>,
    /// /tmp and /run of the root are the stage's, mounted already.
    pub shared: bool,
    /// What stands in is in a layer beneath the step's own: see [`crate::sandbox::stand_ins`].
    pub stand_ins: bool,
}

/// The directory below which a root's furniture is put together.
const BUILT_AT: &str = "/tmp";

impl Furniture {
    /// Makes the root file system `root` this process's root, with all that a command needs but
    /// /proc, whose place is returned: a process of the right namespace is to mount it.
    ///
    /// # Errors
    /// When a mount is refused or `root` is not a root file system.
    pub(super) fn enter(&self, root: &Path, script: Option<&[u8]>) -> Result<OwnedFd> {
        // A mount of its own, so that it can become the root.
        Tree::of(root)?.attach(&point(root)?)?;
        let root = point(root)?;
        let built = Path::new(BUILT_AT);
        let locked = self.locked.as_deref().map(Tree::of).transpose()?;
        let tools = self.tools.as_deref().map(Tree::of).transpose()?;
        let archives = self.archives.as_deref().map(Tree::of).transpose()?;
        let resolver = fs::read("/etc/resolv.conf").ok();
        tmpfs(built, "mode=755", MsFlags::empty())?;
        let proc = directory(&root, "proc")?;
        let made = |name: &str| -> Result<PathBuf> {
            let dir = built.join(name);
            fs::create_dir(&dir).with_context(|| format!("making {name}"))?;
            Ok(dir)
        };
        let dev = made("dev")?;
        make_dev(&dev)?;
        Tree::of(&dev)?.attach(&directory(&root, "dev")?)?;
        // The host's /sys would make the image depend on the machine that builds it.
        let sys = made("sys")?;
        tmpfs(&sys, "mode=555", MsFlags::MS_RDONLY)?;
        Tree::of(&sys)?.attach(&directory(&root, "sys")?)?;
        if !self.shared {
            for (name, mode) in [("run", "mode=755"), ("tmp", "mode=1777")] {
                let dir = made(name)?;
                tmpfs(&dir, mode, MsFlags::empty())?;
                Tree::of(&dir)?.attach(&directory(&root, name)?)?;
            }
        }
        let run = directory(&root, "run")?;
        directory(&run, "lock")?;
        if let Some(tools) = tools {
            tools.attach(&directory(&root, TOOLS_DIR)?)?;
        }
        if let (Some(archives), Some(at)) = (archives, point_inside(&root, ARCHIVES)?) {
            archives.attach(&at)?;
        }
        let private = self.private_files(&made("private")?, script, locked, resolver.as_deref())?;
        if !self.stand_ins {
            stand_in(&root, &private)?;
        }
        if resolver.is_some() {
            resolver_in_run(&root, &run, &private.join("resolv.conf"))?;
        }
        Tree::of(&private)?.attach(&directory(&run, "westwork-gen")?)?;
        pivot_to(&root)?;
        Ok(proc)
    }

    /// Fills `dir`, which is seen as [`PRIVATE_DIR`].
    fn private_files(
        &self,
        dir: &Path,
        script: Option<&[u8]>,
        locked: Option<Tree>,
        resolver: Option<&[u8]>,
    ) -> Result<PathBuf> {
        tmpfs(dir, "mode=755", MsFlags::empty())?;
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.join(name);
            fs::write(&path, bytes).with_context(|| format!("placing {name}"))
        };
        if let Some(text) = &self.apt_conf {
            write("apt.conf", text.as_bytes())?;
        }
        if let Some(text) = script {
            write("step.sh", text)?;
        }
        write("resolv.conf", resolver.unwrap_or_default())?;
        write("init", INIT)?;
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(dir.join("init"), executable).context("making init executable")?;
        let empty = dir.join("empty");
        fs::create_dir(&empty).context("making an empty directory")?;
        if let Some(locked) = locked {
            let at = dir.join("locked");
            fs::create_dir(&at).context("making a directory for the locked index")?;
            locked.attach(&point(&at)?)?;
            write(
                "locked.list",
                (locked_source(&self.release) + "\n").as_bytes(),
            )?;
        }
        Ok(dir.to_owned())
    }
}

/// The directory `name` of `root`, made if it is missing.
fn directory(root: &OwnedFd, name: &str) -> Result<OwnedFd> {
    if point_inside(root, name)?.is_none() {
        match mkdirat(root, name, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error).with_context(|| format!("making {name}")),
        }
    }
    let found = point_inside(root, name)?
        .with_context(|| format!("/{name} of the image is a link that leads nowhere"))?;
    let kind = nix::sys::stat::fstat(&found)
        .with_context(|| format!("looking at {name}"))?
        .st_mode;
    ensure!(
        kind & libc::S_IFMT == libc::S_IFDIR,
        "/{name} of the image is not a directory"
    );
    Ok(found)
}

/// Where /etc/resolv.conf is a link into /run, as resolvers make it, its target is shown.
fn resolver_in_run(root: &OwnedFd, run: &OwnedFd, text: &Path) -> Result<()> {
    let Some(etc) = point_inside(root, "etc")? else {
        return Ok(());
    };
    let Ok(target) = nix::fcntl::readlinkat(&etc, "resolv.conf") else {
        return Ok(());
    };
    let normal = normalise(&Path::new("/etc").join(target));
    let Ok(below) = normal.strip_prefix("/run") else {
        return Ok(());
    };
    let (Some(parent), Some(name)) = (below.parent(), below.file_name()) else {
        return Ok(());
    };
    let mut dir = run.try_clone().context("opening /run again")?;
    for part in parent.components() {
        let part = part
            .as_os_str()
            .to_str()
            .context("a name that is not UTF-8")?;
        dir = directory(&dir, part)?;
    }
    let name = name.to_str().context("a name that is not UTF-8")?;
    let how = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    // An empty file only: what it shows is mounted over it.
    let mode = Mode::from_bits_truncate(0o644);
    if openat(&dir, name, how | OFlag::O_CLOEXEC, mode).is_ok() {
        if let Some(at) = point_inside(&dir, name)? {
            Tree::of(text)?.attach(&at)?;
        }
    }
    Ok(())
}

/// The locked packages as a line of apt sources.
pub(crate) fn locked_source(suite: &str) -> String {
    format!("deb [trusted=yes] copy:/{LOCKED_DIR} {suite} main")
}

/// The bootstrap tool copies the build host's resolver configuration.
pub(crate) fn forget_resolver(root: &Root) -> Result<()> {
    const LONGEST: u64 = 1 << 20;
    let Ok(host) = fs::read("/etc/resolv.conf") else {
        return Ok(());
    };
    // A link is the tree's own.
    let is_file = |entry: &DirEntry| entry.name == "resolv.conf" && entry.kind == Kind::File;
    if !root.entries("etc")?.iter().any(is_file) {
        return Ok(());
    }
    let found = root.read("etc/resolv.conf", LONGEST);
    if found.is_ok_and(|found| found.as_ref() == Some(&host)) {
        root.remove("etc/resolv.conf")?;
    }
    Ok(())
}

/// `/etc/../run/x` as `/run/x`, without looking at the file system.
fn normalise(path: &Path) -> PathBuf {
    let mut normal = PathBuf::from("/");
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                normal.pop();
            }
            std::path::Component::Normal(name) => normal.push(name),
            _ => {}
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_out_of_etc_are_followed_by_name() {
        assert_eq!(
            normalise(Path::new("/etc/../run/systemd/resolve/stub-resolv.conf")),
            Path::new("/run/systemd/resolve/stub-resolv.conf")
        );
    }
}
