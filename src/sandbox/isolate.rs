//! A process namespace for one command: whatever it leaves running dies with it.

use crate::sandbox::rootfs::{
    APT_CONF_VAR, ARCHIVES_VAR, Furnished, PRIVATE_DIR, TOOLS_VAR, chroot_into, conf_path,
};
use crate::sandbox::{die_with_parent, make_mounts_private, mount_proc};
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::{ForkResult, Pid, fork};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a command runs.
#[derive(Debug, Clone)]
pub struct Isolation {
    /// Root file system to enter; `None` stays in the host's.
    pub root: Option<PathBuf>,
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Text of a script, placed in the root as `step.sh` in [`PRIVATE_DIR`].
    pub script: Option<Vec<u8>>,
}

/// Runs a command in a mount, pid and ipc namespace of its own, inside the sandbox.
///
/// Takes over the process, which must have one thread. Standard streams and environment are
/// the command's. Returns its exit code, or 128 + the signal that ended it.
///
/// # Errors
/// When the namespace or the mounts cannot be made. The command was not run then.
pub fn isolate(what: &Isolation) -> Result<i32> {
    die_with_parent()?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC)
        .context("making the step's namespaces")?;
    make_mounts_private()?;
    // SAFETY: this program has one thread; the child goes on as an ordinary process.
    #[allow(unsafe_code)]
    match unsafe { fork() }.context("forking the step's first process")? {
        ForkResult::Parent { child } => wait_for(child),
        ForkResult::Child => {
            let code = first_process(what).unwrap_or_else(|error| {
                eprintln!("westwork-gen: {error:#}");
                125
            });
            std::process::exit(code)
        }
    }
}

/// Process 1: sets the scene, starts the command, collects orphans, and ends with the command.
fn first_process(what: &Isolation) -> Result<i32> {
    die_with_parent()?;
    let furnished = match &what.root {
        Some(root) => {
            let furnished = Furnished::new(root)?;
            if let Some(script) = &what.script {
                let path = root.join(PRIVATE_DIR).join("step.sh");
                std::fs::write(path, script).context("placing the script")?;
            }
            Some(furnished)
        }
        None => {
            mount_proc(Path::new("/proc"))?;
            None
        }
    };
    // SAFETY: one thread, as above.
    #[allow(unsafe_code)]
    let child = match unsafe { fork() }.context("forking the command")? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let error = exec(what).expect_err("exec returns only on errors");
            eprintln!("westwork-gen: {error:#}");
            std::process::exit(127)
        }
    };
    let code = wait_for(child)?;
    if let Some(furnished) = furnished {
        furnished.clear()?;
    }
    Ok(code)
}

fn exec(what: &Isolation) -> Result<()> {
    if let Some(root) = &what.root {
        chroot_into(root)?;
    }
    let (program, args) = what.argv.split_first().context("no command given")?;
    let mut command = Command::new(program);
    command.args(args);
    if what.root.is_some() {
        command.env("APT_CONFIG", conf_path());
        for internal in [ARCHIVES_VAR, TOOLS_VAR, APT_CONF_VAR, "WESTWORK_GEN"] {
            command.env_remove(internal);
        }
    }
    let error = command.exec();
    Err(error).with_context(|| format!("starting {}", program.to_string_lossy()))
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
