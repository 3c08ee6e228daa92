//! A tree as people have them for pi-gen, with every construct of the contract, and exactly the
//! root file system that its author expects: natively, emulated, as root, as a user, and at
//! another path.

use crate::common::release;
use crate::fixture::{Fixture, PRERUN, PROGRAM};
use crate::need::test_name;
use crate::ordinary::Ordinary;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What both the tree and the plain one install, but for the versions and suites.
const PACKAGES: &str = "# a pager\nless  # and small things\nnetbase tzdata bc\n\n";

const PATCH_ONE: &str = "\
--- a/rootfs/etc/greeting
+++ b/rootfs/etc/greeting
@@ -1 +1,2 @@
 hello
+patched once
";

/// Against the root of the work directory itself: `-p0` in the series.
const PATCH_TWO: &str = "\
--- rootfs/etc/greeting
+++ rootfs/etc/greeting
@@ -1,2 +1,3 @@
 hello
 patched once
+patched twice
";

const PATCH_OF_EXPORT: &str = "\
--- a/rootfs/etc/greeting
+++ b/rootfs/etc/greeting
@@ -1,3 +1,4 @@
 hello
 patched once
 patched twice
+patched for the image
";

/// What an image needs to be one.
const BOOT: &str = r#"#!/bin/bash -e
install -d "${ROOTFS_DIR}/boot/firmware"
printf 'BOOTDEV /boot/firmware vfat defaults 0 2\nROOTDEV / ext4 defaults 0 1\n' > "${ROOTFS_DIR}/etc/fstab"
echo 'root=ROOTDEV rootwait' > "${ROOTFS_DIR}/boot/firmware/cmdline.txt"
"#;

/// Nested calls, with variables that the host script expands and such that the chroot does.
const HOST: &str = r#"#!/bin/bash -e
printf 'hello\n' > "${ROOTFS_DIR}/etc/greeting"
OUTER='of the host'
INNER='of the host, too'
export INNER
on_chroot << EOF
INSIDE='of the chroot'
printf '%s|%s|%s|%s\n' "${OUTER}" "\${INSIDE}" "\${INNER}" "\$(basename "\$PWD")" > /etc/nested
bash -e << 'INNERMOST'
printf '%s\n' "${INNER} ${OUTER:-not exported} $FIRST_USER_NAME" >> /etc/nested
INNERMOST
cat << 'TEXT' >> /etc/nested
\$literal
TEXT
EOF
in_a_function() {
	on_chroot <<-EOF
		echo "$1 $(log "not \$lost" | wc -l)" >> /etc/nested
	EOF
}
while read -r word; do
	in_a_function "${word}"
done << LIST
first
second
LIST
( cd / && on_chroot -c 'echo "from $1 in a subshell" >> /etc/nested' arguments here )
echo piped | on_chroot > "${STAGE_WORK_DIR}/nothing" || true
rm "${STAGE_WORK_DIR}/nothing"
cd /
"#;

/// What pi-gen has on its host, and what is left of it.
const HABITS: &str = r#"#!/bin/bash -e
test "$(basename "$PWD")" = 02-habits
setarch linux32 true
capsh --drop=cap_setfcap -- -c 'exit 0'
mkdir -p "${STAGE_WORK_DIR}/shared" "${ROOTFS_DIR}/mnt"
echo 'seen through a mount' > "${STAGE_WORK_DIR}/shared/note"
mount --bind "${STAGE_WORK_DIR}/shared" "${ROOTFS_DIR}/mnt"
on_chroot <<< 'cp /mnt/note /etc/through-mount'
rm -r "${STAGE_WORK_DIR}/shared/note"
grep -q rootfs /etc/mtab || true
cp /usr/bin/qemu-aarch64-static "${ROOTFS_DIR}/usr/bin/"
on_chroot << EOF
test -x /usr/bin/qemu-aarch64-static
awk '\$2 == "/proc" { found = 1 } END { exit !found }' /proc/mounts
EOF
rm -f "${ROOTFS_DIR}/usr/bin/qemu-aarch64-static"
unmount "${ROOTFS_DIR}"
ensure_next_loopdev
"#;

/// As pi-gen's own does: parts that count and parts that are the exporter's in one script.
const FINALISE: &str = r#"#!/bin/bash -e
IMG_FILE="${STAGE_WORK_DIR}/${IMG_FILENAME}${IMG_SUFFIX}.img"
INFO_FILE="${STAGE_WORK_DIR}/${IMG_FILENAME}${IMG_SUFFIX}.info"
on_chroot << EOF
echo "finalised for ${IMG_SUFFIX}" >> /etc/exported
EOF
ln -nsf /proc/mounts "${ROOTFS_DIR}/etc/mtab"
find "${ROOTFS_DIR}/var/log/" -type f -exec cp /dev/null {} \;
update_issue "$(basename "${EXPORT_DIR}")"
install -m 644 "${ROOTFS_DIR}/etc/rpi-issue" "${ROOTFS_DIR}/boot/firmware/issue.txt"
cp "$ROOTFS_DIR/etc/rpi-issue" "$INFO_FILE"
dpkg -l --root "$ROOTFS_DIR" >> "$INFO_FILE"
mkdir -p "${DEPLOY_DIR}"
rm -f "${DEPLOY_DIR}/${ARCHIVE_FILENAME}${IMG_SUFFIX}.img.gz"
ROOT_DEV="$(awk "\$2 == \"${ROOTFS_DIR}\" {print \$1}" /etc/mtab)"
unmount "${ROOTFS_DIR}"
zerofree "${ROOT_DEV}"
unmount_image "${IMG_FILE}"
bmaptool create -o "${STAGE_WORK_DIR}/x.bmap" "${IMG_FILE}"
pigz --force "$IMG_FILE" --stdout > "${DEPLOY_DIR}/${ARCHIVE_FILENAME}${IMG_SUFFIX}.img.gz"
cp "$INFO_FILE" "$DEPLOY_DIR/"
mkfs.ext4 -q -U clear -E hash_seed=00000000-0000-0000-0000-000000000001 "${ROOTFS_DIR}/etc/spare.ext4" 1M
test -s "${ROOTFS_DIR}/etc/spare.ext4"
rm "${ROOTFS_DIR}/etc/spare.ext4"
echo 'of the tree' > "${DEPLOY_DIR}/release-notes${IMG_SUFFIX}.txt"
echo "${IMG_SUFFIX}" > "${DEPLOY_DIR}/latest"
"#;

const PARTUUID: &str = r#"#!/bin/bash -e
IMG_FILE="${STAGE_WORK_DIR}/${IMG_FILENAME}${IMG_SUFFIX}.img"
IMGID="$(dd if="${IMG_FILE}" skip=440 bs=1 count=4 2>/dev/null | xxd -e | cut -f 2 -d' ')"
sed -i "s/BOOTDEV/PARTUUID=${IMGID}-01/" "${ROOTFS_DIR}/etc/fstab"
"#;

/// A checkout: the stages are the folders `stage0`, `stage1` and one that is elsewhere.
fn pigen_tree() -> Fixture {
    let f = Fixture::new("arm64");
    f.config("IMG_DATE=2026-01-31\nFIRST_USER_NAME=anna\nexport OWN_AREA=Europe");
    f.config("STAGE_LIST=(stage0 stage1 'elsewhere/stage+ more' stage9)");
    f.config("USE_QEMU=0");
    f.script(
        "stage0/prerun.sh",
        &PRERUN.replace("bootstrap", "test -d \"$ROOTFS_DIR\" || bootstrap"),
    );
    f.file(
        "stage0/00-install/00-debconf",
        "# answers\ntzdata tzdata/Areas select ${OWN_AREA}\n",
    );
    f.file("stage0/00-install/00-packages-nr", PACKAGES);
    f.file("stage0/01-skipped/SKIP", "");
    f.file("stage0/01-skipped/00-run-chroot.sh", "exit 1\n");
    f.script("stage1/prerun.sh", "#!/bin/bash -e\nif [ ! -d \"${ROOTFS_DIR}\" ]; then\n\tcopy_previous\nfi\ntest -e \"${PREV_ROOTFS_DIR}/usr/bin/less\"\n");
    f.script("stage0/02-boot/00-run.sh", BOOT);
    f.script("stage1/00-nested/00-run.sh", HOST);
    f.file("stage1/00-nested/01-run-chroot.sh", "echo \"$FIRST_USER_NAME $OWN_AREA\" > /etc/in-the-chroot\nread -r line && exit 3\nfalse | true\n");
    f.file(
        "stage1/00-nested/02-run-chroot",
        "echo the other name >> /etc/in-the-chroot\n",
    );
    f.file(
        "stage1/01-patches/00-patches/series",
        "# in this order\none.diff\ntwo.diff -p0 # another root\n\n",
    );
    f.file("stage1/01-patches/00-patches/one.diff", PATCH_ONE);
    f.file("stage1/01-patches/00-patches/two.diff", PATCH_TWO);
    f.file("stage1/01-patches/00-patches/unused.diff", "nonsense\n");
    f.script("stage1/02-habits/00-run.sh", HABITS);
    f.script(
        "stage1/02-habits/01-run.sh",
        "#!/usr/bin/env -S sh -e\nsh ./helper \"$ROOTFS_DIR\"\n",
    );
    f.file(
        "stage1/02-habits/helper",
        "echo by a helper > \"$1/etc/helped\"\n",
    );
    f.file("stage1/EXPORT_IMAGE", "# the older form\n-lite\n");
    let elsewhere = "elsewhere/stage+ more";
    f.script(
        &format!("{elsewhere}/prerun.sh"),
        "#!/bin/bash -e\ncopy_previous\n",
    );
    f.file(
        &format!("{elsewhere}/00-more/01-run-chroot.sh"),
        "echo more > /etc/more\n",
    );
    f.file(&format!("{elsewhere}/EXPORT_IMAGE"), "IMG_SUFFIX=\"-full\"\nif [ \"${ARCH}\" = arm64 ]; then\n\texport IMG_SUFFIX=\"${IMG_SUFFIX}64\"\nfi\n");
    f.file("stage9/SKIP", "");
    f.file("stage9/EXPORT_IMAGE", "-never\n");
    f.file("stage9/00-a/00-run-chroot.sh", "exit 1\n");
    export_image(&f);
    f.script(
        "postrun.sh",
        "#!/bin/bash -e\nall=$(ls \"${DEPLOY_DIR}\")\necho \"$all\" > \"${DEPLOY_DIR}/after\"\n",
    );
    f
}

fn export_image(f: &Fixture) {
    f.script(
        "export-image/prerun.sh",
        "#!/bin/bash -e\nLOOP=$(losetup --show -f x)\nmkfs.ext4 \"$LOOP\"\nexit 1\n",
    );
    f.script(
        "export-image/00-allow-rerun/00-run.sh",
        "#!/bin/bash -e\nif [ -e \"${ROOTFS_DIR}/etc/ld.so.preload\" ]; then exit 1; fi\n",
    );
    f.file("export-image/01-own/00-packages-nr", "time\n");
    f.file("export-image/01-own/00-patches/series", "image.diff\n");
    f.file("export-image/01-own/00-patches/image.diff", PATCH_OF_EXPORT);
    f.script("export-image/01-own/01-run.sh", "#!/bin/bash -e\necho \"$(basename \"${EXPORT_DIR}\") ${STAGE} ${IMG_SUFFIX}\" > \"${ROOTFS_DIR}/etc/exported\"\ntest -e \"${EXPORT_ROOTFS_DIR}/etc/greeting\"\ntest ! -e \"${EXPORT_ROOTFS_DIR}/etc/exported\"\n");
    f.file(
        "export-image/01-own/02-run-chroot.sh",
        "apt-get clean\napt-get install --yes --reinstall time\n/usr/bin/time -f %e -o /dev/null true\n",
    );
    f.script("export-image/04-set-partuuid/00-run.sh", PARTUUID);
    f.script("export-image/05-finalise/01-run.sh", FINALISE);
}

/// The root file system in an image.
struct Root(String);

impl Root {
    fn of(image: &Path) -> Self {
        let report = json(&["inspect", "--json"], &[image]);
        let partitions = report["table"]["partitions"].as_array().unwrap();
        let start = partitions[1]["start"].as_u64().unwrap();
        Self(format!("{}?offset={start}", image.display()))
    }

    fn read(&self, path: &str) -> String {
        let out = Command::new("debugfs")
            .args(["-R", &format!("cat {path}"), &self.0])
            .output()
            .unwrap();
        String::from_utf8(out.stdout).unwrap()
    }
}

fn json(args: &[&str], images: &[&Path]) -> serde_json::Value {
    let out = Command::new(PROGRAM).args(args).args(images).output();
    serde_json::from_slice(&out.unwrap().stdout).unwrap()
}

fn paths(list: &serde_json::Value) -> BTreeSet<String> {
    let entries = list.as_array().unwrap().iter();
    entries
        .map(|entry| entry["path"].as_str().unwrap().to_owned())
        .collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Checksums of the images in `dir`, by name.
fn sums(dir: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(dir.join("SHA256SUMS")).unwrap();
    let lines = text.lines().map(|line| line.split_once("  ").unwrap());
    let images =
        lines.filter(|(_, name)| Path::new(name).extension().is_some_and(|end| end == "img"));
    images
        .map(|(sum, name)| (name.to_owned(), sum.to_owned()))
        .collect()
}

/// The version of `name` in the image that `f` built last as `image`.
fn version(image: &Path, name: &str) -> String {
    let report = json(&["inspect", "--packages", "--json"], &[image]);
    let packages = report["system"]["packages"]["list"]
        .as_array()
        .unwrap()
        .iter();
    let mut found = packages.filter(|package| package["name"] == name);
    found.next().expect(name)["version"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn packages(image: &Path) -> BTreeSet<String> {
    let report = json(&["inspect", "--packages", "--json"], &[image]);
    let packages = report["system"]["packages"]["list"]
        .as_array()
        .unwrap()
        .iter();
    packages
        .map(|package| package["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_tree_with_every_construct_is_what_its_author_expects() {
    let f = pigen_tree();
    // What the packages alone make of it, for the comparison and for a version to ask for.
    f.script("plain/stage0/prerun.sh", PRERUN);
    f.file("plain/stage0/00-install/00-packages-nr", PACKAGES);
    f.file(
        "plain/stage0/01-install/00-packages-nr",
        "netbase- time tree\n",
    );
    f.script("plain/stage0/01-install/01-run.sh", BOOT);
    f.file("plain/stage0/EXPORT_IMAGE", "");
    f.file("plain/none/SKIP", "");
    f.file(
        "plain.conf",
        "IMG_NAME=plain\nSTAGE_LIST=(plain/stage0)\nEXPORT_CONFIG_DIR=plain/none\n",
    );
    f.run(&["build", "-c", "plain.conf"]).good();
    let plain = f.root.join("deploy/2026-01-31-plain.img");
    f.file(
        "stage1/03-install/00-packages",
        &format!(
            "netbase- # not wanted after all\n-t {0}\ntree={1} bc/{0}\n",
            release("arm64"),
            version(&plain, "tree")
        ),
    );

    refused(&f);

    let said = f.run(&["build"]).good();
    said.says("stage1:export-image/01-own/00-patches");
    said.says_not(":export-image/prerun.sh");
    looks_right(&f, &plain);
    a_second_build_runs_nothing(&f);

    let native = sums(&f.root.join("deploy"));
    println!("{native:#?}");
    let emulated = f.root.join("emulated");
    f.run(&[
        "build",
        "--locked",
        "--emulate",
        "--set",
        "WORK_DIR=work-emulated",
        "--set",
        "DEPLOY_DIR=emulated",
    ])
    .good();
    for (name, sum) in sums(&emulated) {
        assert_eq!(
            Some(&sum),
            native.get(&name),
            "{name} differs when emulated"
        );
    }
    if let Some(user) = Ordinary::new(test_name!()) {
        for made in ["work", "work-emulated", "emulated", "deploy"] {
            let _ = fs::remove_dir_all(f.root.join(made));
        }
        // Another path, without anything unusual in it.
        let root = user.copy(&f.root, "plain");
        user.build(&root, &["--locked", "--set", "CACHE_DIR=cache"]);
        for (name, sum) in sums(&root.join("deploy")) {
            assert_eq!(Some(&sum), native.get(&name), "{name} differs for a user");
        }
    }
}

/// What stands in the way is said before anything is built, or ends the step it is in.
fn refused(f: &Fixture) {
    f.file("stage1/04-last/00-run.sh", "#!/bin/bash\n");
    let said = f.run(&["check"]);
    assert_eq!(said.code, Some(2), "{}", said.text);
    said.says("the script is not executable; chmod +x");
    fs::remove_file(f.root.join("stage1/04-last/00-run.sh")).unwrap();
    let said = f.run(&["check"]).good();
    said.says("export-image/prerun.sh: not run, for it makes the image file");
    said.says("04-set-partuuid/00-run.sh: not run, for it writes the partitions' identifiers");
    said.says("05-finalise/01-run.sh: run before there is an image file");
    said.says("stage1/02-habits/00-run.sh:7: `mount --bind");

    let step = "stage1/04-last/00-run.sh";
    f.script(
        step,
        "#!/bin/bash -e\nset -o pipefail\nfalse | cat\necho not reached\n",
    );
    f.run(&["build"])
        .failed()
        .says("stage1/04-last/00-run.sh failed");
    f.script(step, "#!/bin/bash -e\nlosetup --show -f x\n");
    f.run(&["build"])
        .failed()
        .says("a build has no loop devices");
    f.script(
        step,
        "#!/bin/sh -e\ntruncate -s 1M x.img\nmkfs.ext4 -q x.img\nmount x.img \"$ROOTFS_DIR/mnt\"\n",
    );
    f.run(&["build"])
        .failed()
        .says("but no devices, no /dev or sysfs, and no files with");
    // It was written aside.
    assert!(!f.root.join("stage1/04-last/x.img").exists());
    fs::remove_file(f.root.join(step)).unwrap();

    f.file("stage1/01-patches/00-patches/EDIT", "");
    f.run(&["build"]).failed().says("there is no terminal");
    // With one, the shell works on the series and the build goes on after it.
    let mut script = Command::new("script")
        .args(["-qec", &format!("'{PROGRAM}' build"), "/dev/null"])
        .current_dir(&f.root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input = script.stdin.as_mut().unwrap();
    std::io::Write::write_all(input, b"quilt series | cat; exit\n").unwrap();
    let out = script.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}");
    assert!(said.contains("leave with `exit`"), "{said}");
    assert!(said.contains("two.diff"), "{said}");
    fs::remove_file(f.root.join("stage1/01-patches/00-patches/EDIT")).unwrap();
}

/// The image of the last stage: what is in it, and nothing else but what the packages alone make.
fn looks_right(f: &Fixture, plain: &Path) {
    let image = |suffix: &str| f.root.join(format!("deploy/2026-01-31-small{suffix}.img"));
    let (lite, full): (PathBuf, PathBuf) = (image("-lite"), image("-full64"));
    assert!(!image("-never").exists());
    let root = Root::of(&full);
    let said = [
        (
            "/etc/greeting",
            "hello\npatched once\npatched twice\npatched for the image\n",
        ),
        (
            "/etc/nested",
            "of the host|of the chroot|of the host, too|/\nof the host, too of the host anna\n$literal\nfirst 1\nsecond 1\nfrom here in a subshell\n",
        ),
        ("/etc/in-the-chroot", "anna Europe\nthe other name\n"),
        ("/etc/through-mount", "seen through a mount\n"),
        ("/etc/helped", "by a helper\n"),
        ("/etc/more", "more\n"),
        (
            "/etc/exported",
            "stage+ more export-image -full64\nfinalised for -full64\n",
        ),
        (
            "/etc/rpi-issue",
            "small 2026-01-31\nGenerated using westwork-gen, westwork-gen, stage+ more\n",
        ),
    ];
    for (path, text) in said {
        assert_eq!(root.read(path), text, "{path}");
    }
    let fstab = root.read("/etc/fstab");
    assert_eq!(fstab.matches("PARTUUID=").count(), 2, "{fstab}");
    assert!(
        root.read("/var/cache/debconf/config.dat")
            .contains("Value: Europe")
    );
    let lite_root = Root::of(&lite);
    assert_eq!(lite_root.read("/etc/more"), "");
    assert_eq!(
        lite_root.read("/etc/exported"),
        "stage1 export-image -lite\nfinalised for -lite\n"
    );

    // What the export steps installed is in no other stage's layers, and in the image.
    let installed = packages(&full);
    for (name, there) in [
        ("less", true),
        ("time", true),
        ("tree", true),
        ("netbase", false),
    ] {
        assert_eq!(installed.contains(name), there, "{name}");
    }
    assert_eq!(installed, packages(plain));
    assert_eq!(f.read("deploy/release-notes-full64.txt"), "of the tree\n");
    // The last image's, as with pi-gen.
    assert_eq!(f.read("deploy/latest"), "-full64\n");
    let after = f.read("deploy/after");
    assert!(after.contains("small-full64.img\n") && after.contains("release-notes-lite.txt"));
    assert!(!after.contains(".img.gz"), "{after}");

    let difference = json(&["diff", "--json"], &[plain, &full]);
    let files = &difference["files"];
    let added = [
        "/etc/exported",
        "/etc/greeting",
        "/etc/helped",
        "/etc/in-the-chroot",
        "/etc/more",
        "/etc/mtab",
        "/etc/nested",
        "/etc/rpi-issue",
        "/etc/through-mount",
    ];
    assert_eq!(paths(&files["added"]), set(&added), "added");
    assert_eq!(paths(&files["removed"]), set(&[]), "removed");
    assert_eq!(
        paths(&files["changed"]),
        // An image's partitions are called after it.
        set(&["/etc/fstab", "/var/cache/debconf/config.dat"]),
        "{:#}",
        files["changed"]
    );
}

fn a_second_build_runs_nothing(f: &Fixture) {
    f.run(&["build"]).good().says("nothing has changed");
    // Only the export's own layers follow a change of the export tree.
    f.file("export-image/01-own/02-run-chroot.sh", "apt-get clean\n");
    let plan = f.run(&["plan"]).good();
    plan.says("run     stage1:export-image/01-own/02-run-chroot.sh");
    plan.says("cached  stage+ more/00-more/01-run-chroot.sh");
    let runs = plan.text.lines().filter(|line| line.starts_with("run "));
    for line in runs {
        assert!(line.contains(":export-image/"), "{line}");
    }
    f.run(&["build"]).good();
}
