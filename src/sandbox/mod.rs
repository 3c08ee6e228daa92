//! Namespaces that hold the whole build.
//!
//! [`enter`] splits the program in three: the *supervisor* stays where it was started and
//! only waits; the *keeper* sits at the edge of the new user namespace; the *builder* is
//! process 1 of a new process namespace and carries on with the program. When any of them
//! dies, however it dies, the kernel takes down every process and mount of the build.
//! There is no clean-up code to get wrong.

pub mod binfmt;
mod idmap;
pub mod isolate;
pub(crate) mod overlay;
pub mod rootfs;
mod supervise;

use anyhow::{Context, Result};
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, fork, setresgid, setresuid, setsid};
use std::fs::File;
use std::io::{Read, Write};

/// Which of the processes this is after [`enter`].
pub enum Role {
    /// Outside; the build is over and this is how it ended (a process exit code).
    Supervisor(i32),
    /// Inside, root of a fresh set of namespaces.
    Builder,
}

/// What the terminal's keys do while the build runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// The build has a session of its own: Ctrl-C reaches only the supervisor, which ends it.
    Detached,
    /// The build shares the terminal, for an interactive shell.
    Shared,
}

/// Exit code of an interrupted run: 128 + SIGINT.
pub const INTERRUPTED: i32 = 130;

/// Moves the rest of the program into fresh user, mount, pid, ipc and uts namespaces.
///
/// Must be called while the process has one thread. `hostname` is what the build sees as
/// its host name, so that nothing of the real one gets into an image.
///
/// # Errors
/// When namespaces or id maps cannot be had; `check` reports the same beforehand.
pub fn enter(hostname: &str, terminal: Terminal) -> Result<Role> {
    let (mut ready_rx, ready_tx) = pipe()?;
    let (go_rx, mut go_tx) = pipe()?;
    supervise::block_signals().context("blocking signals")?;
    // SAFETY: the process has a single thread here, so the child may go on as usual.
    #[allow(unsafe_code)]
    match unsafe { fork() }.context("forking the build's process")? {
        ForkResult::Parent { child } => {
            drop((ready_tx, go_rx));
            wait_ready(&mut ready_rx)?;
            idmap::write(child).context("mapping user ids into the build's namespace")?;
            go_tx.write_all(b"g").context("releasing the build")?;
            drop(go_tx);
            Ok(Role::Supervisor(supervise::wait_for(
                child,
                Signal::SIGTERM,
            )?))
        }
        ForkResult::Child => {
            drop((ready_rx, go_tx));
            keeper(ready_tx, go_rx, hostname, terminal)
        }
    }
}

/// Ends this program, as Ctrl-C would, when the one that started it dies.
pub fn stop_with_parent() -> Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).context("tying the process to its parent")
}

fn pipe() -> Result<(File, File)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("making a pipe")?;
    Ok((read.into(), write.into()))
}

fn wait_ready(ready: &mut File) -> Result<()> {
    let mut said = String::new();
    ready
        .read_to_string(&mut said)
        .context("waiting for the namespaces")?;
    anyhow::ensure!(said == "ready", "making namespaces: {said}");
    Ok(())
}

/// Makes the namespaces, waits for its ids, and forks the builder. Returns in the builder only.
fn keeper(mut ready: File, mut go: File, hostname: &str, terminal: Terminal) -> Result<Role> {
    die_with_parent()?;
    if terminal == Terminal::Detached {
        setsid().context("starting a session")?;
    }
    let spaces = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    if let Err(error) = unshare(spaces) {
        let _ = ready.write_all(error.to_string().as_bytes());
        std::process::exit(1);
    }
    ready
        .write_all(b"ready")
        .context("reporting to the supervisor")?;
    drop(ready);
    let mut byte = [0];
    if go.read(&mut byte).unwrap_or(0) == 0 {
        std::process::exit(1);
    }
    setresgid(0.into(), 0.into(), 0.into()).context("becoming group 0 of the namespace")?;
    setresuid(0.into(), 0.into(), 0.into()).context("becoming user 0 of the namespace")?;
    die_with_parent()?;
    // SAFETY: still a single thread.
    #[allow(unsafe_code)]
    match unsafe { fork() }.context("forking the builder")? {
        ForkResult::Parent { child } => {
            std::process::exit(supervise::wait_for(child, Signal::SIGKILL).unwrap_or(1))
        }
        ForkResult::Child => {
            die_with_parent()?;
            supervise::restore_signals().context("restoring signals")?;
            furnish(hostname)?;
            Ok(Role::Builder)
        }
    }
}

/// Makes mounts private and gives the builder a /proc of its own processes.
fn furnish(hostname: &str) -> Result<()> {
    make_mounts_private()?;
    // A container may hide parts of /proc; then the kernel refuses a new one and the old must do.
    if let Err(error) = mount_proc(std::path::Path::new("/proc")) {
        eprintln!("note: keeping the host's /proc ({error:#})");
    }
    nix::unistd::sethostname(hostname).context("setting the build's host name")
}

/// Nothing mounted from here on is seen outside.
pub(crate) fn make_mounts_private() -> Result<()> {
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .context("making mounts private")
}

/// Mounts the caller's process namespace at `at`.
pub(crate) fn mount_proc(at: &std::path::Path) -> Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), at, Some("proc"), flags, None::<&str>)
        .with_context(|| format!("mounting proc at {}", at.display()))
}

/// Detaches the mount at `at`, now or when its last user goes.
pub(crate) fn unmount(at: &std::path::Path) -> Result<()> {
    umount2(at, MntFlags::MNT_DETACH).with_context(|| format!("unmounting {}", at.display()))
}

/// Asks the kernel to kill this process when its parent dies. To be said again after every
/// change of user id, which makes the kernel forget it.
pub(crate) fn die_with_parent() -> Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("tying the process to its parent")
}
