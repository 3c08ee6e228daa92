//! Small images for the commands that read and write them.
#![allow(dead_code, reason = "each test binary uses its share of it")]

#[path = "settings.rs"]
mod settings;

use settings::settings;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use westwork_gen::base::inside::Root;
use westwork_gen::base::tool::Tool;
use westwork_gen::config::{Config, Disk, RootKind};
use westwork_gen::export::{ExportRequest, Ext4, export};

/// First byte of the partitions of [`image`].
pub(crate) const BOOT_AT: u64 = 4 << 20;
pub(crate) const ROOT_AT: u64 = 44 << 20;

/// Output of a program that must succeed.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {args:?}: {text}");
    text.into_owned()
}

/// `westwork-gen ARGS…`, without a terminal.
pub(crate) fn westwork(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_westwork-gen"))
        .args(args)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap()
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

/// Standard output and error.
pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A root file system with what the commands look at.
pub(crate) fn tree(root: &Path) {
    let file = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    file(
        "etc/fstab",
        "BOOTDEV /boot/firmware vfat defaults 0 2\nROOTDEV / ext4 defaults 0 1\n",
    );
    file(
        "usr/lib/os-release",
        "PRETTY_NAME=\"Test OS 13\"\nID=debian\n",
    );
    std::os::unix::fs::symlink("../usr/lib/os-release", root.join("etc/os-release")).unwrap();
    file("etc/hostname", "testpi\n");
    file("etc/machine-id", "");
    file(
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/bin/false\npi:x:1000:1000::/home/pi:/bin/bash\n",
    );
    file(
        "etc/shadow",
        "root:*:1::::::\ndaemon:*:1::::::\npi:$6$a$b:1::::::\n",
    );
    file("etc/ssh/ssh_host_ed25519_key.pub", "");
    file("home/pi/.ssh/authorized_keys", "ssh-ed25519 AAAA\n");
    file("usr/share/zoneinfo/Europe/London", "TZif");
    file("usr/lib/modules/6.1-arm64/modules.dep", "");
    file(
        "etc/systemd/system/multi-user.target.wants/grow-root.service",
        "",
    );
    file(
        "var/lib/dpkg/status",
        "Package: dpkg\nStatus: install ok installed\nArchitecture: arm64\nVersion: 1.22\nInstalled-Size: 100\n\n\
         Package: bash\nStatus: install ok installed\nArchitecture: arm64\nVersion: 5.2\nInstalled-Size: 20\n\n\
         Package: gone\nStatus: deinstall ok config-files\nArchitecture: arm64\nVersion: 1\nInstalled-Size: 7\n",
    );
    file("boot/firmware/cmdline.txt", "root=ROOTDEV rootwait\n");
    file(
        "boot/firmware/config.txt",
        "# comment\nkernel=vmlinuz-6.1\n",
    );
    file("boot/firmware/vmlinuz-6.1", "kernel");
    file("boot/firmware/overlays/disable-bt.dtbo", "x");
    file("boot/firmware/bcm2837-rpi-3-b.dtb", "dtb");
}

/// What an export took out of the tree, or wrote over.
pub(crate) fn tree_again(root: &Path) {
    let file = |path: &str, text: &str| fs::write(root.join(path), text).unwrap();
    fs::create_dir_all(root.join("boot/firmware")).unwrap();
    file(
        "etc/fstab",
        "BOOTDEV /boot/firmware vfat defaults 0 2\nROOTDEV / ext4 defaults 0 1\n",
    );
    file("boot/firmware/cmdline.txt", "root=ROOTDEV rootwait\n");
    file(
        "boot/firmware/config.txt",
        "# comment\nkernel=vmlinuz-6.1\n",
    );
    file("boot/firmware/vmlinuz-6.1", "kernel");
}

/// What Imager's `firstrun.sh` calls.
pub(crate) fn with_imager(root: &Path) {
    let dir = root.join("usr/lib/raspberrypi-sys-mods");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("imager_custom"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(dir.join("imager_custom"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// So many MiB that do not compress.
pub(crate) fn noise(path: &Path, mebibytes: usize) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let bytes: Vec<u8> = (0..mebibytes << 17)
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .collect();
    fs::write(path, bytes).unwrap();
}

/// Exports `root` as `NAME.img` in `dir`, without what else an export leaves there.
pub(crate) fn image(root: &Path, dir: &Path, name: &str) -> PathBuf {
    image_of(RootKind::Ext4, root, dir, name)
}

/// The same with a root file system of any kind.
pub(crate) fn image_of(kind: RootKind, root: &Path, dir: &Path, name: &str) -> PathBuf {
    let out = dir.join(format!("deploy-{name}"));
    let scratch = tempfile::tempdir_in(dir).unwrap();
    let config = Config {
        boot_size: ROOT_AT - BOOT_AT,
        root_margin: 4 << 20,
        disk: Disk {
            root: kind,
            ..Disk::default()
        },
        ..settings()
    };
    let request = ExportRequest {
        rootfs: &Root::open(root).unwrap(),
        scratch: scratch.path(),
        config: &config,
        deploy_dir: &out,
        name: name.into(),
        archive_name: name.into(),
        mkfs_root: match kind {
            RootKind::Ext4 => None,
            RootKind::Squashfs => Some(Tool::Mksquashfs.into()),
            RootKind::Erofs => Some(Tool::MkfsErofs.into()),
        },
        init_format: "none",
        record: serde_json::Value::Null,
        beside: Vec::new(),
        source_date_epoch: 1_700_000_000,
        info_lines: vec![],
        ext4: Ext4 {
            mke2fs: Tool::Mke2fs.into(),
            debugfs: Tool::Debugfs.into(),
        },
    };
    export(&request, &mut |_| {}).unwrap();
    let image = dir.join(format!("{name}.img"));
    fs::rename(out.join(format!("{name}.img")), &image).unwrap();
    image
}

/// A path as text.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
