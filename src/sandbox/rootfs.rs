//! What a command finds in a root file system it is run in: /proc, a small /dev, an empty
//! /sys, fresh /run and /tmp, working name resolution, and no service that could start.
//!
//! Everything here lives in the command's own mount namespace. The few names that must
//! exist in the tree itself while it runs are taken back afterwards, so a layer shows only
//! what the step did.

use crate::base::inside::{Entry, Kind, Root};
use crate::sandbox::mount_proc;
use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Where the build's own things (step script, apt configuration) are inside the chroot:
/// on the fresh /run, so never in a layer.
pub const PRIVATE_DIR: &str = "run/westwork-gen";
/// Mount point of the native tools inside the chroot; taken back with the other names.
pub const TOOLS_DIR: &str = ".westwork-gen";
/// Names the host directory to be seen at /var/cache/apt/archives.
pub const ARCHIVES_VAR: &str = "WESTWORK_GEN_ARCHIVES";
/// Names the host directory to be seen at [`TOOLS_DIR`].
pub const TOOLS_VAR: &str = "WESTWORK_GEN_TOOLS";
/// Names the host directory with the index of locked packages, if the build is locked.
pub const LOCKED_VAR: &str = "WESTWORK_GEN_LOCKED";
/// Where that is inside the chroot, and outside while a bootstrap runs.
pub const LOCKED_DIR: &str = "run/westwork-gen/locked";
/// Contents of the apt configuration that is in force for this build only.
pub const APT_CONF_VAR: &str = "WESTWORK_GEN_APT_CONF";

/// Names the core that qemu-user emulates.
pub const QEMU_CPU_VAR: &str = "QEMU_CPU";
/// Names the emulator.
pub const EMULATOR_VAR: &str = "WESTWORK_GEN_EMULATOR";

const ARCHIVES: &str = "var/cache/apt/archives";
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// invoke-rc.d(8): 101 forbids every action.
pub(crate) const POLICY: &str = "#!/bin/sh\nexit 101\n";

/// Path of the build's apt configuration inside the chroot.
pub fn conf_path() -> String {
    format!("/{}/apt.conf", PRIVATE_DIR)
}

/// A root file system made ready for one command.
pub struct Furnished {
    stand_ins: Vec<StandIn>,
    mount_point: Option<PathBuf>,
}

impl Furnished {
    /// Mounts and places what a command needs below `root`.
    ///
    /// # Errors
    /// When a mount is refused or `root` is not a root file system.
    pub fn new(root: &Path) -> Result<Self> {
        for name in ["proc", "sys", "dev", "run", "tmp"] {
            fs::create_dir_all(root.join(name))
                .with_context(|| format!("making {}", root.join(name).display()))?;
        }
        mount_proc(&root.join("proc"))?;
        // The host's /sys would make the image depend on the machine that builds it.
        tmpfs(&root.join("sys"), "mode=555", MsFlags::MS_RDONLY)?;
        make_dev(&root.join("dev"))?;
        tmpfs(&root.join("run"), "mode=755", MsFlags::empty())?;
        tmpfs(&root.join("tmp"), "mode=1777", MsFlags::empty())?;
        let mount_point = mount_tools(root)?;
        mount_archives(root)?;
        place_private_files(root)?;
        let mut stand_ins = Vec::new();
        if root.join("usr/sbin").is_dir() {
            stand_ins.push(StandIn::new(
                &root.join("usr/sbin/policy-rc.d"),
                POLICY.as_bytes(),
                0o755,
            )?);
        }
        stand_ins.extend(resolv_conf(root)?);
        Ok(Self {
            stand_ins,
            mount_point,
        })
    }

    /// Takes back what was placed in the tree itself. Mounts go with the namespace.
    pub fn clear(self) -> Result<()> {
        for stand_in in self.stand_ins {
            stand_in.clear()?;
        }
        if let Some(path) = self.mount_point {
            crate::sandbox::unmount(&path)?;
            fs::remove_dir(&path).with_context(|| format!("removing {}", path.display()))?;
        }
        Ok(())
    }
}

/// Makes `root` the process's root and working directory.
pub fn chroot_into(root: &Path) -> Result<()> {
    nix::unistd::chroot(root).with_context(|| format!("changing root to {}", root.display()))?;
    std::env::set_current_dir("/").context("changing to the new root")
}

pub(crate) fn tmpfs(at: &Path, options: &str, flags: MsFlags) -> Result<()> {
    mount(
        Some("tmpfs"),
        at,
        Some("tmpfs"),
        MsFlags::MS_NOSUID | flags,
        Some(options),
    )
    .with_context(|| format!("mounting a tmpfs at {}", at.display()))
}

/// Shows the file or directory `what` at `at`, without what is mounted below it.
pub(crate) fn bind(what: &Path, at: &Path) -> Result<()> {
    mount(
        Some(what),
        at,
        None::<&str>,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        None::<&str>,
    )
    .with_context(|| format!("mounting {} at {}", what.display(), at.display()))
}

/// The devices a program may count on, and no other.
fn make_dev(dev: &Path) -> Result<()> {
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

/// Shows the native tools, if this build has any, and returns the mount point made for them.
pub(crate) fn mount_tools(root: &Path) -> Result<Option<PathBuf>> {
    let at = root.join(TOOLS_DIR);
    let Some(tools) = std::env::var_os(TOOLS_VAR) else {
        return Ok(None);
    };
    let made = match fs::create_dir(&at) {
        Ok(()) => Some(at.clone()),
        // Made by whoever mounted it around us (a bootstrap in progress).
        Err(error) if error.kind() == ErrorKind::AlreadyExists => None,
        Err(error) => return Err(error).with_context(|| format!("making {}", at.display())),
    };
    bind(Path::new(&tools), &at)?;
    Ok(made)
}

fn mount_archives(root: &Path) -> Result<()> {
    let at = root.join(ARCHIVES);
    match std::env::var_os(ARCHIVES_VAR) {
        Some(archives) if at.is_dir() => bind(Path::new(&archives), &at),
        _ => Ok(()),
    }
}

fn place_private_files(root: &Path) -> Result<()> {
    let dir = root.join(PRIVATE_DIR);
    fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    if let Some(text) = std::env::var_os(APT_CONF_VAR) {
        fs::write(dir.join("apt.conf"), text.as_encoded_bytes())
            .context("writing the build's apt.conf")?;
    }
    if std::env::var_os(LOCKED_VAR).is_some() {
        mount_locked(root)?;
        let source = locked_source(&std::env::var("RELEASE").context("reading RELEASE")?);
        fs::write(dir.join("locked.list"), source + "\n").context("writing the locked source")?;
    }
    fs::create_dir_all(root.join("run/lock")).context("making /run/lock")
}

/// Shows the index of locked packages below `root`, whose /run is a fresh one.
pub(crate) fn mount_locked(root: &Path) -> Result<()> {
    let locked = std::env::var_os(LOCKED_VAR).context("finding the locked index")?;
    let at = root.join(LOCKED_DIR);
    fs::create_dir_all(&at).with_context(|| format!("making {}", at.display()))?;
    bind(Path::new(&locked), &at)
}

/// The locked packages as a line of apt sources.
pub(crate) fn locked_source(suite: &str) -> String {
    format!("deb [trusted=yes] copy:/{LOCKED_DIR} {suite} main")
}

/// Name resolution as on the host, without leaving a trace of the host in the image.
fn resolv_conf(root: &Path) -> Result<Option<StandIn>> {
    let path = root.join("etc/resolv.conf");
    let Ok(text) = fs::read("/etc/resolv.conf") else {
        return Ok(None);
    };
    if !root.join("etc").is_dir() {
        return Ok(None);
    }
    match fs::read_link(&path) {
        Ok(target) => {
            // A link into /run, as resolvers make it: /run is fresh, so the file can be put there.
            let inside: PathBuf = Path::new("/etc").join(target);
            let normal = normalise(&inside);
            if let Ok(below_run) = normal.strip_prefix("/run") {
                let file = root.join("run").join(below_run);
                if let Some(dir) = file.parent() {
                    fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
                }
                fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
            }
            Ok(None)
        }
        Err(_) => StandIn::new(&path, &text, 0o644).map(Some),
    }
}

/// The bootstrap tool copies the build host's resolver configuration.
pub(crate) fn forget_resolver(root: &Root) -> Result<()> {
    const LONGEST: u64 = 1 << 20;
    let Ok(host) = fs::read("/etc/resolv.conf") else {
        return Ok(());
    };
    // A link is the tree's own.
    let is_file = |entry: &Entry| entry.name == "resolv.conf" && entry.kind == Kind::File;
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

/// A file with temporary contents. What was there before comes back, unless the command
/// replaced it itself.
struct StandIn {
    path: PathBuf,
    contents: Vec<u8>,
    before: Option<Before>,
}

struct Before {
    contents: Vec<u8>,
    mode: u32,
    modified: std::time::SystemTime,
}

impl StandIn {
    fn new(path: &Path, contents: &[u8], mode: u32) -> Result<Self> {
        let before = match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_file() => Some(Before {
                contents: fs::read(path).with_context(|| format!("reading {}", path.display()))?,
                mode: meta.permissions().mode(),
                modified: meta.modified().context("reading a time stamp")?,
            }),
            _ => None,
        };
        write_with_mode(path, contents, mode)?;
        Ok(Self {
            path: path.to_owned(),
            contents: contents.to_owned(),
            before,
        })
    }

    fn clear(self) -> Result<()> {
        if fs::read(&self.path).ok().as_ref() != Some(&self.contents) {
            return Ok(());
        }
        match self.before {
            None => fs::remove_file(&self.path)
                .with_context(|| format!("removing {}", self.path.display())),
            Some(before) => {
                write_with_mode(&self.path, &before.contents, before.mode)?;
                fs::File::options()
                    .write(true)
                    .open(&self.path)
                    .and_then(|file| file.set_modified(before.modified))
                    .with_context(|| format!("restoring {}", self.path.display()))
            }
        }
    }
}

fn write_with_mode(path: &Path, contents: &[u8], mode: u32) -> Result<()> {
    fs::write(path, contents).with_context(|| format!("writing {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("setting the mode of {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_in_leaves_what_the_command_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        fs::write(&path, "own").unwrap();
        let stand_in = StandIn::new(&path, b"host", 0o644).unwrap();
        stand_in.clear().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"own");

        let stand_in = StandIn::new(&path, b"host", 0o644).unwrap();
        fs::write(&path, "new").unwrap();
        stand_in.clear().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");

        fs::remove_file(&path).unwrap();
        StandIn::new(&path, b"host", 0o644)
            .unwrap()
            .clear()
            .unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn links_out_of_etc_are_followed_by_name() {
        assert_eq!(
            normalise(Path::new("/etc/../run/systemd/resolve/stub-resolv.conf")),
            Path::new("/run/systemd/resolve/stub-resolv.conf")
        );
    }
}
