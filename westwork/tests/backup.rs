//! `westwork backup` and `restore`, from one root to another.

mod common;

use common::backups::{configured, configured_in_memory, listing, message, restore, source};
use common::{Device, Watched};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, lchown, symlink};
use std::path::Path;
use std::process::Command;

#[test]
fn everything_comes_back_on_a_fresh_box() {
    let (source, file, key) = source();
    assert!(std::fs::metadata(&file).unwrap().len() < 100_000);
    assert!(
        source
            .read("calls")
            .contains("systemctl stop westwork.target")
    );
    assert!(
        source
            .read("calls")
            .contains("systemctl start westwork.target")
    );
    let members = listing(&file, &key);
    assert!(
        members.contains("data/mail/hole"),
        "an ordinary tar reads it"
    );

    let fresh = Device::new();
    fresh.write("data/mail/old", "gone afterwards");
    let output = restore(&fresh, &file, &key);
    assert!(output.status.success(), "{}", message(&output));
    assert_eq!(fresh.read("data/mail/example.org/ada/cur/1"), "a mail\n");
    let (one, two) = (
        fresh.path("data/mail/example.org/ada/cur/1"),
        fresh.path("data/mail/example.org/ada/cur/2"),
    );
    let old = source
        .path("data/mail/example.org/ada/cur/1")
        .metadata()
        .unwrap();
    let new = one.metadata().unwrap();
    assert_eq!(new.ino(), two.metadata().unwrap().ino());
    assert_eq!(
        (new.mode(), new.mtime(), new.uid(), new.gid()),
        (old.mode(), old.mtime(), old.uid(), old.gid())
    );
    assert_eq!(
        xattr::get(&one, "user.note").unwrap_or_default(),
        xattr::get(source.path("data/mail/example.org/ada/cur/1"), "user.note").unwrap_or_default()
    );
    assert_eq!(
        fresh
            .path("data/mail/example.org")
            .metadata()
            .unwrap()
            .mode()
            & 0o7777,
        0o2750
    );
    assert_eq!(
        std::fs::read_link(fresh.path("data/mail/link")).unwrap(),
        Path::new("../elsewhere")
    );
    let hole = fresh.path("data/mail/hole");
    assert_eq!(
        std::fs::read(&hole).unwrap(),
        std::fs::read(source.path("data/mail/hole")).unwrap()
    );
    assert!(
        hole.metadata().unwrap().blocks() * 512 < 1 << 20,
        "holes stay holes"
    );
    assert_eq!(
        fresh.read("data/ldap/data.mdb"),
        "dn: dc=example,dc=org\n\n",
        "the directory came as text"
    );
    assert!(
        !fresh.path("data/mail/old").exists()
            && fresh.path("data/conf/westwork/configured").exists()
    );
    assert!(!fresh.path("data.next").exists());
    assert_eq!(
        std::fs::read_dir(fresh.root())
            .unwrap()
            .filter(|e| e
                .as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .starts_with('.'))
            .count(),
        0
    );
}

/// Type, mode, owner, time, holes and contents of everything below /data that a backup keeps.
fn state(device: &Device) -> String {
    let script = "cd \"$1\" && find . -mindepth 1 \\( -path ./ldap -o -path ./.westwork.lock -o -type p -o -type s \\) -prune \
         -o -printf '%p %y %m %U:%G %Ts %l\\n' | LC_ALL=C sort; \
         find . -path ./ldap -prune -o -type f ! -name .westwork.lock -print0 | LC_ALL=C sort -z | xargs -0 sha256sum";
    let output = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(device.path("data"))
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Who is not root cannot give files away; then everything is its own.
fn give(device: &Device, path: &str, id: u32) {
    if rustix::process::geteuid().is_root() {
        lchown(device.path(path), Some(id), Some(id)).unwrap();
    }
}

const USERS: [(&str, u32); 4] = [
    ("vmail", 5001),
    ("www-data", 5002),
    ("openldap", 5003),
    ("matrix", 5004),
];

fn people(device: &Device) {
    let list: String = USERS
        .iter()
        .map(|(name, id)| format!("{name}:x:{id}:{id}::/:\n"))
        .collect();
    device.write("etc/passwd", &list);
    device.write("etc/group", &list);
}

/// What mail, web mail, chat and those who have broken into one of them leave.
fn lived_in(device: &Device, precious: &Path) {
    // What ManageSieve makes: the active script's link sorts before the folder it leads to.
    let home = "data/mail/example.org/ada";
    device.write(&format!("{home}/sieve/roundcube.sieve"), "keep;\n");
    symlink(
        "sieve/roundcube.sieve",
        device.path(home).join(".dovecot.sieve"),
    )
    .unwrap();
    give(device, &format!("{home}/.dovecot.sieve"), 5001);
    for (name, id) in USERS {
        let folder = format!("data/of-{name}");
        device.write(&format!("{folder}/file"), name);
        symlink(precious, device.path(&folder).join("absolute")).unwrap();
        symlink("no/where/", device.path(&folder).join("dangling")).unwrap();
        symlink("..", device.path(&folder).join("up")).unwrap();
        let pipe = device.path(&folder).join("pipe");
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        for entry in ["file", "absolute", "dangling", "up", "pipe", ""] {
            give(
                device,
                format!("{folder}/{entry}").trim_end_matches('/'),
                id,
            );
        }
    }
    let odd = device
        .path("data/mail")
        .join(OsStr::from_bytes(b"caf\xe9\n\xff"));
    std::fs::write(&odd, "not UTF-8").unwrap();
    std::fs::hard_link(&odd, device.path("data/mail/the same")).unwrap();
    let hole = std::fs::File::create(device.path("data/mail/hole")).unwrap();
    hole.set_len(256 << 20).unwrap();
    for piece in 0..50 {
        hole.write_at(b"piece", piece * (5 << 20)).unwrap();
    }
}

#[test]
fn a_box_in_use_comes_back_and_no_link_is_followed() {
    let (device, key) = configured();
    people(&device);
    let precious = device.path("precious");
    device.write("precious", "the machine's own");
    lived_in(&device, &precious);
    let before = state(&device);
    let file = device.path("box.backup");
    let output = device.westwork(&["backup", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", message(&output));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("done:"));

    let fresh = Device::new();
    people(&fresh);
    let owner = precious.metadata().unwrap();
    let output = restore(&fresh, &file, &key);
    assert!(output.status.success(), "{}", message(&output));
    assert_eq!(state(&fresh), before);
    let after = precious.metadata().unwrap();
    assert_eq!(
        (after.uid(), after.gid(), after.mode()),
        (owner.uid(), owner.gid(), owner.mode()),
        "a link was followed"
    );
    let hole = fresh.path("data/mail/hole").metadata().unwrap();
    assert!(hole.blocks() * 512 < 4 << 20, "holes stay holes");
}

#[test]
fn a_hundred_thousand_mails_take_little_memory() {
    let (device, key) = configured_in_memory();
    let folder = device.path("data/mail/example.org/ada/Maildir/cur");
    std::fs::create_dir_all(&folder).unwrap();
    for number in 0..100_000 {
        let name = format!("1760000000.M{number:06}P4711.westwork,S=42,W=44:2,S");
        std::fs::write(folder.join(name), format!("Subject: {number}\n")).unwrap();
    }
    let file = device.path("box.backup");
    let mut backup = device.command(&["backup", file.to_str().unwrap()]);
    let backup = Watched::run(&mut backup, "");
    assert!(
        backup.output.status.success(),
        "{}",
        message(&backup.output)
    );
    let fresh = Device::in_memory();
    let mut restore = fresh.command(&["restore", file.to_str().unwrap()]);
    let restore = Watched::run(&mut restore, &key);
    assert!(
        restore.output.status.success(),
        "{}",
        message(&restore.output)
    );
    let restored = fresh.path("data/mail/example.org/ada/Maildir/cur");
    assert_eq!(std::fs::read_dir(restored).unwrap().count(), 100_000);
    println!("backup {} KiB, restore {} KiB", backup.peak, restore.peak);
    assert!(backup.peak < 100 << 10 && restore.peak < 100 << 10);
    assert!(
        backup.peak > 1 << 10 && restore.peak > 1 << 10,
        "nothing was measured"
    );
}

#[test]
fn a_backup_needs_a_key_and_is_encrypted() {
    let device = common::backups::without_key();
    let file = device.path("box.backup");
    let refused = device.westwork(&["backup", file.to_str().unwrap()]);
    assert!(message(&refused).contains("westwork backup-key") && !file.exists());
    let made = device.westwork(&["backup-key"]);
    let key = String::from_utf8(made.stdout).unwrap();
    assert!(key.starts_with("AGE-SECRET-KEY-"), "{key}");
    assert!(
        !device.westwork(&["backup-key"]).status.success(),
        "the key stays"
    );
    let everything = Command::new("grep")
        .args(["-rl", key.trim()])
        .arg(device.root())
        .output()
        .unwrap();
    assert!(
        everything.stdout.is_empty(),
        "the secret half is on the box"
    );
    device.write("data/mail/letter", "a secret of the household");
    assert!(
        device
            .westwork(&["backup", file.to_str().unwrap()])
            .status
            .success()
    );
    let bytes = std::fs::read(&file).unwrap();
    assert!(bytes.starts_with(b"age-encryption.org/v1\n"));
    assert!(listing(&file, &key).contains("data/mail/letter"));
}

/// The owner's own key, which the box has the public half of.
#[test]
fn a_key_of_the_owners_and_what_the_help_says() {
    let (device, _) = configured();
    let file = device.path("box.backup");
    let (other, public) = common::backups::key();
    let taken = ["backup-key", "--replace", "--public", &public];
    assert!(device.westwork(&taken).status.success());
    assert!(
        !device
            .westwork(&["backup-key", "--replace", "--public", "age1x"])
            .status
            .success()
    );
    assert!(
        device
            .westwork(&["backup", file.to_str().unwrap()])
            .status
            .success()
    );
    device.write("key", &format!("# mine\n{other}\n"));
    let (key_file, fresh) = (device.path("key"), Device::new());
    let with = [
        "restore",
        file.to_str().unwrap(),
        "--key-file",
        key_file.to_str().unwrap(),
    ];
    let output = fresh.westwork(&with);
    assert!(output.status.success(), "{}", message(&output));
    let help = device.westwork(&["backup", "--help"]);
    let help = String::from_utf8(help.stdout).unwrap();
    for word in [
        "mail",
        "hashes of all passwords",
        "private keys",
        "encrypted",
    ] {
        assert!(help.contains(word), "{word}: {help}");
    }
}

/// A box whose disk gives back something else than was written has no backup.
#[test]
fn what_cannot_be_read_again_is_no_backup() {
    let (device, _) = configured();
    device.write("data/mail/1", "mail");
    // It loses the last byte of what it encrypts.
    device.program(
        "usr/bin/age",
        "if [ \"$1\" = -r ]; then PATH=/usr/bin:/bin age \"$@\" | head -c -1; else PATH=/usr/bin:/bin exec age \"$@\"; fi",
    );
    let file = device.path("box.backup");
    let output = device.westwork(&["backup", file.to_str().unwrap()]);
    assert!(!output.status.success() && !file.exists());
    assert!(
        message(&output).contains("no backup was made"),
        "{}",
        message(&output)
    );
    assert!(output.stdout.is_empty(), "it says that it is done");
}
