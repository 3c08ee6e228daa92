//! The QEMU command line.

use super::machine::Machine;
use super::{BootFiles, Card};
use crate::base::command::Command;
use crate::base::tool::Tool;
use anyhow::{Result, bail};
use base64::Engine;
use std::ffi::OsString;

/// Begins each line the report unit writes to the console.
pub(super) const MARK: &str = "westwork-report:";

/// Waits for the boot to end and tells how it went.
pub(super) fn report_script() -> String {
    format!(
        "exec >/dev/console;s=$(systemctl is-system-running --wait);\
         p(){{ echo;echo {MARK} $*;}};systemctl --failed --no-legend --plain|while read u r;do \
         p failed $u;done;p size $(findmnt -bno SIZE /);p state $s;sync;p end"
    )
}

/// Words of the kernel's command line that have the image's systemd run `script`, a line of sh
/// without quotes, so that the image stays as it is. Short: an arm kernel's command line has 1024
/// bytes.
///
/// systemd takes a unit from a credential (systemd.system-credentials(7), `systemd.extra-unit.*`)
/// since 256. It is `simple`, for a boot job that waited for the end of all boot jobs would never
/// end. An `old` one makes a job of `systemd.run=` (systemd-run-generator(8)), which therefore
/// only starts another unit; the target is named, because that word would replace it.
fn words(script: &str, old: bool) -> Vec<String> {
    if old {
        // Both units take a dollar sign for a variable.
        let script = script.replace('$', "$$$$");
        return vec![
            format!("systemd.run=\"systemd-run --no-block sh -c '{script}'\""),
            "systemd.run_success_action=none".into(),
            "systemd.unit=graphical.target".into(),
            "systemd.wants=kernel-command-line.service".into(),
        ];
    }
    let script = script.replace('$', "$$");
    let unit = format!("[Service]\nExecStart=sh -c '{script}'\n");
    let unit = base64::engine::general_purpose::STANDARD.encode(unit);
    vec![
        format!("systemd.set_credential_binary=systemd.extra-unit.ww-report.service:{unit}"),
        "systemd.wants=ww-report.service".into(),
    ]
}

/// The whole command. QEMU gets a signal when its parent dies. The image's systemd runs
/// `script`; without one somebody sits at the console. With `network` there is one that leads
/// nowhere.
///
/// # Errors
/// When this QEMU does not know the board.
pub(super) fn command(
    boot: &BootFiles,
    card: &Card,
    script: Option<&str>,
    network: bool,
) -> Result<Command> {
    let machine = boot.machine;
    known(boot)?;
    let mut drive = OsString::from(match machine {
        Machine::Virt => "if=none,id=card,format=raw,file=",
        _ => "if=sd,format=raw,file=",
    });
    drive.push(card.disk.path());
    let mut command = Command::new(Tool::QemuSystem(boot.arch))
        .through(Tool::Setpriv, ["--pdeathsig", "KILL"])
        .args(["-M", machine.qemu(), "-display", "none", "-no-reboot"])
        .arg("-drive")
        .arg(drive)
        .arg("-kernel")
        .arg(boot.kernel.path());
    if machine == Machine::Virt {
        command = command
            .args(["-cpu", "max", "-smp", "2", "-m", "1G"])
            .args(["-device", "virtio-blk-device,drive=card"]);
    }
    if let Some(dtb) = &boot.dtb {
        command = command.arg("-dtb").arg(dtb.path());
    }
    if let Some(initrd) = &boot.initrd {
        command = command.arg("-initrd").arg(initrd.path());
    }
    if network {
        // Boards have their network at the USB; nothing gets out of it.
        let device = match machine {
            Machine::Virt => "virtio-net-device,netdev=net",
            _ => "usb-net,netdev=net",
        };
        let net = "user,id=net,restrict=on";
        command = command.args(["-netdev", net, "-device", device]);
    } else if machine == Machine::Virt {
        command = command.args(["-net", "none"]);
    }
    let line = cmdline(&boot.cmdline, machine.console(), script, card.old_systemd);
    command = command.arg("-append").arg(line);
    // The second serial port.
    if machine.console() == "ttyS1" {
        command = command.args(["-serial", "null"]);
    }
    Ok(if script.is_some() {
        command.args(["-serial", "stdio", "-monitor", "none"])
    } else {
        command.args(["-serial", "mon:stdio"])
    })
}

/// An error if this QEMU does not know the board.
fn known(boot: &BootFiles) -> Result<()> {
    // The others have been there for long.
    if boot.machine != Machine::Raspi4b {
        return Ok(());
    }
    let qemu = Command::new(Tool::QemuSystem(boot.arch));
    let list = qemu.args(["-M", "help"]).read()?;
    let name = boot.machine.qemu();
    if !list
        .lines()
        .any(|line| line.starts_with(&format!("{name} ")))
    {
        bail!("this QEMU has no {name}; QEMU 9.0 or newer has it, or leave --machine out");
    }
    Ok(())
}

/// The image's own command line with QEMU's console in place of its own.
fn cmdline(own: &str, console: &str, script: Option<&str>, old: bool) -> String {
    let mut all: Vec<_> = own
        .split_whitespace()
        .filter(|word| !word.starts_with("console=") && *word != "quiet")
        .map(str::to_owned)
        .collect();
    all.push(format!("console={console},115200"));
    // This start is for somebody else's script, such as settings for the first boot, which ends
    // with a restart.
    let taken = own.contains("systemd.run=");
    if let Some(script) = script.filter(|_| !taken) {
        all.extend(words(script, old));
        // An emulated board on a busy machine finds its devices late; that is not its fault.
        all.push("systemd.default_device_timeout_sec=600".into());
    }
    all.join(" ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn command_line_fits_an_arm_kernel() {
        let own = "console=serial0,115200 console=tty1 root=PARTUUID=12345678-02 rootfstype=ext4 \
                   fsck.repair=yes rootwait quiet net.ifnames=0 cma=64M";
        for script in [super::report_script(), crate::images::boot::live::script()] {
            for old in [false, true] {
                let line = super::cmdline(own, "ttyAMA0", Some(&script), old);
                assert!(line.len() < 1000, "{}", line.len());
            }
        }
        let line = super::cmdline(own, "ttyAMA0", None, false);
        assert!(!line.contains("serial0"));
    }
}
