//! Whether the emulator really runs a program of the target architecture: tried out with the
//! smallest one there is.

use crate::base::command::{Command, Program};
use crate::base::problem::Problem;
use crate::base::tool::Tool;
use crate::config::Arch;
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// `mov x8, #93` (exit) · `mov x0, #0` · `svc #0`.
const EXIT_ARM64: [u32; 3] = [0xd280_0ba8, 0xd280_0000, 0xd400_0001];
/// `mov r7, #1` (exit) · `mov r0, #0` · `svc 0`.
const EXIT_ARMHF: [u32; 3] = [0xe3a0_7001, 0xe3a0_0000, 0xef00_0000];

/// Where the program is loaded: a multiple of every page size there is.
const BASE: u32 = 0x40_0000;

/// Runs the program; in `place`, and with nothing else in its root directory if `sandbox` says
/// that user namespaces can be made.
pub(super) fn problems(
    (arch, cpu): (Arch, &str),
    emulator: &Path,
    place: &Path,
    sandbox: bool,
) -> Option<Problem> {
    let error = try_out((arch, cpu), emulator, place, sandbox).err()?;
    let what = format!(
        "the emulator does not run {} programs on a {cpu}: {error:#}",
        arch.debian()
    );
    let remedy = "see QEMU_CPU in config.example, or apt install --reinstall qemu-user-static";
    Some(Problem::new(what, remedy).at(emulator))
}

fn try_out((arch, cpu): (Arch, &str), emulator: &Path, place: &Path, sandbox: bool) -> Result<()> {
    let dir = tempfile::tempdir_in(place)
        .or_else(|_| tempfile::tempdir())
        .context("making a directory for a trial")?;
    let program = dir.path().join("program");
    fs::write(&program, exits_with_0(arch)).context("writing a trial program")?;
    executable(&program)?;
    let command = if sandbox {
        let copy = dir.path().join("emulator");
        fs::copy(emulator, &copy).context("copying the emulator")?;
        executable(&copy)?;
        let inside = ["--user", "--map-root-user", "--root"];
        Command::new(Tool::Unshare)
            .args(inside)
            .arg(dir.path())
            .args(["/emulator", "-cpu", cpu, "/program"])
    } else {
        Command::new(Program::At(emulator.to_owned(), Tool::Emulator(arch)))
            .args(["-cpu", cpu])
            .arg(&program)
    };
    command.read().map(drop)
}

fn executable(path: &Path) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .context("making a trial program executable")
}

/// A static ELF program: header, one program header that loads the whole file, instructions.
fn exits_with_0(arch: Arch) -> Vec<u8> {
    // Class and machine; sizes of header and program header; e_flags (EABI version 5 for ARM).
    let (class, machine, header, segment, flags, code) = match arch {
        Arch::Arm64 => (2, 183, 64, 56, 0, EXIT_ARM64),
        Arch::Armhf => (1, 40, 52, 32, 0x0500_0000, EXIT_ARMHF),
    };
    let mut elf = Elf {
        bytes: Vec::new(),
        wide: class == 2,
    };
    let start = u32::from(header) + u32::from(segment);
    let size = start + 12;
    elf.bytes.extend([
        0x7f, b'E', b'L', b'F', class, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ]);
    elf.half(2).half(machine).word(1); // e_type: executable; e_machine; e_version
    elf.address(BASE + start)
        .address(u32::from(header))
        .address(0); // e_entry, e_phoff, e_shoff
    elf.word(flags).half(header).half(segment).half(1); // e_flags, e_ehsize, e_phentsize, e_phnum
    elf.half(0).half(0).half(0); // no section headers
    elf.word(1); // p_type: load
    if elf.wide {
        elf.word(5); // p_flags: read and execute
    }
    elf.address(0).address(BASE).address(BASE); // p_offset, p_vaddr, p_paddr
    elf.address(size).address(size); // p_filesz, p_memsz
    if !elf.wide {
        elf.word(5);
    }
    elf.address(0x1_0000); // p_align
    for instruction in code {
        elf.word(instruction);
    }
    elf.bytes
}

/// Fields of a little-endian ELF file.
struct Elf {
    bytes: Vec<u8>,
    /// Addresses have 64 bits.
    wide: bool,
}

impl Elf {
    fn half(&mut self, value: u16) -> &mut Self {
        self.bytes.extend(value.to_le_bytes());
        self
    }

    fn word(&mut self, value: u32) -> &mut Self {
        self.bytes.extend(value.to_le_bytes());
        self
    }

    fn address(&mut self, value: u32) -> &mut Self {
        if self.wide {
            self.bytes.extend(u64::from(value).to_le_bytes());
            self
        } else {
            self.word(value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{exits_with_0, problems};
    use crate::base::tool::emulator;
    use crate::config::Arch;
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_trial_programs_have_the_right_size() {
        assert_eq!(exits_with_0(Arch::Arm64).len(), 64 + 56 + 12);
        assert_eq!(exits_with_0(Arch::Armhf).len(), 52 + 32 + 12);
    }

    #[test]
    fn an_installed_emulator_runs_them() {
        let dir = tempfile::tempdir().unwrap();
        for arch in [Arch::Arm64, Arch::Armhf] {
            if let Some(path) = emulator(arch) {
                assert_eq!(
                    problems((arch, arch.qemu_cpu()), &path, dir.path(), false),
                    None
                );
                if crate::check::ids::namespaces().is_none() {
                    assert_eq!(
                        problems((arch, arch.qemu_cpu()), &path, dir.path(), true),
                        None
                    );
                }
            }
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn something_else_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let problem = problems(
            (Arch::Arm64, "max"),
            Path::new("/bin/false"),
            dir.path(),
            false,
        )
        .unwrap();
        assert!(
            problem.what.contains("does not run arm64 programs"),
            "{problem}"
        );
    }
}
