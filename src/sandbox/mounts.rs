//! Mounts by descriptor: nothing here resolves a path of a foreign tree.
//!
//! open_tree(2), move_mount(2) and mount_setattr(2), of Linux 5.12 and newer.

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Layers that one overlay can have below it if the kernel takes their names in one page of options.
pub const LAYERS_IN_A_PAGE: usize = 205;

/// Layers that one overlay can have below it if the kernel takes them one by one: it has room for
/// 500 (OVL_MAX_STACK), some of which are not a step's.
const LAYERS_ONE_BY_ONE: usize = 490;

/// Since 6.7 overlayfs takes its lower directories one by one (`lowerdir+`).
const ONE_BY_ONE: (u32, u32) = (6, 7);

/// Layers that one overlay can have below it, on a Linux of this version.
pub fn most_layers(linux: Option<(u32, u32)>) -> usize {
    match linux {
        Some(version) if version >= ONE_BY_ONE => LAYERS_ONE_BY_ONE,
        _ => LAYERS_IN_A_PAGE,
    }
}

/// What is seen at a path, and below it, as a mount that is nowhere yet.
#[derive(Debug)]
pub struct Tree(OwnedFd);

impl Tree {
    /// A copy of what is at `path` now, with the mounts below it.
    ///
    /// # Errors
    /// When there is nothing, or the kernel forbids it.
    pub fn of(path: &Path) -> Result<Self> {
        let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_RECURSIVE as u32;
        let text = CString::new(path.as_os_str().as_bytes()).context("a path with a zero byte")?;
        // SAFETY: `text` is a string that ends with a zero byte; the result is a new descriptor.
        #[allow(unsafe_code)]
        let fd =
            unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, text.as_ptr(), flags) };
        Self::from_result(fd).with_context(|| format!("opening {}", path.display()))
    }

    /// As [`Tree::of`], of what is opened as `at`.
    ///
    /// # Errors
    /// As there.
    pub fn at(at: &OwnedFd) -> Result<Self> {
        let flags = libc::OPEN_TREE_CLONE
            | libc::OPEN_TREE_CLOEXEC
            | libc::AT_RECURSIVE as u32
            | libc::AT_EMPTY_PATH as u32;
        // SAFETY: an open descriptor and an empty string; the result is a new descriptor.
        #[allow(unsafe_code)]
        let fd = unsafe { libc::syscall(libc::SYS_open_tree, at.as_raw_fd(), c"".as_ptr(), flags) };
        Self::from_result(fd).context("copying a mount")
    }

    /// Whether it is a directory.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn is_dir(&self) -> Result<bool> {
        let stat = nix::sys::stat::fstat(&self.0).context("looking at a mount")?;
        Ok(stat.st_mode & libc::S_IFMT == libc::S_IFDIR)
    }

    /// The process namespace of the caller, as /proc shows it.
    ///
    /// # Errors
    /// When the kernel forbids it: a container's engine may hide parts of /proc.
    pub fn proc() -> Result<Self> {
        const FSOPEN_CLOEXEC: libc::c_uint = 1;
        const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
        const FSMOUNT_CLOEXEC: libc::c_uint = 1;
        let attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
        // SAFETY: a name that ends with a zero byte; the result is a new descriptor.
        #[allow(unsafe_code)]
        let fd = unsafe { libc::syscall(libc::SYS_fsopen, c"proc".as_ptr(), FSOPEN_CLOEXEC) };
        let made = Self::from_result(fd).context("opening proc")?;
        let none = std::ptr::null::<libc::c_char>();
        // SAFETY: the descriptor of fsopen(2), and no key or value.
        #[allow(unsafe_code)]
        let result = unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                made.0.as_raw_fd(),
                FSCONFIG_CMD_CREATE,
                none,
                none,
                0,
            )
        };
        Errno::result(result).context("making proc")?;
        // SAFETY: as above; the result is a new descriptor.
        #[allow(unsafe_code)]
        let fd = unsafe {
            libc::syscall(
                libc::SYS_fsmount,
                made.0.as_raw_fd(),
                FSMOUNT_CLOEXEC,
                attributes as libc::c_uint,
            )
        };
        Self::from_result(fd).context("mounting proc")
    }

    /// Its root, by which what is in it can be opened once it is attached.
    pub fn into_point(self) -> OwnedFd {
        self.0
    }

    fn from_result(fd: libc::c_long) -> Result<Self> {
        let fd = Errno::result(fd)?;
        // SAFETY: the kernel has just made this descriptor for us.
        #[allow(unsafe_code)]
        Ok(Self(unsafe {
            OwnedFd::from_raw_fd(i32::try_from(fd).context("a descriptor out of range")?)
        }))
    }

    /// Sets attributes (`MOUNT_ATTR_…` of mount_setattr(2)) on all its mounts. `user_namespace`
    /// is the one whose map an id-mapped mount takes.
    fn set(&self, attributes: u64, user_namespace: Option<&OwnedFd>) -> Result<()> {
        let attr = libc::mount_attr {
            attr_set: attributes,
            attr_clr: 0,
            propagation: 0,
            userns_fd: user_namespace.map_or(0, |fd| fd.as_raw_fd() as u64),
        };
        let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
        // SAFETY: the structure lives through the call and its size is told.
        #[allow(unsafe_code)]
        let result = unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                self.0.as_raw_fd(),
                c"".as_ptr(),
                flags,
                &raw const attr,
                size_of::<libc::mount_attr>(),
            )
        };
        Errno::result(result)?;
        Ok(())
    }

    /// Forbids writing to it.
    ///
    /// # Errors
    /// When the kernel forbids it.
    pub fn read_only(&self) -> Result<()> {
        self.set(libc::MOUNT_ATTR_RDONLY, None)
            .context("making a mount read-only")
    }

    /// Forbids writing to the mount at `at`, though not to those below it.
    ///
    /// # Errors
    /// When `at` is none, or the kernel forbids it.
    pub fn remount_read_only(at: &Path) -> Result<()> {
        let flags =
            MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID;
        mount(None::<&str>, at, None::<&str>, flags, None::<&str>)
            .with_context(|| format!("making {} read-only", at.display()))
    }

    /// A path of this process by which it can be opened.
    pub fn path(&self) -> String {
        path_of(&self.0)
    }

    /// Shows its owners as `user_namespace` has them: id 0 on the disk is its root's.
    ///
    /// # Errors
    /// When the file system, or this process, cannot do that.
    pub fn id_mapped(self, user_namespace: &OwnedFd) -> Result<Self> {
        self.set(libc::MOUNT_ATTR_IDMAP, Some(user_namespace))
            .context("mapping the owners of a mount")?;
        Ok(self)
    }

    /// Puts it onto `at`, a file or a directory.
    ///
    /// # Errors
    /// When `at` is of another kind.
    pub fn attach(&self, at: &OwnedFd) -> Result<()> {
        let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
        // SAFETY: two open descriptors and two empty strings.
        #[allow(unsafe_code)]
        let result = unsafe {
            libc::syscall(
                libc::SYS_move_mount,
                self.0.as_raw_fd(),
                c"".as_ptr(),
                at.as_raw_fd(),
                c"".as_ptr(),
                flags,
            )
        };
        Errno::result(result).context("attaching a mount")?;
        Ok(())
    }
}

/// The user namespace of process `pid`.
///
/// # Errors
/// When there is no such process.
pub fn user_namespace(pid: nix::unistd::Pid) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/ns/user");
    open(
        path.as_str(),
        OFlag::O_RDONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
    .with_context(|| format!("opening {path}"))
}

/// Opens `path` only to name it: nothing is read, and a device or FIFO is not touched.
///
/// # Errors
/// When there is nothing.
pub fn point(path: &Path) -> Result<OwnedFd> {
    open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .with_context(|| format!("opening {}", path.display()))
}

/// As [`point`], of `path` inside `root`: links lead nowhere else (openat2(2), RESOLVE_IN_ROOT).
/// `None` when there is nothing.
///
/// # Errors
/// When a link goes in a circle, or what is there cannot be opened.
pub fn point_inside(root: &OwnedFd, path: &str) -> Result<Option<OwnedFd>> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    match openat2(root, path, how) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("opening {path} in the root")),
    }
}

/// A path of this process by which a descriptor can be named in mount(2).
pub fn path_of(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Shows the file or directory `what` at `at`, with what is mounted below it.
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

/// Mounts a fresh tmpfs; set-id programs on it are ordinary ones.
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

/// Nothing mounted from here on is seen outside.
pub(crate) fn make_private() -> Result<()> {
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .context("making mounts private")
}

/// Detaches the mount at `at`, now or when its last user goes.
pub(crate) fn unmount(at: &Path) -> Result<()> {
    umount2(at, MntFlags::MNT_DETACH).with_context(|| format!("unmounting {}", at.display()))
}

/// As [`pivot`], of a directory that is opened.
///
/// # Errors
/// As there.
pub(crate) fn pivot_to(root: &OwnedFd) -> Result<()> {
    nix::unistd::fchdir(root).context("changing to the new root")?;
    nix::unistd::pivot_root(".", ".").context("changing the root")?;
    umount2(".", MntFlags::MNT_DETACH).context("detaching the old root")?;
    std::env::set_current_dir("/").context("changing to the new root")
}

/// Makes the mount `root` the root of this process and of all that share its mounts, and lets go
/// of the old one: no path leads there any more.
///
/// # Errors
/// When `root` is no mount.
pub(crate) fn pivot(root: &Path) -> Result<()> {
    // pivot_root(2), NOTES: the old root is then mounted over the new one, and detached.
    pivot_to(&point(root)?)
}
