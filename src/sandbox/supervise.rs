//! Waiting for a child while being interruptible.

use super::INTERRUPTED;
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

fn watched() -> SigSet {
    [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGCHLD,
    ]
    .into_iter()
    .collect()
}

/// Keeps the watched signals pending until [`wait_for`] looks at them.
pub(super) fn block_signals() -> nix::Result<()> {
    watched().thread_block()
}

/// Undoes [`block_signals`] in a process that handles signals the usual way.
pub(super) fn restore_signals() -> nix::Result<()> {
    watched().thread_unblock()
}

/// Waits until `child` ends. A signal to this process ends the child first, by `stop`: the
/// supervisor sends SIGTERM to the keeper, the keeper SIGKILL to process 1 of its namespace,
/// which takes everything in it along.
///
/// Returns the child's exit code, 128 + signal if it was killed, or [`INTERRUPTED`].
pub(super) fn wait_for(child: Pid, stop: Signal) -> Result<i32> {
    let mut interrupted = false;
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) if !interrupted => return Ok(code),
            Ok(WaitStatus::Signaled(_, signal, _)) if !interrupted => {
                return Ok(128 + signal as i32);
            }
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(Errno::ECHILD) => {
                return Ok(INTERRUPTED);
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("waiting for the build"),
        }
        match watched().wait().context("waiting for a signal")? {
            Signal::SIGCHLD => {}
            _ => {
                interrupted = true;
                match kill(child, stop) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(error) => return Err(error).context("ending the build"),
                }
            }
        }
    }
}
