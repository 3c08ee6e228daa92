//! The QEMU command line.

use super::BootFiles;
use crate::base::arch::Arch;
use crate::base::command::Command;
use crate::base::tool::Tool;
use base64::Engine;
use std::ffi::OsString;
use std::path::Path;

/// Begins each line the report unit writes to the console.
pub(super) const MARK: &str = "westwork-report:";

/// A unit that waits for the boot to end and tells how it went. systemd takes it
/// from a credential on the kernel command line (systemd.system-credentials(7),
/// `systemd.extra-unit.*`, since 256), so the image stays as it is. `simple`, for a
/// boot job that waited for the end of all boot jobs would never end. Short: an arm
/// kernel's command line has 1024 bytes.
fn report_unit() -> String {
    format!(
        "[Service]\nExecStart=sh -c 'exec >/dev/console;s=$(systemctl is-system-running --wait);\
         p(){{ echo;echo {MARK} $*;}};systemctl --failed --no-legend --plain|while read u r;do \
         p failed $u;done;p size $(findmnt -bno SIZE /);p state $s;sync;p end'\n"
    )
    .replace('$', "$$")
}

/// The whole command. QEMU gets a signal when its parent dies.
pub(super) fn command(boot: &BootFiles, image: &Path, test: bool) -> Command {
    let (machine, console) = match boot.arch {
        Arch::Arm64 => ("raspi3b", "ttyS1"),
        Arch::Armhf => ("raspi2b", "ttyAMA0"),
    };
    let mut drive = OsString::from("if=sd,format=raw,file=");
    drive.push(image.to_string_lossy().replace(',', ",,"));
    let mut command = Command::new(Tool::QemuSystem(boot.arch))
        .through(Tool::Setpriv, ["--pdeathsig", "KILL"])
        .args(["-M", machine, "-display", "none", "-no-reboot", "-drive"])
        .arg(drive)
        .arg("-kernel")
        .arg(&boot.kernel)
        .arg("-dtb")
        .arg(&boot.dtb);
    if let Some(initrd) = &boot.initrd {
        command = command.arg("-initrd").arg(initrd);
    }
    let line = cmdline(&boot.cmdline, console, test);
    command = command.arg("-append").arg(line);
    // The Pi 3's console is its second serial port.
    if boot.arch == Arch::Arm64 {
        command = command.args(["-serial", "null"]);
    }
    if test {
        command.args(["-serial", "stdio", "-monitor", "none"])
    } else {
        command.args(["-serial", "mon:stdio"])
    }
}

/// The image's own command line with QEMU's console in place of its own.
fn cmdline(own: &str, console: &str, test: bool) -> String {
    let mut words: Vec<_> = own
        .split_whitespace()
        .filter(|word| !word.starts_with("console=") && *word != "quiet")
        .map(str::to_owned)
        .collect();
    words.push(format!("console={console},115200"));
    if test {
        let unit = base64::engine::general_purpose::STANDARD.encode(report_unit());
        words.push(format!(
            "systemd.set_credential_binary=systemd.extra-unit.ww-report.service:{unit}"
        ));
        words.push("systemd.wants=ww-report.service".into());
        // An emulated board on a busy machine finds its devices late; that is not its fault.
        words.push("systemd.default_device_timeout_sec=600".into());
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn command_line_fits_an_arm_kernel() {
        let own = "console=serial0,115200 console=tty1 root=PARTUUID=12345678-02 rootfstype=ext4 \
                   fsck.repair=yes rootwait quiet net.ifnames=0 cma=64M";
        let line = super::cmdline(own, "ttyAMA0", true);
        assert!(line.len() < 1000, "{}", line.len());
        assert!(!line.contains("serial0"));
    }
}
