//! `westwork backup` and `restore`, from one root to another.

mod common;

use common::Device;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

const SETTINGS: &str = "domain = 'example.org'\nowner = {name = 'Ada', user = 'ada'}\nwifi = {country = 'DE'}\ncertificate = {kind = 'self-signed'}\n";

fn configured() -> Device {
    let device = Device::new();
    device.write("data/conf/westwork/settings.toml", SETTINGS);
    device.write("data/conf/westwork/configured", "");
    device.write("data/ldap/data.mdb", "database");
    device.program("usr/sbin/slapcat", "printf 'dn: dc=example,dc=org\\n\\n'");
    device.program("usr/bin/systemctl", "[ \"$1\" != is-active ] || exit 0");
    device
}

fn message(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A device with data of every kind, and its backup.
fn source() -> (Device, std::path::PathBuf) {
    let device = configured();
    device.write("data/mail/example.org/ada/cur/1", "a mail\n");
    std::fs::set_permissions(
        device.path("data/mail/example.org"),
        PermissionsExt::from_mode(0o2750),
    )
    .unwrap();
    std::fs::set_permissions(
        device.path("data/mail/example.org/ada/cur/1"),
        PermissionsExt::from_mode(0o640),
    )
    .unwrap();
    std::fs::hard_link(
        device.path("data/mail/example.org/ada/cur/1"),
        device.path("data/mail/example.org/ada/cur/2"),
    )
    .unwrap();
    symlink("../elsewhere", device.path("data/mail/link")).unwrap();
    let long = "long-".repeat(40);
    device.write(&format!("data/mail/{long}/{long}"), "long");
    let hole = std::fs::File::create(device.path("data/mail/hole")).unwrap();
    hole.set_len(8 << 20).unwrap();
    hole.write_at(b"end", 5 << 20).unwrap();
    let _ = xattr::set(
        device.path("data/mail/example.org/ada/cur/1"),
        "user.note",
        b"kept",
    );
    let file = device.path("backup.wwb");
    let output = device.westwork(&["backup", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", message(&output));
    (device, file)
}

#[test]
fn everything_comes_back_on_a_fresh_box() {
    let (source, file) = source();
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
    let listing = std::process::Command::new("tar")
        .arg("tzf")
        .arg(&file)
        .output()
        .unwrap();
    assert!(listing.status.success(), "an ordinary tar reads it");

    let fresh = Device::new();
    fresh.write("data/mail/old", "gone afterwards");
    let output = fresh.westwork(&["restore", file.to_str().unwrap()]);
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

fn refused(file: &Path, part: &str) {
    let device = configured();
    device.write("data/mail/mine", "untouched");
    let output = device.westwork(&["restore", file.to_str().unwrap()]);
    assert!(!output.status.success(), "{part}");
    assert!(
        message(&output).contains(part),
        "{part}: {}",
        message(&output)
    );
    assert_eq!(device.read("data/mail/mine"), "untouched");
    assert!(!device.path("data.next").exists());
    assert!(
        !device.read("calls").contains("systemctl stop"),
        "judged before anything is touched"
    );
}

/// What another gzip decoder makes of it; nothing, if it finds a fault.
fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut child = std::process::Command::new("gzip")
        .args(["--decompress", "--stdout", "--quiet"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The archive is smaller than a pipe holds; gzip may end before it has read all.
    let _ = child.stdin.take().unwrap().write_all(bytes);
    let output = child.wait_with_output().unwrap();
    output.status.success().then_some(output.stdout)
}

#[test]
fn any_flipped_byte_is_noticed() {
    let (_source, file) = source();
    let whole = std::fs::read(&file).unwrap();
    let device = configured();
    device.write("data/mail/mine", "untouched");
    let broken = device.path("broken");
    for number in 0..60 {
        let at = if number < 12 {
            number
        } else {
            number * (whole.len() - 1) / 59
        };
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&broken, &bytes).unwrap();
        // Some bits say nothing: the system that compressed it, the code of a symbol that does
        // not occur, filling.
        if unpacked(&bytes) != unpacked(&whole) {
            assert!(
                !device
                    .westwork(&["restore", broken.to_str().unwrap()])
                    .status
                    .success(),
                "byte {at}"
            );
            assert_eq!(device.read("data/mail/mine"), "untouched");
        }
    }
    for length in [0, 5, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&broken, &whole[..length]).unwrap();
        assert!(
            !device
                .westwork(&["restore", broken.to_str().unwrap()])
                .status
                .success(),
            "{length} bytes"
        );
    }
    std::fs::write(&broken, [whole.as_slice(), b"x"].concat()).unwrap();
    refused(&broken, "something follows its end");
}

/// An archive with a right manifest, whatever its members are.
fn forge(path: &Path, head: &str, name: &str, kind: tar::EntryType, link: &str) {
    let mut tar = tar::Builder::new(Vec::new());
    let mut members = serde_json::Map::new();
    let mut add =
        |tar: &mut tar::Builder<Vec<u8>>, name: &str, kind: tar::EntryType, text: &str| {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
            header.set_entry_type(kind);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_size(text.len() as u64);
            header.set_cksum();
            tar.append(&header, text.as_bytes()).unwrap();
            let hash = kind.is_file().then(|| hex::encode(Sha256::digest(text)));
            members.insert(
                name.to_owned(),
                serde_json::json!({"user": null, "group": null, "sha256": hash}),
            );
        };
    add(
        &mut tar,
        "westwork-backup.json",
        tar::EntryType::Regular,
        head,
    );
    add(
        &mut tar,
        "directory.ldif",
        tar::EntryType::Regular,
        "dn: dc=example,dc=org\n",
    );
    add(
        &mut tar,
        name,
        kind,
        if kind.is_file() { "evil" } else { "" },
    );
    let total = hex::encode(Sha256::digest(tar.get_ref()));
    add(&mut tar, "manifest.json", tar::EntryType::Regular, "");
    let bytes = tar.into_inner().unwrap();
    members.remove("manifest.json");
    let manifest = serde_json::json!({"members": members, "sha256": total}).to_string();
    // Written again, now that the manifest's text is known.
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(manifest.len() as u64);
    header.set_mode(0o600);
    tar.append_data(&mut header, "manifest.json", manifest.as_bytes())
        .unwrap();
    let before = bytes.len() - 512 - 1024;
    let all = [&bytes[..before], tar.into_inner().unwrap().as_slice()].concat();
    let mut gzip = flate2::write::GzEncoder::new(
        std::fs::File::create(path).unwrap(),
        flate2::Compression::default(),
    );
    gzip.write_all(&all).unwrap();
    gzip.finish().unwrap();
}

#[test]
fn foreign_newer_and_hostile_archives_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    std::fs::write(&path, "hello, this is no archive").unwrap();
    refused(&path, "no backup of a Westwork");
    let tar = std::process::Command::new("tar")
        .arg("czf")
        .arg(&path)
        .args(["-C", "/etc", "passwd"])
        .status()
        .unwrap();
    assert!(tar.success());
    refused(&path, "no backup of a Westwork");
    let head = r#"{"format": 1, "domain": "example.org"}"#;
    let file = tar::EntryType::Regular;
    forge(
        &path,
        r#"{"format": 2, "domain": "example.org"}"#,
        "data/x",
        file,
        "",
    );
    refused(&path, "newer version");
    for name in ["../evil", "data/../../evil", "/evil", "evil"] {
        forge(&path, head, name, file, "");
        refused(&path, "outside of the data");
    }
    forge(
        &path,
        head,
        "data/x",
        tar::EntryType::Link,
        "../../etc/passwd",
    );
    refused(&path, "a link to outside");
    forge(&path, head, "data/x", tar::EntryType::Char, "");
    refused(&path, "neither file");
    // The same forgery without evil is accepted: the refusals above are for their reasons.
    forge(&path, head, "data/x", file, "");
    let device = configured();
    let output = device.westwork(&["restore", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", message(&output));
    assert_eq!(device.read("data/x"), "evil");
}

#[test]
fn a_directory_that_does_not_load_leaves_everything_as_it_was() {
    let (_source, file) = source();
    let device = configured();
    device.write("data/mail/mine", "untouched");
    device.program("usr/sbin/slapadd", "echo 'bad entry'\nexit 1");
    let output = device.westwork(&["restore", file.to_str().unwrap()]);
    assert!(
        !output.status.success() && message(&output).contains("bad entry"),
        "{}",
        message(&output)
    );
    assert_eq!(
        (
            device.read("data/mail/mine"),
            device.read("data/ldap/data.mdb")
        ),
        ("untouched".into(), "database".into())
    );
    assert!(!device.path("data.next").exists());
}

/// Runs `westwork` in a mount namespace in which /data is a mount point.
fn westwork_mounted(device: &Device, arguments: &[&str]) -> std::process::Output {
    std::process::Command::new("unshare")
        .args(["--map-root-user", "--mount", "--", "sh", "-c"])
        .arg("mount --bind \"$1\" \"$1\" || exit 97; shift; exec \"$@\"")
        .arg("sh")
        .arg(device.path("data"))
        .arg(env!("CARGO_BIN_EXE_westwork"))
        .arg("--root")
        .arg(device.root())
        .args(arguments)
        .output()
        .unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_data_partition_is_restored_in_its_place() {
    let (source, file) = source();
    let fresh = Device::new();
    fresh.write("data/mail/old", "gone afterwards");
    fresh.write("data/lost+found/piece", "the file system's");
    fresh.write("data/.restore.new/data/half", "of an interrupted restore");
    let output = westwork_mounted(&fresh, &["restore", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", message(&output));
    assert_eq!(fresh.read("data/mail/example.org/ada/cur/1"), "a mail\n");
    assert_eq!(
        fresh.read("data/ldap/data.mdb"),
        "dn: dc=example,dc=org\n\n"
    );
    assert!(!fresh.path("data/mail/old").exists());
    assert_eq!(
        fresh.read("data/lost+found/piece"),
        "the file system's",
        "not exchanged"
    );
    assert_eq!(
        names(&fresh.path("data")),
        [".westwork.lock", "conf", "ldap", "lost+found", "mail"]
    );
    assert_eq!(
        fresh.path("data").metadata().unwrap().mode(),
        source.path("data").metadata().unwrap().mode()
    );

    fresh.program("usr/sbin/slapcat", "printf 'dn: dc=example,dc=org\\n\\n'");
    let again = fresh.path("again.wwb");
    let output = westwork_mounted(&fresh, &["backup", again.to_str().unwrap()]);
    assert!(output.status.success(), "{}", message(&output));
    let listing = std::process::Command::new("tar")
        .arg("tzf")
        .arg(&again)
        .output()
        .unwrap();
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    assert!(
        listing.contains("data/mail/") && !listing.contains("lost+found"),
        "{listing}"
    );
}

#[test]
fn a_restore_that_was_cut_in_its_last_step_goes_on() {
    // The old data has conf, mail and roundcube; the new one conf and mail. Each line is what
    // is where when the power goes.
    for (old, ready, arriving, in_place) in [
        ("", "conf mail", "", "conf mail roundcube"),
        ("mail", "conf mail", "", "conf roundcube"),
        ("conf mail roundcube", "conf mail", "", ""),
        ("conf mail roundcube", "", "conf mail", ""),
        ("conf mail roundcube", "", "mail", "conf!"),
        ("mail", "", "", "conf! mail!"),
    ] {
        let device = Device::new();
        std::fs::remove_dir_all(device.path("data")).unwrap();
        let lay = |folder: &str, names: &str, kind: &str| {
            for name in names.split_whitespace() {
                let kind = if name.ends_with('!') { "new" } else { kind };
                let name = name.trim_end_matches('!');
                device.write(&format!("data/{folder}{name}/file"), kind);
            }
        };
        lay(".restore.old/", old, "old");
        lay(".restore/", ready, "new");
        lay(".restore.in/", arriving, "new");
        lay("", in_place, "old");
        let output = device.westwork(&["finish-restore"]);
        assert!(output.status.success(), "{}", message(&output));
        assert_eq!(
            names(&device.path("data")),
            [".westwork.lock", "conf", "mail"],
            "{old:?} {ready:?} {arriving:?} {in_place:?}"
        );
        for name in ["conf", "mail"] {
            assert_eq!(device.read(&format!("data/{name}/file")), "new", "{name}");
        }
    }
}
