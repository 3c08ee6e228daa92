//! A tree in the shape of a pi-gen checkout, as forks have them: with functions and defaults of its
//! own, pi-gen's ways of naming things, and nothing in the config but a name.

use crate::common::{debugfs, host_mirror, release};
use crate::fixture::{Fixture, cache};
use std::fs;
use std::path::Path;

/// In pi-gen's form, by other words: a fork's own default and variable among pi-gen's.
const BUILD: &str = r#"#!/bin/bash -e
run_stage(){
	exit 1
}
own_helper() {
	exit 1
}
VERSION="1.$(echo 5)"
export ARCH=arm64
export RELEASE=${RELEASE:-SUITE}
export TARGET_HOSTNAME=${TARGET_HOSTNAME:-raspberrypi}
export FIRST_USER_NAME=${FIRST_USER_NAME:-pi}
export TIMEZONE_DEFAULT="${TIMEZONE_DEFAULT:-Europe/Vienna}"
export NEW_VERSION="v${VERSION}"
if true; then
	export INSIDE=1
fi
exit 1
"#;

/// pi-gen's functions do here what can only fail; the fork has added one.
const COMMON: &str = r#"log (){
	exit 1
}
export -f log
on_chroot() {
	mount --bind /dev "${ROOTFS_DIR}/dev"
	exit 1
}
export -f on_chroot
copy_overlay() {
	log "copying $1"
	install -D -m 644 "files$1" "${ROOTFS_DIR}$1"
}
export -f copy_overlay
"#;

const HOST: &str = r#"#!/bin/bash -e
copy_overlay /etc/overlaid
source "${SCRIPT_DIR}/common"
on_chroot << EOF
echo by the program > /etc/sourced
EOF
copy_overlay /etc/overlaid-again
mkdir -p "${ROOTFS_DIR}/home/pi/data"
echo "${NEW_VERSION} ${TARGET_HOSTNAME} ${FIRST_USER_NAME} ${ENABLE_CLOUD_INIT} ${TIMEZONE_DEFAULT}" > "${ROOTFS_DIR}/etc/said"
for name in WPA_COUNTRY FIRST_USER_PASS INSIDE; do
	[ ! -v "$name" ] || echo "$name" >> "${ROOTFS_DIR}/etc/said"
done
"#;

const BOOT: &str = r#"#!/bin/bash -e
install -d "${ROOTFS_DIR}/boot/firmware"
printf 'BOOTDEV /boot/firmware vfat defaults 0 2\nROOTDEV / ext4 defaults 0 1\n' > "${ROOTFS_DIR}/etc/fstab"
install -m 644 files/cmdline.txt "${ROOTFS_DIR}/boot/firmware/cmdline.txt"
"#;

/// As a tree that puts its own sources in the place of what the bootstrap wrote.
const SOURCES: &str = r#"#!/bin/bash -e
echo '# all of them are elsewhere' > "${ROOTFS_DIR}/etc/apt/sources.list"
rm -f "${ROOTFS_DIR}"/etc/apt/sources.list.d/*
on_chroot << EOF
apt-get update
EOF
"#;

const IMAGE: &str = r#"#!/bin/bash -e
echo "$(basename "${EXPORT_DIR}") ${IMG_FILENAME}${IMG_SUFFIX}" > "${ROOTFS_DIR}/etc/exported"
update_issue "$(basename "${EXPORT_DIR}")"
"#;

fn tree() -> Fixture {
    let f = Fixture::new("arm64");
    let suite = release("arm64");
    let cache = cache().canonicalize().unwrap();
    f.file(
        "config",
        &format!(
            "IMG_NAME=forked\nIMG_DATE=2026-01-31\nDEPLOY_COMPRESSION=none\nUSE_QEMU=1\n\
             export OWN_AREA=Pacific\nCACHE_DIR='{}'\nexport EXTRA_SUITES=\nGIT_HASH=0123abcd\n",
            cache.display()
        ),
    );
    f.script("build.sh", &BUILD.replace("SUITE", suite));
    f.file("scripts/common", COMMON);
    f.script(
        "stage0/prerun.sh",
        &format!(
            "#!/bin/bash -e\nif [ ! -d \"${{ROOTFS_DIR}}\" ]; then\n\
             \tbootstrap --variant minbase --include=netbase ${{RELEASE}} \"${{ROOTFS_DIR}}\" {}/\nfi\n",
            host_mirror()
        ),
    );
    f.file(
        "stage0/00-install/00-debconf",
        "tzdata tzdata/Areas select $OWN_AREA\ntzdata tzdata/Zones/${OWN_AREA} select Fiji\n",
    );
    f.file(
        "stage0/00-install/00-packages-nr",
        "tzdata ${ARCH:+less} ${WPA_COUNTRY:+no-such-package}\n",
    );
    f.script("stage1/prerun.sh", "#!/bin/bash -e\ncopy_previous\n");
    f.script("stage1/00-boot/00-run.sh", BOOT);
    f.file(
        "stage1/00-boot/files/cmdline.txt",
        "console=tty1 root=/dev/mmcblk0p2 rootwait\n",
    );
    f.script("stage1/01-own/00-run.sh", HOST);
    f.file("stage1/01-own/files/etc/overlaid", "once\n");
    f.file("stage1/01-own/files/etc/overlaid-again", "twice\n");
    f.file("stage1/01-own/00-run.sh.orig", "exit 1\n");
    f.file("stage1/01-own/01-notes.md", "exit 1\n");
    f.file("stage1/01-own/01-files/x", "exit 1\n");
    f.file(
        "stage1/EXPORT_IMAGE",
        "IMG_SUFFIX=\"-lite\"\nif [ \"${USE_QEMU}\" = \"1\" ]; then\n\texport IMG_SUFFIX=\"${IMG_SUFFIX}-qemu\"\nfi\n",
    );
    f.script("stage2/prerun.sh", "#!/bin/bash -e\ncopy_previous\n");
    f.script("stage2/00-sources/00-run.sh", SOURCES);
    f.file(
        "stage2/00-sources/01-run-chroot.sh",
        "cat /etc/said > /etc/said-again\n",
    );
    // Keeps the suffix of the image before.
    f.file("stage2/EXPORT_IMAGE", "IMG_FILENAME=own-name\n");
    f.script("export-image/00-issue/00-run.sh", IMAGE);
    f
}

/// Where the root file system of `image` begins.
const ROOT: u64 = (4 + 512) << 20;

fn cat(image: &Path, path: &str) -> String {
    let said = debugfs(image, ROOT, &format!("cat {path}"));
    let lines = said.lines().filter(|line| !line.starts_with("debugfs "));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_fork_of_pigen_is_what_its_author_expects() {
    let f = tree();
    let said = f.run(&["check"]).good();
    for words in [
        &format!(
            "forked: Debian {} for arm64, first user pi, host raspberrypi",
            release("arm64")
        ),
        "scripts/common: the functions of its own are there for host scripts: copy_overlay",
        "build.sh: the function own_helper is not there for scripts; move it to scripts/common",
        "build.sh:16: INSIDE is not there for scripts; export it in the config",
        "00-run.sh.orig and 2 more: passed over, for no step has such a name",
        "cmdline.txt: root=/dev/mmcblk0p2 is the image's root, and becomes its PARTUUID",
    ] {
        said.says(words);
    }
    f.run(&["build"]).good().says_not("is not written");

    let lite = f.root.join("deploy/2026-01-31-forked-lite-qemu.img");
    let own = f.root.join("deploy/own-name-lite-qemu.img");
    for (image, path, text) in [
        (&lite, "/etc/overlaid", "once\n"),
        (&lite, "/etc/overlaid-again", "twice\n"),
        (&lite, "/etc/sourced", "by the program\n"),
        (&lite, "/etc/said", "v1.5 raspberrypi pi 1 Europe/Vienna\n"),
        (
            &lite,
            "/etc/exported",
            "stage1 2026-01-31-forked-lite-qemu\n",
        ),
        (&own, "/etc/exported", "stage2 own-name-lite-qemu\n"),
        (
            &own,
            "/etc/said-again",
            "v1.5 raspberrypi pi 1 Europe/Vienna\n",
        ),
        (
            &own,
            "/etc/rpi-issue",
            "Raspberry Pi reference 2026-01-31\n\
             Generated using pi-gen, https://github.com/RPi-Distro/pi-gen, 0123abcd, stage2\n",
        ),
    ] {
        assert_eq!(cat(image, path), text, "{path}");
    }
    let answers = cat(&lite, "/var/cache/debconf/config.dat");
    assert!(
        answers.contains("Value: Pacific") && answers.contains("Value: Fiji"),
        "{answers}"
    );
    let status = cat(&lite, "/var/lib/dpkg/status");
    let is_there = |name: &str| status.contains(&format!("Package: {name}\n"));
    for name in ["ca-certificates", "gnupg", "netbase", "less"] {
        assert!(is_there(name), "{name}");
    }
    // The tree's own sources have none of them any more.
    let lock = f.read("westwork.lock");
    for name in ["base-files", "less"] {
        assert!(lock.contains(&format!("name = \"{name}\"")), "{name}");
    }
    a_skipped_stage_is_kept(&f);
}

/// pi-gen's way of working at the last stage alone.
fn a_skipped_stage_is_kept(f: &Fixture) {
    for stage in ["stage0", "stage1"] {
        f.file(&format!("{stage}/SKIP"), "");
    }
    f.file("stage1/SKIP_IMAGES", "");
    // Neither a step that has changed nor CLEAN makes it again.
    f.script("stage1/01-own/00-run.sh", "#!/bin/bash -e\nexit 1\n");
    f.file(
        "stage2/00-sources/01-run-chroot.sh",
        "echo again > /etc/said-again\n",
    );
    let said = f.run(&["build", "--set", "CLEAN=1"]).good();
    said.says("stage1/01-own/00-run.sh has changed since; SKIP keeps what it made");
    // No image before it has set a suffix.
    let own = &f.root.join("deploy/own-name.img");
    assert_eq!(
        cat(own, "/etc/said"),
        "v1.5 raspberrypi pi 1 Europe/Vienna\n"
    );
    assert_eq!(cat(own, "/etc/said-again"), "again\n");
    f.run(&["plan"])
        .good()
        .says("kept    stage1/01-own/00-run.sh");

    let said = f.run(&["build", "--set", "WORK_DIR=elsewhere"]).failed();
    said.says("stage0/SKIP: this file keeps what an earlier build made of the stage");
    said.says("no build has made stage0/prerun.sh");
    fs::remove_file(f.root.join("stage0/SKIP")).unwrap();
}
