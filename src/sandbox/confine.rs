//! What is taken from a command in the image before it starts: capabilities, system calls,
//! descriptors, keys, the machine's abstract sockets.

use anyhow::{Context, Result};
use caps::{CapSet, Capability, CapsHashSet};
use landlock::{CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, Scope};
use nix::errno::Errno;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use std::collections::BTreeMap;

/// What a command in the image may do as root, each with its reason. capabilities(7).
const KEPT: &[Capability] = &[
    // Packages give their files to other users.
    Capability::CAP_CHOWN,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    // Root reads and writes files of any owner.
    Capability::CAP_DAC_OVERRIDE,
    // su, sudo, runuser, setpriv, and apt's own user for downloads.
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    Capability::CAP_SETPCAP,
    // setcap on what is installed, such as ping.
    Capability::CAP_SETFCAP,
    // A script ends a program of another user that it has started.
    Capability::CAP_KILL,
    // chroot(8), useradd --root.
    Capability::CAP_SYS_CHROOT,
    // A service that is started to be set up, on a port below 1024.
    Capability::CAP_NET_BIND_SERVICE,
];

/// System calls for the kernel's own affairs, which no package needs. They are refused with
/// EPERM, as container engines do.
const REFUSED: &[libc::c_long] = &[
    // Keyrings: a session's keys would be the machine's.
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
    // Code in the kernel, and what looks into it.
    libc::SYS_bpf,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_kexec_load,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    // Files by handle, past every path.
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    // The machine's clock, swap, accounting and end.
    libc::SYS_acct,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
];

/// Takes all of it from this process, whoever it becomes. Set-id programs go on working, so
/// "no new privileges" is not set; what is given up is in no set of theirs either.
///
/// # Errors
/// When the kernel refuses.
pub(super) fn confine_in_image(report: Option<u32>) -> Result<()> {
    confine(report)?;
    let kept: CapsHashSet = KEPT.iter().copied().collect();
    for capability in caps::all() {
        if !kept.contains(&capability) {
            match caps::drop(None, CapSet::Bounding, capability) {
                Ok(()) => {}
                // One that this kernel does not know.
                Err(_)
                    if !caps::runtime::ambient_set_supported().is_ok_and(|()| {
                        caps::has_cap(None, CapSet::Bounding, capability).unwrap_or(false)
                    }) => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("giving up {capability}"));
                }
            }
        }
    }
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new())
        .context("giving up inheritable capabilities")?;
    caps::set(None, CapSet::Effective, &kept).context("giving up capabilities")?;
    caps::set(None, CapSet::Permitted, &kept).context("giving up capabilities")
}

/// What a host script gives up as well: it keeps its capabilities over its own namespaces, for
/// mounts.
///
/// # Errors
/// When the kernel refuses.
pub(super) fn confine(report: Option<u32>) -> Result<()> {
    new_session_keyring();
    scope_sockets()?;
    refuse_system_calls()?;
    close_descriptors(report)
}

/// A keyring of its own: the caller's may hold keys. Kernels without keyrings have none to leak.
fn new_session_keyring() {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    #[allow(unsafe_code)]
    unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        );
    }
}

/// Abstract sockets have no path, so no mount hides them: Landlock does, from Linux 6.12 on.
fn scope_sockets() -> Result<()> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .scope(Scope::AbstractUnixSocket)
        .and_then(Ruleset::create)
        .and_then(|ruleset| ruleset.no_new_privs(false).restrict_self())
        .map(drop)
        .context("keeping off the machine's abstract sockets")
}

fn refuse_system_calls() -> Result<()> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => TargetArch::x86_64,
        // A 64-bit ARM machine also runs 32-bit programs, whose calls have other numbers.
        _ => return Ok(()),
    };
    let rules: BTreeMap<i64, Vec<_>> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let program: BpfProgram = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)
        .and_then(TryInto::try_into)
        .context("preparing the filter of system calls")?;
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).context("a long filter")?,
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the program outlives the call. seccomp(2) wants the capability that this process has
    // in its user namespace; seccompiler's own call would set "no new privileges".
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const filter,
        )
    };
    Errno::result(result).context("installing the filter of system calls")?;
    Ok(())
}

/// Nothing but the standard streams is handed on, and `report`, a file in memory.
fn close_descriptors(report: Option<u32>) -> Result<()> {
    let close = |from: u32, to: u32| {
        // SAFETY: marks descriptors only; this program opens with O_CLOEXEC anyway.
        #[allow(unsafe_code)]
        let result =
            unsafe { libc::syscall(libc::SYS_close_range, from, to, libc::CLOSE_RANGE_CLOEXEC) };
        Errno::result(result)
            .map(drop)
            .context("closing descriptors")
    };
    match report {
        Some(report @ 4..) => {
            close(3, report - 1)?;
            close(report + 1, u32::MAX)
        }
        _ => close(3, u32::MAX),
    }
}
