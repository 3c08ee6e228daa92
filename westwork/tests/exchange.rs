//! A restored tree in the place of /data: all of it or nothing, whenever the power is cut.

mod common;

use common::backups::{configured, listing, message, restore, source};
use common::{Device, with_input};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

#[test]
fn a_directory_that_does_not_load_leaves_everything_as_it_was() {
    let (_source, file, key) = source();
    let (device, _) = configured();
    device.write("data/mail/mine", "untouched");
    device.program("usr/sbin/slapadd", "echo 'bad entry'\nexit 1");
    let output = restore(&device, &file, &key);
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
fn westwork_mounted(device: &Device, arguments: &[&str], input: &str) -> std::process::Output {
    let mut command = std::process::Command::new("unshare");
    command
        .args(["--map-root-user", "--mount", "--", "sh", "-c"])
        .arg("mount --bind \"$1\" \"$1\" || exit 97; shift; exec \"$@\"")
        .arg("sh")
        .arg(device.path("data"))
        .arg(env!("CARGO_BIN_EXE_westwork"))
        .arg("--root")
        .arg(device.root())
        .args(arguments);
    with_input(&mut command, input)
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
    let (source, file, key) = source();
    let fresh = Device::new();
    fresh.write("data/mail/old", "gone afterwards");
    fresh.write("data/lost+found/piece", "the file system's");
    fresh.write("data/.restore.new/data/half", "of an interrupted restore");
    let output = westwork_mounted(&fresh, &["restore", file.to_str().unwrap()], &key);
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
    let output = westwork_mounted(&fresh, &["backup", again.to_str().unwrap()], "");
    assert!(output.status.success(), "{}", message(&output));
    let listing = listing(&again, &key);
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
