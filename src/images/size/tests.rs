//! Against trees that are made here.
use super::*;
use crate::images::image::disk::Slice;
use crate::images::image::ext4::{Ext4, superblock};
use crate::images::image::tree::Tree;
use crate::need::{self, need};
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

/// The tree in `root` as a file system of ext4, and its facts.
fn made(root: &Path, image: &Path) -> (Tree, FileSystem) {
    let mut command = Command::new("mke2fs");
    command.args(["-q", "-b", "4096", "-t", "ext4", "-d"]);
    let out = command.arg(root).arg(image).arg("20M").output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}");
    let disk = Slice::new(&File::open(image).unwrap(), 0, 20 << 20).unwrap();
    let sb = superblock(&disk).unwrap();
    let facts = FileSystem {
        kind: sb.kind(),
        ..FileSystem::default()
    };
    (Tree::new(Ext4::new(disk, sb).unwrap()), facts)
}

#[test]
fn every_byte_has_one_owner() {
    need!(need::tools(&["mke2fs"]));
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let file = |path: &str, bytes: &[u8]| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    file("usr/lib/one.so", &[1; 5000]);
    std::os::unix::fs::symlink("usr/lib", root.join("lib")).unwrap();
    std::os::unix::fs::symlink("one.so", root.join("usr/lib/one.so.1")).unwrap();
    file("usr/bin/two", &[2; 4096]);
    fs::hard_link(root.join("usr/bin/two"), root.join("usr/bin/zwei")).unwrap();
    file("var/cache/deep/er/and/deeper/x", &[3; 1]);
    file("var/cache/deep/y", &[3; 1]);
    file("srv/empty", &[]);
    let stanza = |name: &str, arch: &str| {
        format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: {arch}\nVersion: 1\n\n"
        )
    };
    let status = stanza("one", "arm64") + &stanza("two", "all") + &stanza("none", "all");
    file("var/lib/dpkg/status", status.as_bytes());
    file(
        "var/lib/dpkg/info/one:arm64.list",
        b"/.\n/lib\n/lib/one.so\n/usr/lib/one.so.1\n",
    );
    file(
        "var/lib/dpkg/info/two.list",
        b"/.\n/usr/bin/two\n/usr/bin/zwei\n",
    );
    let (tree, facts) = made(&root, &dir.path().join("image"));
    let mut collected = Collected::default();
    tree_files(&tree, "", true, &facts, &mut collected).unwrap();
    let mut sizes = Sizes::default();
    collected.into_sizes(&mut sizes);
    let packages: Vec<_> = sizes
        .packages
        .iter()
        .map(|p| (&*p.name, p.size, p.count))
        .collect();
    assert_eq!(
        packages,
        [("one", 8192, 3), ("two", 4096, 1), ("none", 0, 0)]
    );
    let nobodys: Vec<_> = sizes
        .no_package
        .iter()
        .map(|g| (&*g.path, g.size, g.count))
        .collect();
    // Three levels are one line.
    let expected = [
        ("/var/cache/deep", 8192, 2),
        ("/var/lib/dpkg", 12288, 3),
        ("/srv", 0, 1),
    ];
    let mut expected = expected.to_vec();
    expected.sort_by(|a, b| (b.1, a.0).cmp(&(a.1, b.0)));
    assert_eq!(nobodys, expected);
    let all: u64 = sizes.files.iter().map(|file| file.size).sum();
    assert_eq!((all, sizes.directories[0].path.as_str()), (sizes.size, "/"));
    assert_eq!(sizes.directories[0].size, sizes.size);
}

#[test]
fn paths_are_cut_to_their_directories() {
    assert_eq!(directory("/a"), "/");
    assert_eq!(directory("/a/b/c"), "/a/b");
}
