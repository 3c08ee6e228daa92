//! Nothing that is of the build alone is in an image: what the program knows of is taken out, and
//! what is left stops the export.

#[path = "common/mod.rs"]
mod common;

use common::{ROOT, Tree, both, debugfs};
use std::fs;

#[test]
fn what_a_tree_says_of_the_machine_id_stays() {
    for (text, kept) in [
        ("uninitialized", "uninitialized"),
        ("0123456789abcdef0123456789abcdef", ""),
    ] {
        let tree = Tree::new("arm64");
        hand_made(&tree, &format!("echo {text} > etc/machine-id"));
        tree.build(&["--set", "BOOT_SIZE=64M", "--set", "DEPLOY_COMPRESSION=none"]);
        let image = tree.dir.join("deploy/2026-01-31-Test.img");
        let found = debugfs(&image, ROOT, "cat /etc/machine-id");
        let found: Vec<_> = found
            .lines()
            .filter(|l| !l.starts_with("debugfs"))
            .collect();
        assert_eq!(found.concat(), kept);
    }
}

/// The smallest root, made by hand, and `more` done in it.
fn hand_made(tree: &Tree, more: &str) {
    tree.script(
        "stages/stage0/prerun.sh",
        &format!(
            r#"mkdir -p "${{ROOTFS_DIR}}"/{{etc/apt/sources.list.d,etc/apt/apt.conf.d,usr/sbin,boot/firmware,opt}}
cd "${{ROOTFS_DIR}}"
echo 'ROOTDEV / ext4 defaults 0 1' > etc/fstab
echo 'root=ROOTDEV rootwait' > boot/firmware/cmdline.txt
{more}"#
        ),
    );
    tree.file("stages/stage0/EXPORT_IMAGE", "\n");
}

#[test]
fn an_image_with_traces_of_the_build_is_not_made() {
    let temp = "TEMP_REPO=deb [trusted=yes] http://192.0.2.7/temp RELEASE main";
    let proxy = &format!("APT_PROXY=http://127.0.0.1:{}", common::proxy());
    let password = "FIRST_USER_PASS=Correct-horse-9";
    for (script, setting, words) in [
        (
            "printf '%s\\n' 'deb http://own x main' \"${TEMP_REPO//RELEASE/${RELEASE}}\" > etc/apt/sources.list",
            temp,
            "/etc/apt/sources.list has the archive of TEMP_REPO",
        ),
        (
            "printf '%s\\n' 'APT::Get::Assume-Yes \"1\";' \"Acquire::http::Proxy \\\"${APT_PROXY}\\\";\" > etc/apt/apt.conf.d/01own",
            proxy,
            "/etc/apt/apt.conf.d/01own has the address of APT_PROXY",
        ),
        (
            "echo \"${WORK_DIR}/x\" > opt/note",
            temp,
            "/opt/note has the value of WORK_DIR",
        ),
        (
            "ln -s \"${STAGE_DIR}\" opt/link",
            temp,
            "/opt/link has the value of BASE_DIR",
        ),
        (
            "mkdir -p .westwork-gen/own",
            temp,
            "/.westwork-gen has the mount point",
        ),
        (
            "mkdir -p usr/local/sbin; printf '#!/bin/sh\\nexit 101\\n' > usr/local/sbin/policy-rc.d",
            temp,
            "/usr/local/sbin/policy-rc.d has the build's policy-rc.d",
        ),
        (
            "echo \"${FIRST_USER_PASS}\" > opt/pass",
            password,
            "/opt/pass has the password of FIRST_USER_PASS",
        ),
    ] {
        let tree = Tree::new("arm64");
        hand_made(&tree, script);
        let output = tree.run(&["build", "--set", "BOOT_SIZE=64M", "--set", setting]);
        let text = both(&output);
        assert_eq!(output.status.code(), Some(1), "{words}: {text}");
        assert!(text.contains(words), "{words}: {text}");
        assert!(!text.contains("Correct-horse"), "{text}");
        let deploy = tree.dir.join("deploy");
        let left = fs::read_dir(deploy).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{words}");
    }
}

#[test]
fn sources_and_proxies_of_the_build_alone_are_taken_out() {
    let tree = Tree::new("arm64");
    hand_made(
        &tree,
        "echo \"${TEMP_REPO//RELEASE/${RELEASE}}\" > etc/apt/sources.list.d/00-temp.list
echo \"Acquire::http { Proxy \\\"${APT_PROXY}\\\"; };\" > etc/apt/apt.conf.d/51cache
echo 'deb http://own.example x main' > etc/apt/sources.list.d/own.list",
    );
    tree.build(&[
        "--set",
        "TEMP_REPO=deb [trusted=yes] http://192.0.2.7/temp RELEASE main",
        "--set",
        &format!("APT_PROXY=http://127.0.0.1:{}", common::proxy()),
        "--set",
        "BOOT_SIZE=64M",
        "--set",
        "DEPLOY_COMPRESSION=none",
    ]);
    let image = tree.dir.join("deploy/2026-01-31-Test.img");
    let list = |path: &str| debugfs(&image, ROOT, &format!("ls -p {path}"));
    let (sources, conf) = (list("/etc/apt/sources.list.d"), list("/etc/apt/apt.conf.d"));
    assert!(
        sources.contains("own.list") && !sources.contains("00-temp"),
        "{sources}"
    );
    assert!(!conf.contains("51cache"), "{conf}");
}
