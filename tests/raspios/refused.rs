//! Archives that do wrong: each is refused, or tried again, for the right reason.

use crate::archive::{Archive, Fault, Key, pack, run, version};
use crate::common::{Tree, both, cache, release};
use std::fs;
use std::path::Path;

/// A tree that makes the smallest Raspberry Pi OS with `archive`, signed by `key`: its base, and
/// stage 0's own sources.
fn tree(archive: &Archive, key: &Key) -> Tree {
    let tree = Tree::new("arm64").with_bootstrap();
    let config = fs::read_to_string(tree.dir.join("config")).unwrap();
    let more = format!(
        "DISTRO=raspios\nRASPBERRYPI_MIRROR={}\nRASPBERRYPI_FINGERPRINT={}\nRASPBERRYPI_KEY='{}'\nAPT_TIMEOUT=2\n",
        archive.address,
        key.fingerprint,
        key.file.display()
    );
    tree.file("config", &(config + &more));
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("stages/stage0/00-configure-apt");
    let to = tree.dir.join("stages/stage0");
    let args = ["-a", from.to_str().unwrap(), to.to_str().unwrap()];
    run("cp", &args, Path::new("/"));
    tree
}

/// What a run that must fail with `code` printed.
fn fails(tree: &Tree, args: &[&str], code: i32) -> String {
    let output = tree.run(args);
    let text = both(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}:\n{text}");
    text
}

fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is not in:\n{text}");
    }
}

#[test]
fn a_key_or_signature_that_does_not_hold_is_refused_before_anything_is_built() {
    let suite = release("arm64");
    let (key, other) = (Key::new("The archive"), Key::new("Another archive"));
    let archive = Archive::new(suite, &["main"], &["arm64"]);
    archive.package("Package: rpi-thing", &[]);
    archive.publish(&key);
    let tree = tree(&archive, &key);

    // The key file: another key in it, an expired one, none.
    let other_file = format!("RASPBERRYPI_KEY={}", other.file.display());
    let said = fails(&tree, &["check", "--set", &other_file], 2);
    says(
        &said,
        &["RASPBERRYPI_KEY", &other.fingerprint, &key.fingerprint],
    );
    let expired = Key::expired("The archive as it was");
    let set = [
        format!("RASPBERRYPI_KEY={}", expired.file.display()),
        format!("RASPBERRYPI_FINGERPRINT={}", expired.fingerprint),
    ];
    let set = ["check", "--set", &set[0], "--set", &set[1]];
    let said = fails(&tree, &set, 2);
    says(
        &said,
        &[
            &expired.fingerprint,
            "expired on 2020-01-02",
            "RASPBERRYPI_FINGERPRINT",
        ],
    );
    tree.file("no-key", "nothing");
    let said = fails(&tree, &["check", "--set", "RASPBERRYPI_KEY=no-key"], 2);
    says(&said, &["no OpenPGP key"]);
    // Of a file with several keys, only the pinned one is used.
    let mut both_keys = fs::read(&other.file).unwrap();
    both_keys.extend(fs::read(&key.file).unwrap());
    fs::write(tree.dir.join("both-keys"), both_keys).unwrap();

    // The signature: another key's, a changed text, SHA-1, none.
    archive.publish(&other);
    let said = fails(&tree, &["build", "--set", "RASPBERRYPI_KEY=both-keys"], 1);
    let reason = [
        "the Raspberry Pi archive (RASPBERRYPI_MIRROR)",
        "signed by the key",
    ];
    says(
        &said,
        &[&reason[..], &[&other.fingerprint, &key.fingerprint]].concat(),
    );
    archive.publish(&key);
    let text = fs::read_to_string(archive.in_release()).unwrap();
    fs::write(
        archive.in_release(),
        text.replace("Codename: ", "Codename: x"),
    )
    .unwrap();
    says(
        &fails(&tree, &["build"], 1),
        &["has been changed since", &key.fingerprint, "another copy"],
    );
    archive.publish_with(&key, "SHA1");
    says(
        &fails(&tree, &["build"], 1),
        &["made with SHA-1 only", &key.fingerprint],
    );
    fs::write(archive.in_release(), "Codename: x\n").unwrap();
    says(
        &fails(&tree, &["build"], 1),
        &["has no signature", &key.fingerprint],
    );
    archive.fault("InRelease", Fault::Gone);
    says(
        &fails(&tree, &["build"], 1),
        &[&archive.address, "RASPBERRYPI_MIRROR", "cannot be reached"],
    );
    let layers = fs::read_dir(tree.dir.join("work/layers"));
    assert!(layers.is_err(), "something was built");
}

#[test]
fn forks_are_told_apart_a_slow_archive_is_asked_again_and_the_lock_file_has_both_archives() {
    let suite = release("arm64");
    let key = Key::new("The archive");
    let archive = Archive::new(suite, &["main"], &["arm64"]);
    for name in ["rpi-sound", "rpi-slow"] {
        archive.package(&format!("Package: {name}"), &[]);
    }
    archive.fault("rpi-slow", Fault::Stalls(1));
    // A fork of the very version that the native tools have, and one of another.
    let bases = cache().join("packages/arm64");
    let fork = |name: &str, version: &dyn Fn(&str) -> String| {
        let debs = fs::read_dir(&bases).into_iter().flatten().flatten();
        let deb = debs
            .map(|entry| entry.path())
            .filter(|path| {
                let file = path.file_name().unwrap().to_string_lossy().into_owned();
                file.starts_with(&format!("{name}_")) && !file.contains("+rpt")
            })
            .max_by_key(|path| path.metadata().unwrap().modified().unwrap());
        let deb = deb?;
        let dir = tempfile::tempdir().unwrap();
        let package = dir.path().join("package");
        let paths = [deb.to_str().unwrap(), package.to_str().unwrap()];
        run("dpkg-deb", &["-R", paths[0], paths[1]], Path::new("/"));
        let control = package.join("DEBIAN/control");
        let text = fs::read_to_string(&control).unwrap();
        let old = text.lines().find_map(|line| line.strip_prefix("Version: "));
        let old = old.unwrap().to_owned();
        let new = version(&old);
        let text = text.replace(&format!("Version: {old}"), &format!("Version: {new}"));
        fs::write(&control, text).unwrap();
        let to = archive.pool().join(format!("{name}_fork_arm64.deb"));
        pack(&package, &to);
        Some(new)
    };
    let tree = {
        archive.publish(&key);
        tree(&archive, &key)
    };
    tree.file("stages/stage0/01-thing/00-packages", "rpi-sound rpi-slow\n");
    // The first build fills the cache that the forks are made from.
    if !bases.is_dir() {
        tree.build(&[]);
    }
    let same = fork("sed", &|old| {
        format!("{}+rpt1", old.split("+b").next().unwrap())
    });
    let other = fork("gzip", &|old| format!("9{old}+rpt1"));
    let (same, other) = (same.unwrap(), other.unwrap());
    archive.publish(&key);

    let said = tree.build(&["--timings"]);
    let table = |name: &str| {
        said.lines()
            .any(|line| line.starts_with(&format!("emulated: {name}:")))
    };
    assert!(table("gzip"), "{said}");
    assert!(!table("sed"), "{said}");
    assert!(
        tree.log()
            .contains(&format!("{other} on offer to the target")),
        "{}",
        tree.log()
    );
    assert_eq!(archive.asked("rpi-slow"), 2, "not tried again");
    let lock = fs::read_to_string(tree.dir.join("westwork.lock")).unwrap();
    let locked = |line: &str| line.contains("\"rpi-slow\"") && line.contains(&archive.address);
    assert!(lock.lines().any(locked), "{lock}");
    assert!(lock.contains(&format!("\"{same}\"")), "{lock}");

    let said = both(&tree.run(&["lock", "--update"]));
    says(&said, &["nothing has changed"]);

    // The same from the lock file and the cache alone, with the archive gone.
    archive.fault("", Fault::Gone);
    let before = archive.asked("");
    tree.build(&["--offline", "--set", "CLEAN=1"]);
    assert_eq!(archive.asked(""), before);
    let again = fs::read_to_string(tree.dir.join("westwork.lock")).unwrap();
    assert_eq!(lock, again);
}

#[test]
fn packages_that_cannot_be_had_are_named_with_the_reason() {
    let suite = release("arm64");
    let key = Key::new("The archive");
    let archive = Archive::new(suite, &["main"], &["arm64"]);
    for name in ["rpi-stalls", "rpi-gone", "rpi-changed"] {
        archive.package(&format!("Package: {name}"), &[]);
    }
    archive.fault("rpi-stalls", Fault::Stalls(usize::MAX));
    archive.fault("rpi-gone", Fault::Gone);
    archive.fault("rpi-changed", Fault::Changed);
    archive.publish(&key);
    let tree = tree(&archive, &key);
    // apt tries again only what another try may mend.
    for (name, times, words) in [
        (
            "rpi-gone",
            1,
            [
                "is gone since the package index was read",
                "without --continue",
            ],
        ),
        (
            "rpi-changed",
            1,
            [
                "other contents than the signed index says",
                "try again later",
            ],
        ),
        ("rpi-stalls", 4, ["did not answer for 2 s", "APT_TIMEOUT"]),
    ] {
        tree.file("stages/stage0/01-thing/00-packages", &format!("{name}\n"));
        let said = fails(&tree, &["build"], 1);
        says(&said, &words);
        says(
            &said,
            &[&format!(
                "{}/pool/{name}_{}_all.deb",
                archive.address,
                version()
            )],
        );
        assert_eq!(archive.asked(name), times, "{name}:\n{said}");
    }
}
