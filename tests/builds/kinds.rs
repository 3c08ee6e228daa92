//! What the stage contract promises, step by step.

use crate::fixture::{COPY, Fixture};
use std::fs;

/// Fails unless every variable of the contract that is never empty is there.
const HOST_SCRIPT: &str = r#"#!/bin/bash -e
for name in IMG_NAME IMG_DATE IMG_FILENAME ARCHIVE_FILENAME RELEASE ARCH TARGET_HOSTNAME \
	FIRST_USER_NAME DISABLE_FIRST_BOOT_USER_RENAME PASSWORDLESS_SUDO ENABLE_SSH PUBKEY_ONLY_SSH \
	LOCALE_DEFAULT KEYBOARD_KEYMAP KEYBOARD_LAYOUT TIMEZONE_DEFAULT ENABLE_CLOUD_INIT PI_GEN \
	PI_GEN_REPO PI_GEN_RELEASE CLEAN USE_QEMU SETFCAP DEPLOY_COMPRESSION BASE_DIR SCRIPT_DIR \
	WORK_DIR DEPLOY_DIR LOG_FILE STAGE_LIST EXPORT_CONFIG_DIR STAGE STAGE_DIR STAGE_WORK_DIR \
	SUB_STAGE_DIR ROOTFS_DIR EXPORT_DIR EXPORT_ROOTFS_DIR QUILT_NO_DIFF_INDEX \
	QUILT_NO_DIFF_TIMESTAMPS QUILT_REFRESH_ARGS REPORT; do
	bash -c '[ -n "${!1}" ]' - "$name" || { echo "$name is empty or not exported"; exit 1; }
done
for name in FIRST_USER_PASS WPA_COUNTRY PUBKEY_SSH_FIRST_USER GIT_HASH APT_PROXY TEMP_REPO \
	COMPRESSION_LEVEL IMG_SUFFIX PREV_STAGE PREV_STAGE_DIR PREV_ROOTFS_DIR QUILT_PATCHES; do
	bash -c '[ -n "${!1+set}" ]' - "$name" || { echo "$name is not exported"; exit 1; }
done
for name in log bootstrap copy_previous on_chroot unmount unmount_image update_issue \
	ensure_next_loopdev ensure_loopdev_partitions; do
	bash -c 'declare -F "$1"' - "$name" || { echo "no function $name"; exit 1; }
done
[ "$PWD" = "$SUB_STAGE_DIR" ]
log "a word for the log"
unmount "$ROOTFS_DIR"; unmount_image x; ensure_next_loopdev; ensure_loopdev_partitions x
install -m 640 files/data "$ROOTFS_DIR/etc/data"
update_issue stage0
on_chroot <<EOF
useradd --create-home "$FIRST_USER_NAME"
cat /etc/data >/etc/data-copy
EOF
on_chroot -c 'echo from-arguments >/etc/arguments'
"#;

const REPORT: &str = r#"#!/bin/bash -e
cd "$ROOTFS_DIR"
{
	echo "hostname: $(grep -A3 'Name: small/host$' var/cache/debconf/config.dat | sed -n 's/^Value: //p')"
	[ -x usr/bin/less ] && echo less
	[ -x usr/bin/tree ] && echo tree
	[ -x usr/bin/file ] && echo file
	for file in etc/patched etc/to-patch etc/data etc/data-copy etc/arguments etc/chroot-sh etc/chroot etc/second; do
		echo "$file: $(tr '\n' ' ' <$file)"
	done
	echo "mode: $(stat -c %a:%u:%g etc/data)"
	echo "home: $(stat -c %a "home/$FIRST_USER_NAME")"
	echo "issue: $(cat etc/rpi-issue)"
	echo "previous: $PREV_STAGE ${PREV_ROOTFS_DIR##*/} $([ -e "$PREV_ROOTFS_DIR/etc/data" ] && echo seen)"
	for left in etc/never .westwork-gen usr/sbin/policy-rc.d run/westwork-gen proc/1 dev/null; do
		if [ -e "$left" ]; then echo "left behind: $left"; fi
	done
} >>"$REPORT"
echo done >>"$REPORT"
"#;

#[test]
fn every_kind_of_step_does_what_the_contract_says() {
    let f = Fixture::with_base("arm64");
    let outside = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    f.config("TARGET_HOSTNAME=pi-small");
    f.config("FIRST_USER_NAME=somebody");
    f.config(&format!(
        "STAGE_LIST='stage0 skipped stage1 {}'",
        outside.path().join("stage-outside").display()
    ));
    let report = f.root.join("report");
    f.config(&format!("export REPORT='{}'", report.display()));

    let sub = "stage0/00-kinds";
    f.file(
        &format!("{sub}/00-debconf"),
        "small small/host string ${TARGET_HOSTNAME}\n",
    );
    f.file(
        &format!("{sub}/00-packages-nr"),
        "# a pager\nless # with a comment\n",
    );
    f.file(&format!("{sub}/00-packages-ni"), "tree\n");
    f.file(&format!("{sub}/00-packages"), "file nano-\n");
    f.script(
        &format!("{sub}/00-run.sh"),
        "#!/bin/sh -e\nprintf 'one\\ntwo\\n' >\"$ROOTFS_DIR/etc/to-patch\"\n",
    );
    f.file(
        &format!("{sub}/01-patches/series"),
        "# comment\nnew.diff\nchange.diff -p1\n",
    );
    f.file(
        &format!("{sub}/01-patches/new.diff"),
        "--- /dev/null\n+++ b/rootfs/etc/patched\n@@ -0,0 +1 @@\n+patched\n",
    );
    f.file(
        &format!("{sub}/01-patches/change.diff"),
        "--- a/rootfs/etc/to-patch\n+++ b/rootfs/etc/to-patch\n@@ -1,2 +1,2 @@\n one\n-two\n+three\n",
    );
    f.script(&format!("{sub}/01-run.sh"), HOST_SCRIPT);
    f.file(&format!("{sub}/files/data"), "some data\n");
    f.file(
        &format!("{sub}/01-run-chroot.sh"),
        "[ -n \"$RELEASE\" ]\necho \"$STAGE\" >/etc/chroot-sh\n",
    );
    f.file(
        &format!("{sub}/02-run-chroot"),
        "echo second >/etc/chroot\n",
    );
    f.file("stage0/01-left-out/SKIP", "");
    f.file(
        "stage0/01-left-out/00-run-chroot.sh",
        "touch /etc/never; exit 1\n",
    );
    f.file("stage0/EXPORT_IMAGE", "");
    f.file("stage0/SKIP_IMAGES", "");
    f.script("skipped/prerun.sh", "#!/bin/sh\nexit 1\n");
    f.file("skipped/SKIP", "");
    f.script("stage1/prerun.sh", COPY);
    f.file("stage1/00-x/00-run-chroot.sh", "echo stage1 >/etc/second\n");
    fs::create_dir_all(outside.path().join("stage-outside/00-report")).unwrap();
    let at = |path: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = outside.path().join("stage-outside").join(path);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    at("prerun.sh", COPY);
    at("00-report/00-run.sh", REPORT);

    let planned = f.run(&["plan"]).good();
    planned.says("00-kinds");
    assert!(!f.root.join("work").exists(), "plan wrote something");

    f.run(&["build"]).good();
    let report = f.read("report");
    for line in [
        "hostname: pi-small",
        "less",
        "tree",
        "file",
        "etc/patched: patched ",
        "etc/to-patch: one three ",
        "etc/data: some data ",
        "etc/data-copy: some data ",
        "etc/arguments: from-arguments ",
        "etc/chroot-sh: stage0 ",
        "etc/chroot: second ",
        "etc/second: stage1 ",
        "mode: 640:0:0",
        "home: 700",
        "previous: stage1 rootfs seen",
        "done",
    ] {
        assert!(
            report.lines().any(|l| l == line),
            "`{line}` is not in:\n{report}"
        );
    }
    assert!(!report.contains("left behind"), "{report}");
    assert!(report.contains("issue: small "), "{report}");
    assert!(report.contains("stage0\n"), "{report}");
    assert!(
        f.read("work/small-arm64/build.log")
            .contains("a word for the log"),
        "the log has not what scripts say"
    );
    assert!(
        fs::read_dir(f.root.join("deploy")).is_err(),
        "SKIP_IMAGES was exported"
    );

    let again = f.run(&["build"]).good();
    assert_eq!(f.read("report"), report, "a step ran again");
    let steps = again.text.lines().filter(|l| l.contains("cached")).count();
    assert_eq!(steps, 14, "{}", again.text);

    // A change makes its own step and the later ones run again, and no other.
    at("00-report/00-run.sh", &format!("{REPORT}\n# changed\n"));
    let changed = f.run(&["build"]).good();
    let steps = changed.text.lines().filter(|l| l.contains("cached"));
    assert_eq!(steps.count(), 13, "{}", changed.text);
    assert_eq!(f.read("report").matches("done").count(), 2);
}
