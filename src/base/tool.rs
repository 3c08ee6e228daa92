//! Programs of the build machine: what each is for, which package has it, where it is.

use crate::base::arch::Arch;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Something that must be installed on the build machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    Bash,
    Mount,
    Mmdebstrap,
    Debootstrap,
    /// Not a program but the file with Debian's signing keys.
    DebianKeyring,
    /// Runs programs of the target architecture.
    Emulator(Arch),
    Mke2fs,
    Mksquashfs,
    MkfsErofs,
    MkfsFat,
    Mcopy,
    Newuidmap,
    Newgidmap,
    Quilt,
    AptHelper,
    Gpg,
    /// gpg again, for another reason.
    ArchiveKeys,
    Minisign,
    /// A whole emulated machine, for trying an image out.
    QemuSystem(Arch),
}

impl Tool {
    /// File name of the program, or the absolute path of what is not in PATH.
    pub fn program(self) -> String {
        let fixed = match self {
            Self::Bash => "bash",
            Self::Mount => "mount",
            Self::Mmdebstrap => "mmdebstrap",
            Self::Debootstrap => "debootstrap",
            Self::DebianKeyring => "/usr/share/keyrings/debian-archive-keyring.gpg",
            Self::Emulator(arch) => return format!("qemu-{}-static", arch.qemu()),
            Self::Mke2fs => "mke2fs",
            Self::Mksquashfs => "mksquashfs",
            Self::MkfsErofs => "mkfs.erofs",
            Self::MkfsFat => "mkfs.fat",
            Self::Mcopy => "mcopy",
            Self::Newuidmap => "newuidmap",
            Self::Newgidmap => "newgidmap",
            Self::Quilt => "quilt",
            Self::Gpg | Self::ArchiveKeys => "gpg",
            Self::Minisign => "minisign",
            Self::AptHelper => "/usr/lib/apt/apt-helper",
            Self::QemuSystem(arch) => return format!("qemu-system-{}", arch.qemu()),
        };
        fixed.to_owned()
    }

    /// Debian package that has it.
    pub fn package(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Mount => "mount",
            Self::Mmdebstrap => "mmdebstrap",
            Self::Debootstrap => "debootstrap",
            Self::DebianKeyring => "debian-archive-keyring",
            Self::Emulator(_) => "qemu-user-static",
            Self::Mke2fs => "e2fsprogs",
            Self::Mksquashfs => "squashfs-tools",
            Self::MkfsErofs => "erofs-utils",
            Self::MkfsFat => "dosfstools",
            Self::Mcopy => "mtools",
            Self::Newuidmap | Self::Newgidmap => "uidmap",
            Self::Quilt => "quilt",
            Self::Gpg | Self::ArchiveKeys => "gpg",
            Self::Minisign => "minisign",
            Self::AptHelper => "apt",
            Self::QemuSystem(_) => "qemu-system-arm",
        }
    }

    /// What it is for: ends the sentence "it is needed to …".
    pub fn reason(self) -> &'static str {
        match self {
            Self::Bash => "run the stages' scripts",
            Self::Mount => "show the package cache to the bootstrap tool",
            Self::Mmdebstrap | Self::Debootstrap => "make the first root file system",
            Self::DebianKeyring => "verify Debian's signatures",
            Self::Emulator(_) => "run the image's programs on this machine",
            Self::Mke2fs | Self::Mksquashfs | Self::MkfsErofs => {
                "make the root file system of the image"
            }
            Self::MkfsFat => "make the boot file system of the image",
            Self::Mcopy => "fill the boot file system of the image",
            Self::Newuidmap | Self::Newgidmap => "build without being root",
            Self::Quilt => "apply the stages' patches",
            Self::Gpg | Self::Minisign => "sign the checksums",
            Self::ArchiveKeys => "verify the Raspberry Pi archive's signatures",
            Self::AptHelper => "fetch packages for the build",
            Self::QemuSystem(_) => "boot the image on this machine",
        }
    }

    /// Where it is, if it is installed.
    pub fn find(self) -> Option<PathBuf> {
        self.find_in(&search_path())
    }

    /// As [`Tool::find`], in these directories.
    pub fn find_in(self, dirs: &[PathBuf]) -> Option<PathBuf> {
        match self {
            Self::Emulator(arch) => emulator_in(arch, dirs),
            Self::DebianKeyring => {
                Some(PathBuf::from(self.program())).filter(|path| path.is_file())
            }
            _ => lookup(&self.program(), dirs),
        }
    }
}

/// A statically linked emulator for programs of `arch`: it must run inside the image's root,
/// where this machine's libraries are not.
pub fn emulator(arch: Arch) -> Option<PathBuf> {
    emulator_in(arch, &search_path())
}

fn emulator_in(arch: Arch, dirs: &[PathBuf]) -> Option<PathBuf> {
    let plain = format!("qemu-{}", arch.qemu());
    lookup(&format!("{plain}-static"), dirs)
        .or_else(|| lookup(&plain, dirs).filter(|path| is_static(path)))
}

/// The directories of PATH, and those of administrators' programs, which users often lack.
pub fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<_> = std::env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .collect();
    dirs.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    dirs
}

/// First executable file called `program`; one with a slash stands for itself.
pub fn lookup(program: &str, dirs: &[PathBuf]) -> Option<PathBuf> {
    let executable = |path: &PathBuf| {
        fs::metadata(path)
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if program.starts_with('/') {
        return Some(PathBuf::from(program)).filter(executable);
    }
    dirs.iter().map(|dir| dir.join(program)).find(executable)
}

/// Whether a file is an ELF program that asks for no loader (has no `PT_INTERP`).
fn is_static(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| asks_for_loader(&bytes) == Some(false))
}

/// `None` when `elf` is not a little-endian ELF file.
fn asks_for_loader(elf: &[u8]) -> Option<bool> {
    const PT_INTERP: u64 = 3;
    let number = |at: usize, len: usize| -> Option<u64> {
        let bytes = elf.get(at..at.checked_add(len)?)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        )
    };
    let (offset, size, count) = match elf.get(..6)? {
        [0x7f, b'E', b'L', b'F', 2, 1] => (number(32, 8)?, number(54, 2)?, number(56, 2)?),
        [0x7f, b'E', b'L', b'F', 1, 1] => (number(28, 4)?, number(42, 2)?, number(44, 2)?),
        _ => return None,
    };
    for index in 0..count {
        let at = offset.checked_add(index * size)?;
        if number(usize::try_from(at).ok()?, 4)? == PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::{Tool, asks_for_loader};
    use crate::base::arch::Arch;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn program(path: &Path, bytes: &[u8]) {
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// An ELF header with one program header of type `kind`.
    fn elf(kind: u8) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (bytes[32], bytes[54], bytes[56], bytes[64]) = (64, 56, 1, kind);
        bytes
    }

    #[test]
    fn a_static_program_asks_for_no_loader() {
        assert_eq!(asks_for_loader(&elf(1)), Some(false));
        assert_eq!(asks_for_loader(&elf(3)), Some(true));
        assert_eq!(asks_for_loader(&elf(3)[..70]), Some(true));
        assert_eq!(asks_for_loader(&elf(3)[..64]), None);
        assert_eq!(asks_for_loader(b"#!/bin/sh\n"), None);
    }

    #[test]
    fn a_dynamic_emulator_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = [dir.path().to_owned()];
        let find = || Tool::Emulator(Arch::Arm64).find_in(&dirs);
        assert_eq!(find(), None);
        program(&dir.path().join("qemu-aarch64"), &elf(3));
        assert_eq!(find(), None);
        program(&dir.path().join("qemu-aarch64"), &elf(1));
        assert_eq!(find(), Some(dir.path().join("qemu-aarch64")));
        program(&dir.path().join("qemu-aarch64-static"), b"anything");
        assert_eq!(find(), Some(dir.path().join("qemu-aarch64-static")));
    }

    #[test]
    fn only_executable_files_are_programs() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = [dir.path().to_owned()];
        fs::write(dir.path().join("quilt"), "").unwrap();
        assert_eq!(Tool::Quilt.find_in(&dirs), None);
        program(&dir.path().join("quilt"), b"");
        assert_eq!(Tool::Quilt.find_in(&dirs), Some(dir.path().join("quilt")));
    }
}
