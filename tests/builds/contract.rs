//! The stage contract, and what must never get into an image.

use crate::common::{self, Tree, both, target};
use std::fs;
use std::process::Command;

/// A tree with a step of every kind, and a last step that looks at what they did.
fn every_kind(arch: &str) -> Tree {
    let tree = Tree::new(arch).with_bootstrap();
    let outside = tree.dir.parent().unwrap().join("outside");
    tree.file("config", &format!(
        "IMG_NAME=Test\n{}STAGE_LIST=(stages/stage0 '{}')\nexport OWN_SETTING='two words'\nFIRST_USER_NAME=anna\n",
        target(arch),
        outside.display()
    ));
    let sub = "stages/stage0/00-kinds";
    tree.file(
        &format!("{sub}/00-debconf"),
        "tzdata tzdata/Areas select ${OWN_AREA}\n",
    );
    tree.file(
        "config",
        &format!(
            "{}export OWN_AREA=Europe\n",
            fs::read_to_string(tree.dir.join("config")).unwrap()
        ),
    );
    tree.file(
        &format!("{sub}/00-packages-nr"),
        "# a pager\nless  netbase # and names\n",
    );
    tree.file(&format!("{sub}/00-packages"), "netbase-\n");
    tree.file(&format!("{sub}/01-patches/series"), "one.diff\n# nothing\n");
    tree.file(
        &format!("{sub}/01-patches/one.diff"),
        "--- a/rootfs/etc/debian_version.new\n+++ b/rootfs/etc/debian_version.new\n@@ -0,0 +1 @@\n+patched\n",
    );
    tree.file(&format!("{sub}/files/note"), "data\n");
    tree.script(
        &format!("{sub}/01-run.sh"),
        "install -m 640 files/note \"${ROOTFS_DIR}/etc/note\"\n\
         INNER='of the host script' on_chroot <<-EOF\n\
         \tset -u\n\
         \techo \"$(basename \"$PWD\") \\$INNER \\$OWN_SETTING $FIRST_USER_NAME\" > /etc/said\n\
         \tcat >> /etc/said\n\
         EOF\n\
         on_chroot -c 'echo arguments >> /etc/said'\n\
         echo temporary > \"${ROOTFS_DIR}/tmp/seen-by-the-image\"\n\
         log 'host script done'",
    );
    tree.file(
        &format!("{sub}/02-run-chroot.sh"),
        "read -r line && exit 3\nuname -m > /etc/machine\ndpkg --print-architecture >> /etc/machine\n\
         od -An -tx1 -j18 -N1 /bin/sh >> /etc/machine\n\
         perl -MConfig -e 'print \"$Config{archname}\\n\"' >> /etc/machine\ncp /bin/sh /root/sh\ncmp /bin/sh /root/sh\n\
         test ! -e /etc/debian_chroot\ntest -z \"$(ls -A /sys)\"\n! ls /dev/sda /dev/vda /dev/loop0\n\
         echo x > /run/gone; echo x > /tmp/gone\n/usr/sbin/policy-rc.d && exit 4\ntrue",
    );
    tree.file("stages/stage0/01-skipped/SKIP", "");
    tree.file("stages/stage0/01-skipped/00-run-chroot.sh", "exit 1\n");
    fs::create_dir_all(outside.join("00-look")).unwrap();
    fs::write(outside.join("prerun.sh"), "#!/bin/bash -e\nif [ ! -d \"${ROOTFS_DIR}\" ]; then copy_previous; fi\ntest -d \"${PREV_ROOTFS_DIR}/usr\"\n").unwrap();
    fs::write(outside.join("00-look/00-run.sh"), LOOK).unwrap();
    for script in ["prerun.sh", "00-look/00-run.sh"] {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(outside.join(script), fs::Permissions::from_mode(0o755)).unwrap();
    }
    tree
}

const LOOK: &str = r#"#!/bin/bash -e
cd "${ROOTFS_DIR}"
check() { "$@" || { echo "NOT SO: $*"; exit 1; }; }
check test -x usr/bin/less
check test ! -e usr/share/doc/netbase
check test "$(cat etc/debian_version.new)" = patched
check test "$(stat -c '%a %u' etc/note)" = '640 0'
check test "$(head -n 1 etc/said)" = '00-kinds of the host script two words anna'
check test "$(tail -n 1 etc/said)" = arguments
check test "$(wc -l < etc/said)" = 2
check grep -q Europe var/cache/debconf/config.dat
check test ! -e tmp/seen-by-the-image
check test ! -e tmp/gone
check test ! -e run/gone
check test ! -e usr/sbin/policy-rc.d
check test ! -e etc/resolv.conf
check test "$(stat -c %a etc/hostname)" = 644
check test ! -e .westwork-gen
cat etc/machine
for name in IMG_NAME IMG_DATE RELEASE ARCH STAGE STAGE_DIR STAGE_WORK_DIR SUB_STAGE_DIR PREV_STAGE ROOTFS_DIR BASE_DIR WORK_DIR LOG_FILE; do
	check test -n "${!name}"
done
check test "$PREV_STAGE" = stage0
ensure_next_loopdev; unmount "$ROOTFS_DIR"; unmount_image nothing
"#;

fn kinds(arch: &str, machine: &str, elf: &str, perl: &str) {
    let tree = every_kind(arch);
    tree.build(&[]);
    let log = tree.log();
    assert!(
        log.contains(&format!("{machine}\n{arch}\n {elf}\n{perl}\n")),
        "{log}"
    );
    let again = tree.build(&[]);
    let ran: Vec<&str> = again
        .lines()
        .filter(|line| line.contains("stage0/") && !line.contains("cached"))
        .collect();
    assert!(ran.is_empty(), "a second build ran {ran:?}");
}

#[test]
fn every_kind_of_step_on_arm64() {
    kinds("arm64", "aarch64", "b7", "aarch64-linux-gnu-thread-multi");
}

#[test]
fn every_kind_of_step_on_armhf() {
    kinds(
        "armhf",
        "armv7l",
        "28",
        "arm-linux-gnueabihf-thread-multi-64int",
    );
}

#[test]
fn debootstrap_makes_the_same_start() {
    let tree = Tree::new("arm64");
    tree.script(
        "stages/stage0/prerun.sh",
        "bootstrap \"${RELEASE}\" \"${ROOTFS_DIR}\" \"${MIRROR}\" --variant=minbase",
    );
    tree.file(
        "stages/stage0/00-a/00-run-chroot.sh",
        "test \"$(dpkg --print-architecture)\" = arm64\n",
    );
    tree.build(&["--set", "BOOTSTRAP=debootstrap"]);
}

#[test]
fn the_proxy_is_used_and_leaves_no_trace() {
    let tree = Tree::new("arm64").with_bootstrap();
    tree.file("stages/stage0/00-a/00-run-chroot.sh", "apt-get update\n");
    let cache = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let address = format!("127.0.0.1:{}", common::proxy());
    let set = |key: &str, value: &str| format!("{key}={value}");
    tree.build(&[
        "--emulate",
        "--set",
        &set("APT_PROXY", &format!("http://{address}")),
        "--set",
        &set("CACHE_DIR", cache.path().to_str().unwrap()),
    ]);
    assert!(
        fs::read_dir(cache.path().join("packages/arm64"))
            .unwrap()
            .count()
            > 20,
        "nothing was fetched"
    );
    let layers = tree.dir.join("work/layers");
    let found = Command::new("grep")
        .args(["-rlF", &address])
        .arg(&layers)
        .output()
        .unwrap();
    assert_eq!(both(&found), "", "the proxy's address is in the image");
}
