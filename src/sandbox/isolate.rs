//! Namespaces for one command: it sees what it may see, and whatever it leaves running dies with
//! it.
//!
//! A host script has a user namespace of its own as well, below the build's: the kernel then
//! locks together the mounts that it finds, so that it can take none of them away and write to
//! none that is read-only, although it may mount what it likes (mount_namespaces(7)).

use super::confine::{confine, confine_in_image};
use super::mounts::{self, Tree, make_private, point_inside};
use super::rootfs::{CONF_PATH, Furniture, INIT_PATH, PRIVATE_DIR};
use super::stand_ins::{self, TOOLS_DIR};
use super::view::View;
use super::watch::{OPENED_VAR, Opened, Watch};
use super::{die_with_parent, ids, pipe};
use crate::base::command::{Command, Program};
use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::{ForkResult, Pid, fork};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Entries of /proc that tell of the machine or reach it, as container engines mask them.
const MASKED: [&str; 8] = [
    "kallsyms",
    "kcore",
    "keys",
    "kmsg",
    "sched_debug",
    "sysrq-trigger",
    "timer_list",
    "vmallocinfo",
];

/// Names the descriptor to which a script's end is reported.
pub const REPORT_VAR: &str = "WESTWORK_GEN_REPORT";
/// `FILE:LINE` of a script that called another, for the chroot.
pub const AT_VAR: &str = "WESTWORK_GEN_AT";

/// Where a command runs.
pub enum Where<'a> {
    /// On the host's side, seeing this.
    Host(&'a View),
    /// In a root file system, with these things added to it.
    Image {
        /// The root file system.
        root: &'a Path,
        /// What the command finds in it.
        furniture: &'a Furniture,
    },
}

/// A command, and whether it has the network.
pub struct Isolation<'a> {
    /// Where it runs.
    pub place: Where<'a>,
    /// Program and arguments.
    pub argv: &'a [OsString],
    /// Text of a script, which the command finds as `step.sh` in [`PRIVATE_DIR`] of its root.
    pub script: Option<&'a [u8]>,
    /// Whether it has the network.
    pub network: bool,
}

/// Runs a command in namespaces of its own, inside the sandbox.
///
/// Takes over the process, which must have one thread. Standard streams and environment are
/// the command's. Returns its exit code, or 128 + the signal that ended it.
///
/// # Errors
/// When the namespace or the mounts cannot be made. The command was not run then.
pub fn isolate(what: &Isolation<'_>) -> Result<i32> {
    die_with_parent()?;
    let mut spaces = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC;
    if !what.network {
        spaces |= CloneFlags::CLONE_NEWNET;
    }
    match &what.place {
        Where::Image { root, furniture } => {
            unshare(spaces | CloneFlags::CLONE_NEWNS).context("making the step's namespaces")?;
            make_private()?;
            // What lies beneath the command's own mounts.
            let beneath = mounts::point(root)?;
            let before = stand_ins::there(&beneath)?;
            let code = in_child(|| {
                // Before the root is changed: the kernel gives no /proc to whoever sees none.
                let proc = Tree::proc()?;
                proc.attach(&furniture.enter(root, what.script)?)?;
                mask(&proc.into_point())?;
                exec(what)
            })?;
            if !furniture.stand_ins {
                // The root of this process is the command's by now.
                let tools = Path::new("/").join(TOOLS_DIR);
                let _ = umount2(&tools, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
                stand_ins::forget_in(&beneath, &before)?;
            }
            Ok(code)
        }
        Where::Host(view) => {
            let dir = std::env::current_dir().context("finding the working directory")?;
            unshare(CloneFlags::CLONE_NEWNS).context("making the step's namespaces")?;
            make_private()?;
            view.enter(BTreeMap::new(), Some(&Tree::of(Path::new("/proc"))?))?;
            // Where the script was started from, if it sees that.
            let _ = std::env::set_current_dir(dir);
            let watch = match std::env::var_os(OPENED_VAR) {
                Some(_) => Watch::new(view),
                None => Err(anyhow!("nobody asks")),
            };
            let (code, opened) = with_own_ids(spaces, watch, || {
                in_child(|| {
                    let at = mounts::point(Path::new("/proc"))?;
                    let proc = Tree::proc()?;
                    proc.attach(&at)?;
                    mask(&proc.into_point())?;
                    in_child(|| exec(what))
                })
            })?;
            report_opened(&opened)?;
            Ok(code)
        }
    }
}

/// Runs `work` in a child process, and waits for it: its exit code is what `work` returned.
fn in_child(work: impl FnOnce() -> Result<i32>) -> Result<i32> {
    // SAFETY: this program has one thread; the child goes on as an ordinary process.
    #[allow(unsafe_code)]
    match unsafe { fork() }.context("forking a step's process")? {
        ForkResult::Parent { child } => {
            // What the command leaves may not look into this process, which has more rights.
            nix::sys::prctl::set_dumpable(false).context("closing the process to others")?;
            wait_for(child)
        }
        ForkResult::Child => {
            let code = die_with_parent()
                .and_then(|()| work())
                .unwrap_or_else(|error| {
                    eprintln!("westwork-gen: {error:#}");
                    125
                });
            std::process::exit(code)
        }
    }
}

/// Runs `work` in a child with a user namespace of its own, with the same ids, that owns `spaces`
/// and a copy of the mounts.
fn with_own_ids(
    spaces: CloneFlags,
    watch: Result<Watch>,
    work: impl FnOnce() -> Result<i32>,
) -> Result<(i32, Opened)> {
    let map = ids::own_lines()?;
    let (mut ready_rx, mut ready_tx) = pipe()?;
    let (mut go_rx, mut go_tx) = pipe()?;
    // SAFETY: as above.
    #[allow(unsafe_code)]
    match unsafe { fork() }.context("forking a step's process")? {
        ForkResult::Parent { child } => {
            drop((ready_tx, go_rx));
            if ready_rx.read_exact(&mut [0]).is_ok() {
                for (name, lines) in &map {
                    let path = format!("/proc/{child}/{name}");
                    std::fs::write(&path, lines).with_context(|| format!("writing {path}"))?;
                }
                go_tx.write_all(b"g").context("releasing the step")?;
            }
            drop(go_tx);
            // A thread only now: a process that forks has one.
            let (end, ended) = pipe()?;
            let listener = watch.map(|watch| std::thread::spawn(move || watch.listen(end.into())));
            let code = wait_for(child)?;
            drop(ended);
            let opened = listener.and_then(|it| it.join().map_err(|_| anyhow!("it ended early")));
            Ok((
                code,
                opened.unwrap_or_else(|error| Opened::nothing_known(format!("{error:#}"))),
            ))
        }
        ForkResult::Child => {
            drop((ready_rx, go_tx));
            let mut begin = || -> Result<()> {
                die_with_parent()?;
                unshare(spaces | CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
                    .context("making the script's namespaces")?;
                ready_tx.write_all(b"r").context("asking for ids")?;
                go_rx.read_exact(&mut [0]).context("waiting for ids")?;
                die_with_parent()
            };
            let code = begin().and_then(|()| work()).unwrap_or_else(|error| {
                eprintln!("westwork-gen: {error:#}");
                125
            });
            std::process::exit(code)
        }
    }
}

/// Makes /proc/sys read-only, and covers what tells of the machine.
fn mask(proc: &OwnedFd) -> Result<()> {
    if let Some(sys) = point_inside(proc, "sys")? {
        let shown = Tree::at(&sys)?;
        shown.read_only()?;
        shown.attach(&sys)?;
    }
    for name in MASKED {
        if let Some(at) = point_inside(proc, name)? {
            Tree::of(Path::new("/dev/null"))?.attach(&at)?;
        }
    }
    Ok(())
}

/// The descriptor of a script's report, which is handed on. Any that this program has opened for
/// itself ends with the exec all the same, whatever a script writes into the variable.
fn report() -> Option<u32> {
    std::env::var_os(REPORT_VAR)?.to_str()?.parse().ok()
}

/// Writes what a script has opened to the descriptor that was handed on for it, if one was.
fn report_opened(opened: &Opened) -> Result<()> {
    let number = std::env::var_os(OPENED_VAR);
    let Some(number) = number.as_ref().and_then(|it| it.to_str()) else {
        return Ok(());
    };
    let path = format!("/proc/self/fd/{number}");
    let to = std::fs::OpenOptions::new().append(true).open(&path);
    let mut to = to.with_context(|| format!("opening {path}"))?;
    to.write_all(opened.text().as_bytes())
        .context("reporting what was opened")
}

/// Becomes the command; in the image, a process 1 of its own that starts it.
fn exec(what: &Isolation<'_>) -> Result<i32> {
    let program = what.argv.first().context("no command given")?;
    let command = match &what.place {
        Where::Host(_) => {
            confine(report())?;
            let command = Command::new(Program::Inside(program.clone())).args(&what.argv[1..]);
            command.unset(OPENED_VAR)
        }
        Where::Image { .. } => {
            confine_in_image(report())?;
            let init = Program::Inside(INIT_PATH.into());
            let mut command = Command::new(init).args(what.argv);
            command = command.set("APT_CONFIG", CONF_PATH);
            for internal in ["WESTWORK_GEN", AT_VAR, REPORT_VAR, OPENED_VAR] {
                command = command.unset(internal);
            }
            command
        }
    };
    eprintln!("westwork-gen: {:#}", command.exec());
    Ok(127)
}

/// The path of a script's text inside the root.
pub fn script_path() -> PathBuf {
    Path::new("/").join(PRIVATE_DIR).join("step.sh")
}

/// Collects children until `child` has ended.
fn wait_for(child: Pid) -> Result<i32> {
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => return Ok(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                return Ok(128 + signal as i32);
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("waiting for the step"),
        }
    }
}
