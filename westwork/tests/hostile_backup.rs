//! `westwork restore` and archives that are cut, changed, of somebody else, or made to do harm:
//! refused before anything is touched.

mod common;

use common::backups::{Forgery, configured, encrypt, key, message, restore, source};
use common::{Device, Watched};
use std::path::Path;
use tar::EntryType;

const HEAD: &str = r#"{"format": 2, "domain": "example.org"}"#;

fn refused(file: &Path, key: &str, part: &str) {
    let (device, _) = configured();
    device.write("data/mail/mine", "untouched");
    let mut command = device.command(&["restore", file.to_str().unwrap()]);
    let watched = Watched::run(&mut command, key);
    let output = watched.output;
    assert!(!output.status.success(), "{part}");
    let said = message(&output);
    assert!(said.contains(part), "{part}: {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(device.read("data/mail/mine"), "untouched");
    assert!(!device.path("data.next").exists());
    assert!(
        !device.read("calls").contains("systemctl"),
        "judged before anything is touched"
    );
    assert!(watched.peak < 100 << 10, "{part}: {} KiB", watched.peak);
}

#[test]
fn any_flipped_byte_is_noticed() {
    let (_source, file, key) = source();
    let whole = std::fs::read(&file).unwrap();
    let (device, _) = configured();
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
        assert!(
            !restore(&device, &broken, &key).status.success(),
            "byte {at}"
        );
    }
    for length in [0, 5, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&broken, &whole[..length]).unwrap();
        assert!(
            !restore(&device, &broken, &key).status.success(),
            "{length} bytes"
        );
    }
    assert_eq!(device.read("data/mail/mine"), "untouched");
    std::fs::write(&broken, [whole.as_slice(), b"x"].concat()).unwrap();
    refused(&broken, &key, "it is damaged, no backup, or of another key");
}

#[test]
fn of_another_key_another_box_or_no_backup_at_all() {
    let (device, file, key) = source();
    refused(&file, &common::backups::key().0, "of another key");
    refused(Path::new("/no/such/file"), &key, "opening it");
    let other = device.path("other");
    std::fs::write(&other, "hello, this is no archive").unwrap();
    refused(&other, &key, "no backup");
    let (secret, public) = common::backups::key();
    for text in ["hello, this is no archive", ""] {
        encrypt(&other, &public, text.as_bytes());
        refused(&other, &secret, "other is not restored");
    }
    let head =
        |domain: &str, format: u32| format!(r#"{{"format": {format}, "domain": "{domain}"}}"#);
    for (head, part) in [
        (
            head("other.example.net", 2),
            "it is a backup of other.example.net, and this box is example.org",
        ),
        (head("example.org", 3), "newer version"),
        (head("example.org", 1), "older version"),
        ("{}".to_owned(), "no backup of a Westwork"),
    ] {
        Forgery::new(&head)
            .file("data/x", "y")
            .write(&other, &public);
        refused(&other, &secret, part);
    }
    // A fresh box takes any box's.
    Forgery::new(&head("other.example.net", 2))
        .file("data/x", "y")
        .write(&other, &public);
    let fresh = Device::new();
    let output = restore(&fresh, &other, &secret);
    assert!(output.status.success(), "{}", message(&output));
    assert_eq!(fresh.read("data/x"), "y");
}

#[test]
fn members_that_lead_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let (secret, public) = key();
    for name in [
        "../evil",
        "data/../../evil",
        "/evil",
        "evil",
        "data//evil",
        "data/./evil",
        "data/.restore",
        "data/.westwork.lock",
    ] {
        Forgery::new(HEAD).file(name, "evil").write(&path, &public);
        refused(&path, &secret, "outside of the data");
    }
    for (target, kind) in [
        ("../../etc/passwd", EntryType::Link),
        ("data/later", EntryType::Link),
        ("data", EntryType::Link),
    ] {
        Forgery::new(HEAD)
            .member("data/x", kind, target)
            .write(&path, &public);
        refused(&path, &secret, "a link to what is not in the archive");
    }
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        Forgery::new(HEAD)
            .member("data/x", kind, "")
            .write(&path, &public);
        refused(&path, &secret, "neither file");
    }
}

#[test]
fn members_in_the_place_of_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let (secret, public) = key();
    let outside = folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let outside = outside.to_str().unwrap();
    Forgery::new(HEAD)
        .member("data/x", EntryType::Symlink, outside)
        .file("data/x/evil", "evil")
        .write(&path, &public);
    refused(&path, &secret, "not in a directory of the archive");
    Forgery::new(HEAD)
        .member("data/x", EntryType::Symlink, outside)
        .file("data/x", "evil")
        .write(&path, &public);
    refused(&path, &secret, "is in it twice");
    Forgery::new(HEAD)
        .file("data/y", "")
        .member("data/x", EntryType::Directory, "")
        .member("data/x", EntryType::Symlink, outside)
        .file("data/x/evil", "evil")
        .write(&path, &public);
    refused(&path, &secret, "is in it twice");
    assert_eq!(std::fs::read_dir(outside).unwrap().count(), 0);
    // The same forgery without evil is accepted: the refusals above are for their reasons.
    Forgery::new(HEAD)
        .member("data/x", EntryType::Directory, "")
        .member("data/x/link", EntryType::Symlink, outside)
        .file("data/x/y", "good")
        .member("data/x/z", EntryType::Link, "data/x/y")
        .write(&path, &public);
    let (device, _) = configured();
    let output = restore(&device, &path, &secret);
    assert!(output.status.success(), "{}", message(&output));
    assert_eq!(device.read("data/x/z"), "good");
}

/// Few bytes that unpack to many: none gets far, and none takes memory.
#[test]
fn sizes_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let (secret, public) = key();
    let huge = 256_u64 << 20;
    Forgery::new(HEAD)
        .zeros("westwork-backup.json", EntryType::Regular, huge)
        .write(&path, &public);
    refused(&path, &secret, "is not restored");
    Forgery::empty()
        .zeros("westwork-backup.json", EntryType::Regular, huge)
        .write(&path, &public);
    refused(&path, &secret, "more than 4096 bytes");
    Forgery::headed(HEAD)
        .zeros("directory.ldif", EntryType::Regular, huge)
        .write(&path, &public);
    refused(&path, &secret, "has more than");
    for kind in [
        EntryType::GNULongName,
        EntryType::GNULongLink,
        EntryType::XHeader,
    ] {
        Forgery::new(HEAD)
            .zeros("data/x", kind, huge)
            .file("data/y", "")
            .write(&path, &public);
        refused(&path, &secret, "too long for any that a box makes");
    }
    // Larger than the disk: by its own word, without a byte of it being there.
    Forgery::new(HEAD)
        .claims("data/x", 1 << 50)
        .write(&path, &public);
    refused(&path, &secret, "it is too large");
}
