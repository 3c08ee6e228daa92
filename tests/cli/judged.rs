//! Values that are judged before the first step, by the image's release.

use super::{text, westwork};
use std::fs;

/// Values that an image would fail on after an hour, or on the device: line of the config, what
/// is said of it, what to do.
const JUDGED: &[(&str, &str, &str)] = &[
    (
        "TIMEZONE_DEFAULT=US/Pacific",
        "an old name, which the image does not have",
        "America/Los_Angeles",
    ),
    (
        "LOCALE_DEFAULT=en_GB.ISO-8859-1",
        "not the name of a locale with UTF-8",
        "write en_GB.UTF-8",
    ),
    (
        "KEYBOARD_KEYMAP='a&b'",
        "X has no keyboard layout a&b",
        "write one such as gb",
    ),
    (
        "FIRST_USER_NAME=video",
        "an account or a group video already",
        "another name",
    ),
    (
        "PUBKEY_SSH_FIRST_USER='ssh-dss AAAAB3NzaC1kc3M= me'",
        "a DSA key",
        "ssh-keygen -t ed25519",
    ),
    ("WPA_COUNTRY=UK", "UK is not a country code", "write GB"),
    (
        "TARGET_HOSTNAME=a.very.long.name.of.a.device.that.has.more.letters.than.linux.can.hold",
        "letters, and Linux takes 64",
        "a shorter one",
    ),
    ("HOSTNAME=box", "bash sets itself", "write TARGET_HOSTNAME"),
    ("UID=1000", "bash sets itself", "another name"),
    (
        "DEPLOY_DIR=/proc/sys/deploy",
        "/proc/sys",
        "set DEPLOY_DIR to a directory",
    ),
    (
        "CACHE_DIR=/proc/sys/cache",
        "/proc/sys",
        "set CACHE_DIR to a directory",
    ),
    (
        "CACHE_TO=/proc/sys/shared",
        "/proc/sys",
        "set CACHE_TO to a directory",
    ),
    ("BOOT_SIZE=1M", "too small for a kernel", "64M or more"),
    (
        "EXTRA_PARTITIONS='a:16M:vfat:/srv'",
        "too small for the file system",
        "36M or more",
    ),
    (
        "SOURCE_DATE_EPOCH=yesterday",
        "not a number of seconds",
        "date +%s",
    ),
    ("QEMU_CPU='a b'", "not a core's name", "cortex-a72"),
    ("SIGN_WITH=me", "does not say who signs", "minisign:FILE"),
    (
        "RASPBERRYPI_FINGERPRINT=7FA3303E",
        "not a key's fingerprint",
        "40 hexadecimal digits",
    ),
    (
        "EXPORT_CONFIG_DIR=nowhere",
        "there is no directory",
        "correct the path",
    ),
];

#[test]
fn what_an_image_would_fail_on_late_is_found_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let sub = dir.path().join("stage0/00-sub");
    fs::create_dir_all(sub.join("00-patches")).unwrap();
    let mut config = "IMG_NAME=t\nSTAGE_LIST=stage0\n".to_owned();
    for (line, ..) in JUDGED {
        config += &format!("{line}\n");
    }
    fs::write(dir.path().join("config"), config).unwrap();
    // A patch that misses the image, and more steps than a mount can have layers.
    fs::write(sub.join("00-patches/series"), "a.diff\n").unwrap();
    let patch = "--- /dev/null\n+++ /etc/a.conf\n@@ -0,0 +1 @@\n+a\n";
    fs::write(sub.join("00-patches/a.diff"), patch).unwrap();
    for number in 0..500 {
        let sub = dir.path().join(format!("stage0/{number:03}-more"));
        fs::create_dir(&sub).unwrap();
        fs::write(sub.join("00-packages"), "less\n").unwrap();
    }
    let begun = std::time::Instant::now();
    let output = westwork(dir.path(), &["check"]);
    let took = begun.elapsed();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for (number, (line, what, remedy)) in (3..).zip(JUDGED) {
        let place = format!("config:{number}: ");
        let found = said.lines().find(|said| said.contains(&place));
        let found = found.unwrap_or_else(|| panic!("nothing on {line}:\n{said}"));
        let (before, after) = found.split_once("; ").unwrap();
        assert!(before.contains(what) && after.contains(remedy), "{found}");
    }
    assert!(
        said.contains("a.diff:2: the patch changes /etc/a.conf"),
        "{said}"
    );
    assert!(
        said.contains("501 steps stand one on the other, and a build can have "),
        "{said}"
    );
    // Much of it is the machine's own part.
    assert!(took.as_secs() < 2 || cfg!(debug_assertions), "{took:?}");
    assert!(text(&westwork(dir.path(), &["plan"])).contains("501 steps stand one on the other"));
}

/// What one release has and another has not: the machine's own files have no say in it.
#[test]
fn values_are_judged_by_the_images_release() {
    for (line, bookworm, trixie) in [
        // Moved to a package of old names in trixie.
        ("TIMEZONE_DEFAULT=US/Pacific", true, false),
        ("TIMEZONE_DEFAULT=Europe/Kiev", true, false),
        ("TIMEZONE_DEFAULT=Europe/Berlin", true, true),
        ("TIMEZONE_DEFAULT=posix/Europe/Berlin", false, false),
        ("KEYBOARD_KEYMAP=uk", false, false),
        ("KEYBOARD_KEYMAP='us(intl)'", true, true),
        ("LOCALE_DEFAULT=nds_DE", true, true),
    ] {
        for (release, good) in [("bookworm", bookworm), ("trixie", trixie)] {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("stage0")).unwrap();
            let config = format!("IMG_NAME=t\nSTAGE_LIST=stage0\nRELEASE={release}\n{line}\n");
            fs::write(dir.path().join("config"), config).unwrap();
            let said = text(&westwork(dir.path(), &["check"]));
            let refused = said.contains("config:4: ");
            assert_eq!(refused, !good, "{release}: {line}:\n{said}");
        }
    }
}
