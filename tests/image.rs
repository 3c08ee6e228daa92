//! The default image, as the README's first command makes it: looked into, then booted.

mod common;
#[path = "common/schemas.rs"]
mod schemas;

use common::{PROGRAM, both, cache};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a program that must succeed, and returns what it printed.
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let text = both(&output);
    assert!(output.status.success(), "{program} {args:?}:\n{text}");
    text
}

/// Builds config.example from a directory that has nothing but the tree.
fn build(dir: &Path) -> PathBuf {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["stages", "config.example"] {
        std::os::unix::fs::symlink(tree.join(name), dir.join(name)).unwrap();
    }
    let output = Command::new(PROGRAM)
        .args(["build", "--timings", "-c", "config.example"])
        .args(["--set", "IMG_DATE=2026-01-31", "--set", "EXTRA_SUITES="])
        .current_dir(dir)
        .env("CACHE_DIR", cache())
        .output()
        .unwrap();
    println!("{}", both(&output));
    assert!(output.status.success());
    dir.join("deploy/2026-01-31-Westwork-lite.img.zst")
}

/// Offset and size in bytes of the partitions of `image`.
fn partitions(image: &str) -> Vec<(u64, u64)> {
    let table: serde_json::Value =
        serde_json::from_str(&run("sfdisk", &["--json", image])).unwrap();
    let table = &table["partitiontable"];
    assert_eq!(table["label"], "dos");
    let field = |partition: &serde_json::Value, name: &str| partition[name].as_u64().unwrap() * 512;
    let partitions = table["partitions"].as_array().unwrap();
    partitions
        .iter()
        .map(|partition| (field(partition, "start"), field(partition, "size")))
        .collect()
}

#[test]
fn the_default_image_is_sound_and_boots() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let artefact = build(dir.path());
    let artefact = artefact.to_str().unwrap();
    let deploy = dir.path().join("deploy");
    let sums = Command::new("sha256sum")
        .args(["--check", "--quiet", "SHA256SUMS"])
        .current_dir(&deploy)
        .status()
        .unwrap();
    assert!(sums.success());
    schemas::assert_beside(&deploy, "2026-01-31-Westwork-lite");
    let image = dir.path().join("image");
    let image = image.to_str().unwrap();
    run("zstd", &["-dq", "--sparse", artefact, "-o", image]);

    let parts = partitions(image);
    let [(boot, boot_size), (root, _)] = parts[..] else {
        panic!("{parts:?}")
    };
    boot_partition(dir.path(), image, boot, boot_size);
    root_partition(&format!("{image}?offset={root}"));

    let verdict = run(PROGRAM, &["boot", "--test", artefact]);
    assert!(verdict.contains("failed units: \n"), "{verdict}");
    let size = verdict
        .split("root file system: ")
        .nth(1)
        .and_then(|text| text.split(' ').next())
        .unwrap();
    assert!(
        size.parse::<u64>().unwrap() > 7000,
        "the root did not grow to the card of 8 GiB: {size} MiB"
    );
    run("rm", &["-rf", dir.path().join("work").to_str().unwrap()]);
}

fn boot_partition(dir: &Path, image: &str, at: u64, size: u64) {
    let copy = dir.join("boot.fat");
    let copy = copy.to_str().unwrap();
    let block = 1 << 20;
    run(
        "dd",
        &[
            "status=none",
            "bs=1M",
            &format!("if={image}"),
            &format!("of={copy}"),
            &format!("skip={}", at / block),
            &format!("count={}", size / block),
        ],
    );
    run("fsck.vfat", &["-n", copy]);
    let read = |name: &str| run("mtype", &["-i", copy, &format!("::/{name}")]);
    assert!(
        read("cmdline.txt").contains("root=PARTUUID="),
        "{}",
        read("cmdline.txt")
    );
    let list = run("mdir", &["-b", "-i", copy, "::/"]);
    for name in [
        "config.txt",
        "vmlinuz",
        "initrd.img",
        "bcm2710-rpi-3-b-plus.dtb",
        "start4.elf",
        "bootcode.bin",
    ] {
        let there = list.contains(name)
            || list.contains(&name.replace("bcm2710-rpi-3-b-plus", "bcm2837-rpi-3-b-plus"));
        assert!(there, "{name} is not in\n{list}");
    }
    let config = read("config.txt");
    let kernel = config
        .lines()
        .find_map(|line| line.strip_prefix("kernel="))
        .expect("a kernel");
    assert!(list.contains(kernel), "{kernel} is not in\n{list}");
}

fn root_partition(root: &str) {
    run("e2fsck", &["-fn", root]);
    let debugfs = |request: &str| run("debugfs", &["-R", request, root]);
    let fstab = debugfs("cat /etc/fstab");
    assert!(
        fstab.matches("PARTUUID=").count() == 2 && !fstab.contains("ROOTDEV"),
        "{fstab}"
    );
    let shadow = debugfs("cat /etc/shadow");
    for user in ["root", "westwork"] {
        let field = shadow
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{user}:")))
            .unwrap();
        assert!(
            field.starts_with(['*', '!']),
            "{user} can log in with a password: {field}"
        );
    }
    assert!(
        debugfs("cat /etc/hostname")
            .lines()
            .any(|line| line == "westwork")
    );
    assert_eq!(
        debugfs("cat /etc/machine-id")
            .lines()
            .filter(|line| line.len() == 32)
            .count(),
        0
    );
    assert!(
        !debugfs("ls -p /etc/ssh").contains("ssh_host_"),
        "SSH host keys are shipped"
    );
    assert!(
        !debugfs("ls -p /").contains("westwork-gen"),
        "the tools' mount point is shipped"
    );
    assert_eq!(
        debugfs("ls -p /var/lib/apt/lists").matches("/100").count(),
        0,
        "package lists are shipped"
    );
    // The journal's directory has an access control list, which is kept.
    let attributes = debugfs("ea_list /var/log/journal");
    assert!(
        attributes.contains("system.posix_acl_default"),
        "{attributes}"
    );
}
