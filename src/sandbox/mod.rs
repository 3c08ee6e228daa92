//! Namespaces that hold the whole build.
//!
//! [`enter`] splits the program in three: the *supervisor* stays where it was started and
//! only waits; the *keeper* sits at the edge of the new user namespace; the *builder* is
//! process 1 of a new process namespace and carries on with the program. When any of them
//! dies, however it dies, the kernel takes down every process and mount of the build.
//! There is no clean-up code to get wrong.

pub mod binfmt;
mod confine;
pub mod ids;
pub mod isolate;
pub mod mounts;
pub(crate) mod overlay;
pub(crate) mod own_root;
pub mod rootfs;
pub mod stand_ins;
mod supervise;
pub mod view;
pub mod watch;

use anyhow::{Context, Result};
use ids::Ids;
use mounts::Tree;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, fork, setresgid, setresuid, setsid};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use view::View;

/// Which of the processes this is after [`enter`].
pub enum Role {
    /// Outside; the build is over and this is how it ended (a process exit code).
    Supervisor(i32),
    /// Inside, root of a fresh set of namespaces, with these ids.
    Builder(Ids),
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

/// What the build is let to see and be.
pub struct Wall {
    /// What it sees of the machine.
    pub view: View,
    /// What the build sees as its host name, so that nothing of the real one gets into an image.
    pub hostname: String,
    /// Whether it has the terminal.
    pub terminal: Terminal,
}

/// Moves the rest of the program into fresh user, mount, pid, ipc and uts namespaces, where it
/// sees what `wall` names and nothing else.
///
/// Must be called while the process has one thread. The builder's working directory is `/`.
///
/// # Errors
/// When namespaces or id maps cannot be had; `check` reports the same beforehand.
pub fn enter(wall: &Wall, note: &mut dyn FnMut(&str)) -> Result<Role> {
    alone(|| std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count))?;
    let (ids, mapped) = owners(&wall.view, note)?;
    let (mut ready_rx, ready_tx) = pipe()?;
    let (go_rx, mut go_tx) = pipe()?;
    supervise::block_signals().context("blocking signals")?;
    // SAFETY: the process has a single thread here, so the child may go on as usual.
    #[allow(unsafe_code)]
    match unsafe { fork() }.context("forking the build's process")? {
        ForkResult::Parent { child } => {
            drop((ready_tx, go_rx, mapped));
            wait_ready(&mut ready_rx)?;
            ids.write(child)
                .context("mapping user ids into the build's namespace")?;
            go_tx.write_all(b"g").context("releasing the build")?;
            drop(go_tx);
            Ok(Role::Supervisor(supervise::wait_for(
                child,
                Signal::SIGTERM,
            )?))
        }
        ForkResult::Child => {
            drop((ready_rx, go_tx));
            keeper(ready_tx, go_rx, wall, (ids, mapped))
        }
    }
}

/// Waits until the process has one thread. One that has been joined, or whose scope has ended,
/// stands among the kernel's tasks until it is off its processor.
fn alone(tasks: impl Fn() -> usize) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let start = Instant::now();
    loop {
        let threads = tasks();
        if threads == 1 {
            return Ok(());
        }
        anyhow::ensure!(
            start.elapsed() < PATIENCE,
            "{threads} threads where one may be, before the build's process is forked"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Which ids the build gets, and what of the view has to be made outside of it for that.
fn owners(view: &View, note: &mut dyn FnMut(&str)) -> Result<(Ids, BTreeMap<PathBuf, Tree>)> {
    let ids = Ids::wanted()?;
    match ids {
        Ids::Delegated => Ok((ids, BTreeMap::new())),
        Ids::All => {
            note(
                "this container has no room for a range of ids of the build's own: \
                 ids in the build are the container's",
            );
            Ok((ids, BTreeMap::new()))
        }
        Ids::Shifted { .. } | Ids::RootAndRange { .. } => {
            match namespace_of(ids).and_then(|space| view.id_mapped(&space)) {
                Ok(mapped) => Ok((ids, mapped)),
                Err(error) => {
                    note(&format!(
                        "files cannot be shown with other owners here ({error:#}): \
                         root in the build is root's own id, so build what you do not trust \
                         as an ordinary user"
                    ));
                    Ok((ids.without_shift(), BTreeMap::new()))
                }
            }
        }
    }
}

/// The ids that a build of this process would have, as [`Ids::on_disk`] says them: told before it
/// is begun, for `plan`.
///
/// # Errors
/// When this process's own ids cannot be read.
pub fn owners_on_disk(view: &View) -> Result<String> {
    Ok(owners(view, &mut |_| {})?.0.on_disk())
}

/// A user namespace with these ids, held by nothing but its descriptor.
fn namespace_of(ids: Ids) -> Result<std::os::fd::OwnedFd> {
    let (mut ready_rx, ready_tx) = pipe()?;
    let (go_rx, go_tx) = pipe()?;
    // SAFETY: the process has a single thread here.
    #[allow(unsafe_code)]
    match unsafe { fork() }.context("forking a process for a user namespace")? {
        ForkResult::Parent { child } => {
            drop((ready_tx, go_rx));
            let made = wait_ready(&mut ready_rx)
                .and_then(|()| ids.write(child))
                .and_then(|()| mounts::user_namespace(child));
            drop(go_tx);
            nix::sys::wait::waitpid(child, None).context("waiting for a process")?;
            made
        }
        ForkResult::Child => {
            drop((ready_rx, go_tx));
            let (mut ready, mut go) = (ready_tx, go_rx);
            let _ = die_with_parent();
            let said = match unshare(CloneFlags::CLONE_NEWUSER) {
                Ok(()) => "ready".to_owned(),
                Err(error) => error.to_string(),
            };
            let _ = ready.write_all(said.as_bytes());
            drop(ready);
            let _ = go.read(&mut [0]);
            std::process::exit(0)
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
fn keeper(
    mut ready: File,
    mut go: File,
    wall: &Wall,
    owners: (Ids, BTreeMap<PathBuf, Tree>),
) -> Result<Role> {
    die_with_parent()?;
    if wall.terminal == Terminal::Detached {
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
            furnish(wall, owners.1)?;
            Ok(Role::Builder(owners.0))
        }
    }
}

/// Gives the builder its root and its name.
fn furnish(wall: &Wall, mapped: BTreeMap<PathBuf, Tree>) -> Result<()> {
    mounts::make_private()?;
    nix::unistd::sethostname(&wall.hostname).context("setting the build's host name")?;
    wall.view.enter(mapped, None)?;
    // A directory of the machine that is not seen.
    for name in ["TMPDIR", "TMP", "TEMP"] {
        // SAFETY: this process has one thread.
        #[allow(unsafe_code)]
        unsafe {
            std::env::remove_var(name);
        }
    }
    Ok(())
}

/// Asks the kernel to kill this process when its parent dies. To be said again after every
/// change of user id, which makes the kernel forget it.
pub(crate) fn die_with_parent() -> Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("tying the process to its parent")
}

#[cfg(test)]
mod tests {
    use super::alone;
    use std::cell::Cell;

    #[test]
    fn a_thread_that_is_ending_is_waited_for_and_one_that_stays_is_an_error() {
        let left = Cell::new(3);
        alone(|| left.replace(left.get() - 1)).unwrap();
        assert_eq!(left.get(), 0);
        let stays = alone(|| 2).unwrap_err().to_string();
        assert!(stays.starts_with("2 threads"), "{stays}");
    }
}
