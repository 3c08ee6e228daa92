//! Running ARM programs: binfmt_misc handlers that exist in the build's namespace only.

use crate::base::arch::Arch;
use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use std::fs;
use std::path::Path;

const AT: &str = "/proc/sys/fs/binfmt_misc";

/// First 20 bytes of a little-endian ELF file: class, data, version, ABI; then `e_type`,
/// where both EXEC (2) and DYN (3) count; then `e_machine`. Source: qemu-binfmt-conf.sh.
fn pattern(arch: Arch) -> &'static str {
    match arch {
        Arch::Arm64 => {
            r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
        }
        Arch::Armhf => {
            r"\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x28\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
        }
    }
}

/// Registers `interpreter` (a static program) for `arch` in this user namespace.
///
/// Flags: `P` hands on argv\[0\]; `F` opens the interpreter now, so that it is found from
/// inside any chroot; `C` makes the set-id bits of the program count, not the interpreter's.
///
/// # Errors
/// Before Linux 6.7 there is no binfmt_misc per user namespace, and the mount is refused.
pub fn register(arch: Arch, interpreter: &Path) -> Result<()> {
    mount(
        Some("binfmt_misc"),
        AT,
        Some("binfmt_misc"),
        MsFlags::empty(),
        None::<&str>,
    )
    .context("mounting a private binfmt_misc")?;
    let line = format!(
        ":westwork-{}:M::{}:{}:PFC",
        arch.debian(),
        pattern(arch),
        interpreter.display()
    );
    fs::write(format!("{AT}/register"), line)
        .with_context(|| format!("registering {} in binfmt_misc", interpreter.display()))
}
