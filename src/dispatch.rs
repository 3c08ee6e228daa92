//! How programs of the target run on this machine.

use crate::config::Arch;
use anyhow::Result;
use std::path::Path;

/// qemu-user's own variable for the emulated core.
pub const QEMU_CPU_VAR: &str = "QEMU_CPU";

/// Makes ARM programs runnable in the sandbox by `emulator` (a static qemu-user).
pub fn prepare(arch: Arch, emulator: &Path) -> Result<()> {
    crate::sandbox::binfmt::register(arch, emulator)
}
