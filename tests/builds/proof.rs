//! The proof of native dispatch: the same root file system with it and without.

use crate::common::{Tree, target};
use std::collections::BTreeMap;
use std::fs;

/// Writes a line for every file of the root file system: type, mode, owner, links, size,
/// target, extended attributes and a checksum.
const MANIFEST: &str = r#"
cd "${ROOTFS_DIR}"
find . -mindepth 1 -printf '%p\t%y %m %U %G %n %l\n' | LC_ALL=C sort > "${MANIFEST_FILE}.stat"
find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum > "${MANIFEST_FILE}.sum"
getfattr -R -h -d -m - . > "${MANIFEST_FILE}.attr" 2>/dev/null
"#;

/// Differences that say nothing about the processor, each with its reason.
const EXPECTED: &[&str] = &[
    // Times of day.
    "./var/log/",
    "./var/cache/ldconfig/aux-cache",
    // Random, and emptied at export.
    "./etc/machine-id",
    "./var/lib/dbus/machine-id",
    // The order in which apt learns of things, and its times.
    "./var/lib/apt/",
    "./var/cache/apt/",
];

/// Path to everything known of it.
fn manifest(base: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for line in fs::read_to_string(format!("{base}.stat")).unwrap().lines() {
        let (path, rest) = line.split_once('\t').unwrap();
        files.insert(path.to_owned(), rest.to_owned());
    }
    for line in fs::read_to_string(format!("{base}.sum")).unwrap().lines() {
        let (sum, path) = line.split_once("  ").unwrap();
        if let Some(known) = files.get_mut(path) {
            *known += &format!(" {sum}");
        }
    }
    let attributes = fs::read_to_string(format!("{base}.attr")).unwrap();
    files.insert("(extended attributes)".to_owned(), attributes);
    files
}

/// Processor seconds under the emulator, by the table of `--timings`.
fn emulated(said: &str) -> f64 {
    let row = said.lines().find(|line| line.ends_with("whole build"));
    let words: Vec<&str> = row.expect("a table of times").split_whitespace().collect();
    words[2].parse().unwrap()
}

fn prove(arch: &str) {
    let tree = Tree::new(arch).with_bootstrap();
    // What maintainer scripts do most: users, services, alternatives, debconf, byte code.
    tree.file("stages/stage0/00-a/00-debconf", "locales locales/locales_to_be_generated multiselect en_GB.UTF-8 UTF-8\nlocales locales/default_environment_locale select en_GB.UTF-8\n");
    tree.file("stages/stage0/00-a/00-packages-nr", "apt-utils\n");
    tree.file("stages/stage0/00-a/01-packages-nr", "systemd-sysv udev dbus openssh-server locales adduser kmod iputils-ping python3-minimal gawk console-setup\n");
    tree.file("stages/stage0/00-a/02-run-chroot.sh", "adduser --disabled-password --comment '' anna\nsystemctl enable systemd-networkd\nrm -f /etc/ssh/ssh_host_*\n");
    tree.script("stages/stage9/00-look/00-run.sh", MANIFEST);
    tree.script("stages/stage9/prerun.sh", "copy_previous");
    let (mut manifests, mut times) = (Vec::new(), Vec::new());
    for mode in ["native", "emulated"] {
        // What a host script may write to.
        let base = tree.dir.join("deploy").join(mode);
        tree.file(
            "config",
            &format!(
                "IMG_NAME=Test\n{}SOURCE_DATE_EPOCH=1767225600\nexport MANIFEST_FILE='{}'\n",
                target(arch),
                base.display()
            ),
        );
        let mut args = vec!["--timings", "--set"];
        let work = format!(
            "WORK_DIR={}",
            tree.dir.join(format!("work/{mode}")).display()
        );
        args.push(&work);
        if mode == "emulated" {
            args.push("--emulate");
        }
        let said = tree.build(&args);
        println!("{arch} {mode}:\n{said}");
        times.push(emulated(&said));
        manifests.push(manifest(base.to_str().unwrap()));
    }
    // Two emulated builds would be alike, too.
    assert!(times[0] * 4.0 < times[1], "emulated seconds: {times:?}");
    let (native, emulated) = (&manifests[0], &manifests[1]);
    let paths: std::collections::BTreeSet<&String> = native.keys().chain(emulated.keys()).collect();
    let differences: Vec<String> = paths
        .into_iter()
        .filter(|path| !EXPECTED.iter().any(|start| path.starts_with(start)))
        .filter(|path| native.get(*path) != emulated.get(*path))
        .map(|path| {
            format!(
                "{path}\n  native   {:?}\n  emulated {:?}",
                native.get(path),
                emulated.get(path)
            )
        })
        .collect();
    assert!(native.len() > 3000, "only {} files", native.len());
    assert!(
        differences.is_empty(),
        "{} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

#[test]
fn dispatch_changes_nothing_on_arm64() {
    prove("arm64");
}

#[test]
fn dispatch_changes_nothing_on_armhf() {
    prove("armhf");
}
