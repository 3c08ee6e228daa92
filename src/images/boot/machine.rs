//! The boards that QEMU plays.

use crate::base::arch::Arch;
use clap::ValueEnum;

/// A board of QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Machine {
    /// Raspberry Pi 2, 32 bits
    Raspi2b,
    /// Raspberry Pi 3
    Raspi3b,
    /// Raspberry Pi 4; QEMU 9.0 and newer
    Raspi4b,
    /// No board, but faster, and with devices that every kernel knows
    Virt,
}

impl Machine {
    /// The board for a kernel of this architecture, where nobody asks for another one.
    pub(crate) fn usual(arch: Arch) -> Self {
        match arch {
            Arch::Arm64 => Self::Raspi3b,
            Arch::Armhf => Self::Raspi2b,
        }
    }

    /// As `qemu-system-… -M help` lists it.
    pub(super) fn qemu(self) -> &'static str {
        match self {
            Self::Raspi2b => "raspi2b",
            Self::Raspi3b => "raspi3b",
            Self::Raspi4b => "raspi4b",
            Self::Virt => "virt",
        }
    }

    /// The console's device.
    pub(super) fn console(self) -> &'static str {
        match self {
            Self::Raspi3b | Self::Raspi4b => "ttyS1",
            Self::Raspi2b | Self::Virt => "ttyAMA0",
        }
    }

    /// Names that its device tree has, in Debian's kernel and in Raspberry Pi's; none where QEMU
    /// makes it.
    pub(super) fn device_trees(self) -> &'static [&'static str] {
        match self {
            Self::Raspi2b => &["bcm2836-rpi-2-b.dtb", "bcm2709-rpi-2-b.dtb"],
            Self::Raspi3b => &["bcm2837-rpi-3-b.dtb", "bcm2710-rpi-3-b.dtb"],
            Self::Raspi4b => &["bcm2711-rpi-4-b.dtb"],
            Self::Virt => &[],
        }
    }
}
