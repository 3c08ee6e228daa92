//! The architectures of images and of the build machine.

use serde::{Deserialize, Serialize};

/// `ARCH`: Debian's name of the target architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arch {
    /// 64-bit ARM (Pi 3 and newer).
    Arm64,
    /// 32-bit ARM hard float (ARMv7; Pi 2 and newer).
    Armhf,
}

impl Arch {
    /// Debian's name, e.g. `arm64`.
    pub fn debian(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::Armhf => "armhf",
        }
    }

    /// GNU's name, as in library directories.
    pub fn triplet(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64-linux-gnu",
            Self::Armhf => "arm-linux-gnueabihf",
        }
    }

    /// QEMU's name, e.g. `aarch64`.
    pub fn qemu(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64",
            Self::Armhf => "arm",
        }
    }

    /// The oldest core the image supports. Leaving QEMU's default would emulate
    /// pointer authentication, which makes a perl loop eighteen times slower.
    pub fn qemu_cpu(self) -> &'static str {
        match self {
            Self::Arm64 => "cortex-a53",
            Self::Armhf => "cortex-a7",
        }
    }
}

/// Whether a target program needs an emulator on this machine.
pub fn is_foreign(arch: Arch) -> bool {
    match arch {
        Arch::Arm64 => !cfg!(target_arch = "aarch64"),
        Arch::Armhf => !cfg!(target_arch = "arm"),
    }
}

/// Debian's name of this machine's architecture.
pub fn debian_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
