//! The box: an image in QEMU, with a root shell on a line of its own.
//!
//! QEMU's "virt" board runs the image's own kernel, initrd and root file system two to three
//! times as fast as its Raspberry Pi 3, has two network cards and as much memory as a Pi 4.

use crate::network::{HOME_MAC, HOME_TAP, TELEPHONE_MAC, TELEPHONE_TAP};
use crate::run;
use base64::Engine;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A root shell from the beginning of the boot, by a credential on the kernel command line
/// (systemd.system-credentials(7)): the image stays as it is.
const SHELL: &str = "[Unit]\nDefaultDependencies=no\nIgnoreOnIsolate=yes\n[Service]\n\
    ExecStart=/bin/sh\nStandardInput=tty-force\nStandardOutput=tty\nStandardError=tty\n\
    TTYPath=/dev/hvc0\nRestart=always\nEnvironment=PS1=\n";

/// An emulated machine on a busy host is online late; that is not its fault.
const PATIENCE: &str = "[Service]\nEnvironment=NM_ONLINE_TIMEOUT=600\n";

/// The telephone's devices are none of the box's.
const TELEPHONES: &str = "f /run/NetworkManager/conf.d/telephone.conf 0644 root root - \
    [device-telephone]\\nmatch-device=interface-name:wlan1;interface-name:eth1\\nmanaged=0\\n\n";

/// WESTWORK_TEST_ARCH=armhf: an image for older boards, which has no chat.
pub(crate) fn is_armhf() -> bool {
    std::env::var("WESTWORK_TEST_ARCH").is_ok_and(|arch| arch == "armhf")
}

/// A disk with a system on it.
pub(crate) struct Card {
    /// Raw, with the boot partition.
    pub(crate) image: PathBuf,
    /// What has been written since, in QEMU's own format.
    changes: Option<PathBuf>,
    dir: PathBuf,
}

/// The card in a running machine; killed when dropped.
pub(crate) struct Machine {
    qemu: Child,
    line: UnixStream,
    monitor: PathBuf,
    console: PathBuf,
    asked: u32,
}

/// What a command in the machine did.
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) text: String,
}

impl Card {
    /// A card of 8 GiB with the image, raw or `.zst`, in `dir`.
    pub(crate) fn new(image: &Path, dir: &Path) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let card = dir.join("card.img");
        let (from, to) = (image.to_str().unwrap(), card.to_str().unwrap());
        if from.ends_with(".zst") {
            run("zstd", &["-dqf", "--sparse", from, "-o", to]);
        } else {
            run("cp", &["--sparse=always", from, to]);
        }
        run("truncate", &["-s", "8G", to]);
        Self {
            image: card,
            changes: None,
            dir: dir.to_owned(),
        }
    }

    /// This card, in `dir`, with what was written to it since in the file `changes`, which is
    /// made if it is not there.
    pub(crate) fn with_changes(&self, changes: &Path, dir: &Path) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        if !changes.exists() {
            let base = self.image.to_str().unwrap();
            let args = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", base];
            run(
                "qemu-img",
                &[&args[..], &[changes.to_str().unwrap()]].concat(),
            );
        }
        Self {
            image: self.image.clone(),
            changes: Some(changes.to_owned()),
            dir: dir.to_owned(),
        }
    }

    /// Byte offset of the boot partition, for mtools.
    fn boot_drive(&self) -> String {
        let table = run("sfdisk", &["--json", self.image.to_str().unwrap()]);
        let table: serde_json::Value = serde_json::from_str(&table).unwrap();
        let start = &table["partitiontable"]["partitions"][0]["start"];
        format!(
            "{}@@{}",
            self.image.display(),
            start.as_u64().unwrap() * 512
        )
    }

    /// A file of the boot partition, as somebody reads it who puts the card into a reader.
    pub(crate) fn boot_file(&self, name: &str) -> String {
        run("mtype", &["-i", &self.boot_drive(), &format!("::/{name}")])
    }

    /// Kernel, initrd and command line, as the firmware would find them.
    fn boot_files(&self) -> (PathBuf, PathBuf, String) {
        let config = self.boot_file("config.txt");
        let value = |key: &str| {
            let line = config.lines().find(|line| line.starts_with(key));
            let name = line.unwrap_or_else(|| panic!("no {key} in config.txt"));
            name[key.len() + 1..].trim().to_owned()
        };
        let fetch = |name: String| {
            let to = self.dir.join(&name);
            let from = format!("::/{name}");
            run(
                "mcopy",
                &[
                    "-n",
                    "-o",
                    "-i",
                    &self.boot_drive(),
                    &from,
                    to.to_str().unwrap(),
                ],
            );
            to
        };
        let own: Vec<_> = self
            .boot_file("cmdline.txt")
            .split_whitespace()
            .filter(|word| !word.starts_with("console=") && *word != "quiet")
            .map(str::to_owned)
            .collect();
        (
            fetch(value("kernel")),
            fetch(value("initramfs")),
            own.join(" "),
        )
    }

    /// Switches the machine on. `disk` is a second one, /dev/vdb.
    pub(crate) fn boot(&self, disk: Option<&Path>) -> Machine {
        let (kernel, initrd, own) = self.boot_files();
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let (shell, patience, telephones) = (encode(SHELL), encode(PATIENCE), encode(TELEPHONES));
        // Two radios that hear each other: the box's own, and the telephone's.
        let line = format!(
            "{own} console=ttyAMA0,115200 modules_load=mac80211_hwsim systemd.mask=serial-getty@hvc0.service \
             systemd.set_credential_binary=systemd.extra-unit.test-shell.service:{shell} \
             systemd.set_credential_binary=systemd.unit-dropin.NetworkManager-wait-online.service:{patience} \
             systemd.set_credential_binary=tmpfiles.extra:{telephones} \
             systemd.wants=test-shell.service systemd.default_device_timeout_sec=600"
        );
        let socket = self.dir.join("shell.sock");
        let console = self.dir.join("console.log");
        let _ = std::fs::remove_file(&socket);
        let mut command = Command::new("setpriv");
        let (program, board, core) = match is_armhf() {
            true => ("qemu-system-arm", "virt,highmem=off", "cortex-a15"),
            false => ("qemu-system-aarch64", "virt", "cortex-a72"),
        };
        command
            .args(["--pdeathsig", "KILL", program, "-M", board, "-cpu", core])
            .args(["-smp", "2", "-m", "2G"])
            .args([
                "-accel",
                "tcg,thread=multi",
                "-display",
                "none",
                "-no-reboot",
            ])
            .arg("-monitor")
            .arg(format!(
                "unix:{},server=on,wait=off",
                self.dir.join("monitor.sock").display()
            ))
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(initrd)
            .args(["-append", &line])
            .args(["-device", "virtio-rng-pci", "-device", "virtio-serial-pci"])
            .args(["-device", "virtconsole,chardev=shell", "-chardev"])
            .arg(format!(
                "socket,id=shell,path={},server=on,wait=off",
                socket.display()
            ));
        let card = match &self.changes {
            Some(changes) => (Some(changes.as_path()), "card", "qcow2"),
            None => (Some(self.image.as_path()), "card", "raw"),
        };
        for (disk, name, format) in [card, (disk, "disk", "raw")] {
            let Some(disk) = disk else { continue };
            command
                .arg("-drive")
                .arg(format!(
                    "if=none,id={name},format={format},discard=unmap,file={}",
                    disk.display()
                ))
                .args(["-device", &format!("virtio-blk-pci,drive={name}")]);
        }
        for (tap, mac) in [(HOME_TAP, HOME_MAC), (TELEPHONE_TAP, TELEPHONE_MAC)] {
            command
                .args([
                    "-netdev",
                    &format!("tap,id={tap},ifname={tap},script=no,downscript=no"),
                ])
                .args([
                    "-device",
                    &format!("virtio-net-pci,netdev={tap},mac={mac},romfile="),
                ]);
        }
        let qemu = command.stdin(Stdio::null()).spawn().expect("QEMU");
        let begin = Instant::now();
        let line = loop {
            match UnixStream::connect(&socket) {
                Ok(line) => break line,
                Err(error) => assert!(begin.elapsed().as_secs() < 20, "QEMU: {error}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        let mut machine = Machine {
            qemu,
            line,
            monitor: self.dir.join("monitor.sock"),
            console,
            asked: 0,
        };
        machine.wait("a root shell", 300, |m| m.sh_within("true", 10).is_some());
        machine
    }
}

impl Machine {
    /// Runs shell commands as root, which must succeed; their output.
    pub(crate) fn sh(&mut self, commands: &str) -> String {
        let answer = self.attempt(commands);
        assert_eq!(answer.code, 0, "in the box: {commands}\n{}", answer.text);
        answer.text
    }

    /// Runs shell commands as root.
    pub(crate) fn attempt(&mut self, commands: &str) -> Answer {
        let answer = self.sh_within(commands, 600);
        answer.unwrap_or_else(|| panic!("no end within 600 s in the box: {commands}"))
    }

    /// `None`: no answer within `seconds`.
    fn sh_within(&mut self, commands: &str, seconds: u64) -> Option<Answer> {
        self.asked += 1;
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        // The terminal takes lines of up to 4095 bytes.
        let code = encode(commands);
        // First an interrupt: while a terminal is set up, half a line may have been lost.
        let mut request = "\x03\nc=\n".to_owned();
        for chunk in code.as_bytes().chunks(3000) {
            request += &format!("c=${{c}}{}\n", std::str::from_utf8(chunk).unwrap());
        }
        request += &format!(
            "echo $c|base64 -d>/run/test.in;sh /run/test.in >/run/test.out 2>&1 </dev/null;\
             echo \"<\"\"<{} $? $(base64 -w0 /run/test.out)>\"\">\"\n",
            self.asked
        );
        self.line.write_all(request.as_bytes()).ok()?;
        let limit = Instant::now() + Duration::from_secs(seconds);
        let begin = format!("<<{} ", self.asked);
        let mut text = String::new();
        let mut buffer = [0; 65536];
        self.line
            .set_read_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        while Instant::now() < limit {
            match self.line.read(&mut buffer) {
                Ok(0) => return None,
                Ok(n) => text.push_str(&String::from_utf8_lossy(&buffer[..n])),
                Err(_) => continue,
            }
            let Some(answer) = text.split(&begin).nth(1) else {
                continue;
            };
            let Some((answer, _)) = answer.split_once(">>") else {
                continue;
            };
            let (code, output) = answer.split_once(' ')?;
            let output: String = output.split_whitespace().collect();
            let output = base64::engine::general_purpose::STANDARD
                .decode(output)
                .ok()?;
            return Some(Answer {
                code: code.parse().ok()?,
                text: String::from_utf8_lossy(&output).into_owned(),
            });
        }
        None
    }

    /// The set-up code, as it is on the card.
    pub(crate) fn code(&mut self) -> String {
        let code = self.sh("head -n 1 /boot/firmware/westwork-code.txt");
        code.trim().to_owned()
    }

    /// Asks again and again.
    pub(crate) fn wait(&mut self, what: &str, seconds: u64, is_so: impl Fn(&mut Self) -> bool) {
        let begin = Instant::now();
        while !is_so(self) {
            assert!(
                self.qemu.try_wait().unwrap().is_none(),
                "the machine ended before {what}"
            );
            if begin.elapsed().as_secs() > seconds {
                let state = "systemctl list-jobs; systemctl --failed; nmcli device; ip address";
                let state = self
                    .sh_within(state, 60)
                    .map_or(String::new(), |it| it.text);
                let console = self.console();
                let tail: String = console.chars().rev().take(600).collect();
                let tail: String = tail.chars().rev().collect();
                panic!("no {what} within {seconds} s\n{state}\nthe console's end:\n{tail}");
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        println!("{what}: after {} s", begin.elapsed().as_secs());
    }

    /// Waits for the end of the boot; no unit may have failed.
    pub(crate) fn booted(&mut self) {
        self.wait("the end of the boot", 900, |m| {
            let state = m.attempt("systemctl is-system-running").text;
            ["running", "degraded"].contains(&state.trim())
        });
        self.nothing_failed();
    }

    /// No unit may have failed.
    pub(crate) fn nothing_failed(&mut self) {
        let failed = self.sh("systemctl --failed --no-legend --plain | cut -d' ' -f1");
        if !failed.is_empty() {
            let units = failed.replace('\n', " ");
            let why = self.attempt(&format!(
                "for u in {units}; do journalctl -b -n 15 -o cat -u $u; done"
            ));
            panic!("failed units: {units}\n{}", why.text);
        }
    }

    /// Copies the card's changes as a cut of the power would leave them just now: what the
    /// machine has not written yet is lost.
    pub(crate) fn as_if_cut(&self, changes: &Path, to: &Path) {
        let monitor = |commands: &str| {
            let mut socket = UnixStream::connect(&self.monitor).unwrap();
            socket.write_all(commands.as_bytes()).unwrap();
            socket.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = socket.read_to_string(&mut String::new());
        };
        // Stopping also completes what the card has been given.
        monitor("stop\n");
        std::fs::copy(changes, to).unwrap();
        monitor("cont\n");
    }

    /// What the screen has shown.
    pub(crate) fn console(&self) -> String {
        let mut text = Vec::new();
        let _ = File::open(&self.console).and_then(|mut file| file.read_to_end(&mut text));
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Switches off in order.
    pub(crate) fn power_off(mut self) {
        let _ = self.line.write_all(b"systemctl poweroff\n");
        let begin = Instant::now();
        while self.qemu.try_wait().unwrap().is_none() && begin.elapsed().as_secs() < 180 {
            std::thread::sleep(Duration::from_secs(1));
        }
        assert!(
            self.qemu.try_wait().unwrap().is_some(),
            "it does not switch off"
        );
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // SIGKILL: power is gone.
        drop(self.qemu.kill());
        drop(self.qemu.wait());
    }
}
