//! Packages are unpacked from their quick forms, and only the pool's own packages are.

use crate::fixture::{Fixture, cache};
use crate::need::{self, need};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A step that runs after the package was installed, and again for each other `text`.
fn later_step(tree: &Fixture, text: &str) {
    tree.script(
        "stage0/00-a/01-run.sh",
        &format!("#!/bin/bash -e\nsleep 2\n: {text}\n"),
    );
}

/// The quick form of `hello` below this cache.
fn form(cache: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(cache.join("packages/arm64/quick")).ok()?;
    entries.flatten().map(|entry| entry.path()).find(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("hello_"))
    })
}

/// Other contents of the same size and time, which nobody would notice but who reads it.
fn spoil(path: &Path) {
    let before = fs::metadata(path).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    let at = before.len() / 2;
    file.write_all_at(&[0x5a; 64], at).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
}

#[test]
fn a_package_is_unpacked_from_its_quick_form_and_one_of_a_step_is_not() {
    need!(need::root());
    let tree = Fixture::with_base("arm64");
    // What is spoilt here is nobody else's.
    let own = tree.root.join("cache");
    fs::create_dir(&own).unwrap();
    for part in ["packages/arm64", "tools"] {
        let to = own.join(part);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        if cache().join(part).exists() {
            let copied = Command::new("cp")
                .arg("-a")
                .arg(cache().join(part))
                .arg(to)
                .status();
            assert!(copied.unwrap().success());
        }
    }
    tree.config(&format!("CACHE_DIR='{}'", own.display()));
    tree.file("stage0/00-a/00-packages", "hello\n");
    // They are made beside the steps, and what is not done when a build ends is left to the next.
    for attempt in 0..20 {
        later_step(&tree, &attempt.to_string());
        tree.run(&["build"]).good();
        if form(&own).is_some() {
            break;
        }
    }
    let form = form(&own).expect("a quick form, after twenty builds");

    // A script takes the place of the packages' step: it knows the package of the pool.
    fs::remove_file(tree.root.join("stage0/00-a/00-packages")).unwrap();
    let install = |before: &str, after: &str| {
        let script = format!(
            "#!/bin/bash -e\nfile=$(ls /var/cache/apt/archives/hello_*.deb)\n{before}\n\
             dpkg -i \"$file\"\n{after}\n"
        );
        tree.script("stage0/00-a/00-run-chroot.sh", &script);
    };
    install("", "hello");
    tree.run(&["build"]).good();
    spoil(&form);
    install("", "hello --version");
    tree.run(&["build"]).failed().says("dpkg-deb");
    tree.run(&["build", "--emulate"]).good();
    // A step's own package has the name of the pool's.
    install(
        "dpkg-deb -R \"$file\" x\necho MINE >x/usr/share/doc/hello/mine\ndpkg-deb -b x \"$file\"",
        "grep MINE /usr/share/doc/hello/mine",
    );
    tree.run(&["build"]).good();
    // Or its size and time as well.
    install(
        "cp -a \"$file\" x\nhead -c 1 x | dd of=\"$file\" conv=notrunc\ntouch -r x \"$file\"",
        "cmp x \"$file\"\ntest ! x -nt \"$file\" -a ! x -ot \"$file\"",
    );
    tree.run(&["build"]).good();
}
