//! `westwork factory-reset`: nothing of the household is left, and the box can be set up again.

mod common;

use common::{Device, Setup};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Words of the first household: what it typed, and what services have written about it.
const WORDS: [&str; 10] = [
    "family.example.org",
    "Lovelace",
    "garden",
    "Home; sweet",
    "dear-diary",
    "ada@example.net",
    "account-key",
    "letter-on-its-way",
    "roundcube-session",
    "chat-message",
];

fn words_left(device: &Device) -> String {
    let mut command = Command::new("grep");
    command.args(["-rlFa", "--exclude=calls", "--exclude-dir=usr"]);
    for word in WORDS {
        command.args(["-e", word]);
    }
    let contents = command.arg(device.root()).output().unwrap().stdout;
    let names = Command::new("find")
        .arg(device.root())
        .output()
        .unwrap()
        .stdout;
    let names = String::from_utf8_lossy(&names).into_owned();
    let named = names
        .lines()
        .filter(|name| WORDS.iter().any(|word| name.contains(word)));
    String::from_utf8_lossy(&contents).into_owned() + &named.collect::<Vec<_>>().join("\n")
}

/// What services of a box in use leave where the image has it.
fn live_in(device: &Device) {
    for (path, text) in [
        (
            "data/mail/family.example.org/ada/Maildir/new/1",
            "dear-diary",
        ),
        ("data/roundcube/roundcube.db", "roundcube-session"),
        ("data/chat/homeserver.db", "chat-message"),
        ("data/acme/.well-known/acme-challenge/x", "account-key"),
        (
            "data/conf/letsencrypt/accounts/acme/directory/1/private_key.json",
            "account-key",
        ),
        (
            "data/conf/letsencrypt/accounts/acme/directory/1/regr.json",
            "ada@example.net",
        ),
        (
            "data/conf/letsencrypt/renewal/family.example.org.conf",
            "family.example.org",
        ),
        ("data/conf/letsencrypt/live/family.example.org/README", "x"),
        ("data/conf/westwork/former-people", "ada@example.net"),
        ("data/.restore.old/mail/1", "dear-diary"),
        ("data/.conf.next/x", "garden"),
        ("var/spool/postfix/deferred/A/A1", "letter-on-its-way"),
        ("var/spool/postfix/incoming/A2", "letter-on-its-way"),
        ("var/spool/postfix/maildrop/A3", "letter-on-its-way"),
        ("var/spool/postfix/defer/A/A1", "ada@example.net"),
        ("var/lib/postfix/smtp_scache.db", "family.example.org"),
        ("var/lib/dovecot/instances", "family.example.org"),
        ("var/lib/php/sessions/sess_1", "roundcube-session"),
        ("var/lib/letsencrypt/backups/1/x", "family.example.org"),
        ("var/lib/NetworkManager/seen-bssids", "Home; sweet"),
        ("var/log/letsencrypt/letsencrypt.log", "ada@example.net"),
        ("var/log/journal/0123/system.journal", "family.example.org"),
        ("var/log/mail.log", "letter-on-its-way"),
        ("var/tmp/x", "dear-diary"),
        ("root/.bash_history", "westwork user add ada@example.net"),
        ("home/pi/.bash_history", "nano dear-diary"),
    ] {
        device.write(path, text);
    }
}

#[test]
fn nothing_of_the_first_household_is_left() {
    let device = Device::new();
    device.write("data/conf/westwork/partials/note.mustache", "of the image");
    device.start().complete(&device.code(), &Setup::answers());
    live_in(&device);
    let left = words_left(&device);
    for path in ["conf/nginx/nginx.conf", "letsencrypt/renewal", "mail.log"] {
        assert!(
            left.contains(path),
            "the search does not find {path}: {left}"
        );
    }
    let secret = device.read("data/conf/westwork/secrets/ldap_services");
    assert!(device.read("data/conf/dovecot/ldap.conf").contains(&secret));
    device.write("boot/firmware/westwork-reset", "");
    let output = device.westwork(&["factory-reset", "--yes"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(words_left(&device), "");
    for gone in [
        "boot/firmware/westwork-reset",
        "data/conf/dovecot/ldap.conf",
        "data/conf/westwork/secrets",
    ] {
        assert!(!device.path(gone).exists(), "{gone}");
    }
    for stays in [
        "var/spool/postfix/deferred",
        "data/conf/dovecot/ldap.conf.mustache",
        "data/conf/westwork/partials/note.mustache",
    ] {
        assert!(device.path(stays).exists(), "{stays}");
    }
    let stop = device.read("calls").rfind("systemctl stop westwork.target");
    assert!(stop.is_some(), "services would write on");

    // The next owner, at another place or the same.
    for domain in ["other.example.net", "family.example.org"] {
        let mut answers = Setup::answers();
        answers[0].1 = domain;
        device.start().complete(&device.code(), &answers);
        assert_eq!(
            device.read("data/conf/nginx/nginx.conf"),
            format!("server_name {domain};\n")
        );
        assert!(
            device
                .read("data/conf/tls/fullchain.pem")
                .contains("BEGIN CERTIFICATE")
        );
        assert!(
            device
                .westwork(&["factory-reset", "--yes"])
                .status
                .success()
        );
    }
}

/// ext4 empties the entries of folders that it removes, but its log still has them.
#[test]
fn names_are_not_left_in_the_log_of_the_file_system() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let (image, mounted) = (directory.path().join("image"), directory.path().join("at"));
    std::fs::create_dir(&mounted).unwrap();
    // With the log of an image.
    let line = "truncate -s 256M \"$1\" && mkfs.ext4 -q -b 4096 -J size=64 -N 24000 \"$1\" &&
        mount -o loop \"$1\" \"$2\"";
    let shell = |line: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", line, "sh"]).arg(&image).arg(&mounted);
        command.output().unwrap()
    };
    let made = shell(line);
    if !made.status.success() {
        let why = String::from_utf8_lossy(&made.stderr).into_owned();
        assert!(
            std::env::var_os("WESTWORK_TEST_STRICT").is_none(),
            "a file system cannot be mounted: {why}"
        );
        println!("skipped: a file system cannot be mounted: {why}");
        return;
    }
    let left = || {
        shell("sync -f \"$2\"; grep -aco family.example.org \"$1\"")
            .stdout
            .trim_ascii()
            .to_vec()
    };
    let name = mounted.join("family.example.org");
    std::fs::create_dir(&name).unwrap();
    let before = left();
    std::fs::remove_dir(&name).unwrap();
    let removed = left();
    let done = westwork::reset::overwrite_log(&mounted);
    let overwritten = left();
    shell("umount \"$2\"");
    done.unwrap();
    assert_ne!(before, b"0");
    assert_ne!(removed, b"0", "the log is not what keeps it");
    assert_eq!(overwritten, b"0");
}

/// A link in the place of a folder does not lead the reset elsewhere.
#[test]
fn links_are_not_followed() {
    let device = Device::new();
    device.start().complete(&device.code(), &Setup::answers());
    device.write("precious/file", "the machine's own");
    std::fs::create_dir_all(device.path("var/log")).unwrap();
    for path in [
        "data/roundcube",
        "data/mail/link",
        "var/log/x",
        "data/conf/letsencrypt",
    ] {
        let path = device.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(device.path("precious"), path).unwrap();
    }
    assert!(
        device
            .westwork(&["factory-reset", "--yes"])
            .status
            .success()
    );
    assert_eq!(device.read("precious/file"), "the machine's own");
}

/// A lock that services' users hold would keep the owner from backups, and from everything else.
#[test]
fn only_root_can_hold_the_lock() {
    let device = Device::new();
    device.write("data/.westwork.lock", "");
    let lock = device.path("data/.westwork.lock");
    for open in [device.root(), &device.path("data")] {
        std::fs::set_permissions(open, PermissionsExt::from_mode(0o755)).unwrap();
    }
    std::fs::set_permissions(&lock, PermissionsExt::from_mode(0o644)).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    // As a service's user would, which only root can try.
    let nobody_holds_it = || {
        Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .args(["flock", "--nonblock"])
            .arg(&lock)
            .arg("true")
            .output()
            .unwrap()
            .status
            .success()
    };
    assert!(!is_root || nobody_holds_it(), "nothing was tried");
    assert!(device.westwork(&["finish-restore"]).status.success());
    assert!(!is_root || !nobody_holds_it());
    assert_eq!(lock.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}
