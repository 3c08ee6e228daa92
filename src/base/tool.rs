//! Programs of the build machine: what each is for, which package has it, where it is.

use crate::base::arch::Arch;
use crate::base::elf::is_static;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// What somebody wants the program to do, as far as it calls for other tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    Build,
    /// Look at config and plan: `plan`, `why`.
    Plan,
    Clean,
    Shell,
    Lock,
    /// `lock --update`.
    Update,
    Boot,
    Flash,
    Inspect,
    Diff,
    /// `--install-deps`.
    Install,
}

/// Something that must be installed on the build machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    Bash,
    Mount,
    Unshare,
    Mmdebstrap,
    Debootstrap,
    /// Not a program but the file with Debian's signing keys.
    DebianKeyring,
    /// Runs programs of the target architecture.
    Emulator(Arch),
    Mke2fs,
    /// Gives files their blocks.
    Debugfs,
    Mksquashfs,
    MkfsErofs,
    MkfsFat,
    Mmd,
    Mcopy,
    Newuidmap,
    Newgidmap,
    Quilt,
    AptHelper,
    AptGet,
    AptCache,
    DpkgDeb,
    Timeout,
    Tar,
    /// Tells a pi-gen tree's revision, where it is there.
    Git,
    Gpg,
    /// gpg again, for another reason.
    ArchiveKeys,
    Minisign,
    Sudo,
    /// Starts the tools root's programs, each with its libraries. Only ever the tools root's own.
    Loader,
    /// Ends an emulated machine with this program.
    Setpriv,
    /// A whole emulated machine, for trying an image out.
    QemuSystem(Arch),
}

/// What is known of a tool.
struct Row {
    /// File name of the program, or the absolute path of what is not in PATH.
    program: &'static str,
    package: &'static str,
    /// Ends the sentence "it is needed to …".
    reason: &'static str,
    tasks: &'static [Task],
}

/// Everything for which scripts run or a config is read.
const EVERY_CONFIG: &[Task] = &[
    Task::Build,
    Task::Plan,
    Task::Clean,
    Task::Shell,
    Task::Lock,
    Task::Update,
];
/// Everything that goes on in the sandbox.
const SANDBOX: &[Task] = &[Task::Build, Task::Clean, Task::Shell, Task::Lock];
const BUILD: &[Task] = &[Task::Build];

impl Tool {
    /// All of them, in the order in which a build uses them.
    pub const ALL: [Self; 32] = [
        Self::Bash,
        Self::Mount,
        Self::Unshare,
        Self::Newuidmap,
        Self::Newgidmap,
        Self::Timeout,
        Self::AptHelper,
        Self::AptGet,
        Self::AptCache,
        Self::DpkgDeb,
        Self::Tar,
        Self::Loader,
        Self::Mke2fs,
        Self::Debugfs,
        Self::MkfsFat,
        Self::Mmd,
        Self::Mcopy,
        Self::Mmdebstrap,
        Self::Debootstrap,
        Self::DebianKeyring,
        Self::Emulator(Arch::Arm64),
        Self::Emulator(Arch::Armhf),
        Self::Mksquashfs,
        Self::MkfsErofs,
        Self::Quilt,
        Self::ArchiveKeys,
        Self::Gpg,
        Self::Minisign,
        Self::Sudo,
        Self::Setpriv,
        Self::QemuSystem(Arch::Arm64),
        Self::QemuSystem(Arch::Armhf),
    ];

    fn row(self) -> Row {
        let row = |program, package, reason, tasks| Row {
            program,
            package,
            reason,
            tasks,
        };
        let root = "make the root file system of the image";
        let boot = "fill the boot file system of the image";
        let first = "make the first root file system";
        let emulate = "run the image's programs on this machine";
        let rootless = "work without being root";
        let machine = "boot the image on this machine";
        match self {
            Self::Bash => row(
                "bash",
                "bash",
                "read the config and run the stages' scripts",
                EVERY_CONFIG,
            ),
            Self::Mount => {
                let reason = "show the package cache to the bootstrap tool";
                row("mount", "mount", reason, BUILD)
            }
            Self::Unshare => {
                let reason = "try out whether a sandbox can be made here";
                row("unshare", "util-linux", reason, BUILD)
            }
            Self::Mmdebstrap => row("mmdebstrap", "mmdebstrap", first, BUILD),
            Self::Debootstrap => row("debootstrap", "debootstrap", first, BUILD),
            Self::DebianKeyring => row(
                "/usr/share/keyrings/debian-archive-keyring.gpg",
                "debian-archive-keyring",
                "verify Debian's signatures",
                BUILD,
            ),
            Self::Emulator(Arch::Arm64) => row(
                "qemu-aarch64-static",
                "qemu-user-static",
                emulate,
                &[Task::Build, Task::Shell],
            ),
            Self::Emulator(Arch::Armhf) => row(
                "qemu-arm-static",
                "qemu-user-static",
                emulate,
                &[Task::Build, Task::Shell],
            ),
            Self::Mke2fs => row("mke2fs", "e2fsprogs", root, BUILD),
            Self::Debugfs => row("debugfs", "e2fsprogs", root, BUILD),
            Self::Mksquashfs => row("mksquashfs", "squashfs-tools", root, BUILD),
            Self::MkfsErofs => row("mkfs.erofs", "erofs-utils", root, BUILD),
            Self::MkfsFat => {
                let reason = "make the boot file system of the image";
                row("mkfs.fat", "dosfstools", reason, BUILD)
            }
            Self::Mmd => row("mmd", "mtools", boot, BUILD),
            Self::Mcopy => row("mcopy", "mtools", boot, BUILD),
            Self::Newuidmap => row("newuidmap", "uidmap", rootless, SANDBOX),
            Self::Newgidmap => row("newgidmap", "uidmap", rootless, SANDBOX),
            Self::Quilt => row("quilt", "quilt", "apply the stages' patches", BUILD),
            Self::AptHelper => {
                let reason = "fetch packages for the build";
                row("/usr/lib/apt/apt-helper", "apt", reason, BUILD)
            }
            Self::AptGet => {
                let reason = "see what the archive has";
                row("apt-get", "apt", reason, &[Task::Update, Task::Install])
            }
            Self::AptCache => {
                let reason = "see what the archive has";
                row("apt-cache", "apt", reason, &[Task::Update])
            }
            Self::DpkgDeb => row("dpkg-deb", "dpkg", "read packages", BUILD),
            Self::Timeout => {
                let reason = "give up on an archive that does not answer";
                row("timeout", "coreutils", reason, BUILD)
            }
            Self::Tar => row("tar", "tar", "pack layers for the shared cache", BUILD),
            Self::Git => row("git", "git", "tell a tree's revision", &[]),
            Self::Gpg => row("gpg", "gpg", "sign the checksums", BUILD),
            Self::Minisign => row("minisign", "minisign", "sign the checksums", BUILD),
            Self::ArchiveKeys => {
                let reason = "verify the Raspberry Pi archive's signatures";
                row("gpg", "gpg", reason, BUILD)
            }
            Self::Sudo => row("sudo", "sudo", "install packages", &[Task::Install]),
            Self::Loader => row("ld.so", "libc6", "run the native tools", BUILD),
            Self::Setpriv => row("setpriv", "util-linux", machine, &[Task::Boot]),
            Self::QemuSystem(Arch::Arm64) => row(
                "qemu-system-aarch64",
                "qemu-system-arm",
                machine,
                &[Task::Boot],
            ),
            Self::QemuSystem(Arch::Armhf) => {
                row("qemu-system-arm", "qemu-system-arm", machine, &[Task::Boot])
            }
        }
    }

    /// File name of the program, or the absolute path of what is not in PATH.
    pub fn program(self) -> &'static str {
        self.row().program
    }

    /// Debian package that has it.
    pub fn package(self) -> &'static str {
        self.row().package
    }

    /// What it is for: ends the sentence "it is needed to …".
    pub fn reason(self) -> &'static str {
        self.row().reason
    }

    /// What it is needed for, always or with some settings.
    pub fn tasks(self) -> &'static [Task] {
        self.row().tasks
    }

    /// What is said when it is not there: why that is bad, and what to do.
    pub fn lacking(self) -> String {
        format!(
            "{} is not installed, but needed to {}; apt install {}",
            self.program(),
            self.reason(),
            self.package()
        )
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
            _ => lookup(self.program(), dirs),
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

#[cfg(test)]
pub(super) mod tests {
    use super::Tool;
    use crate::base::arch::Arch;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn program(path: &Path, bytes: &[u8]) {
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// An ELF header with one program header of type `kind`.
    pub(in crate::base) fn elf(kind: u8) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (bytes[32], bytes[54], bytes[56], bytes[64]) = (64, 56, 1, kind);
        bytes
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

    /// A tool that is in no list would never be asked for.
    #[test]
    fn every_tool_is_listed_once() {
        for (index, tool) in Tool::ALL.iter().enumerate() {
            let same = |other: &Tool| other == tool;
            assert_eq!(Tool::ALL.iter().position(same), Some(index), "{tool:?}");
            assert!(!tool.tasks().is_empty(), "{tool:?}");
        }
    }
}
