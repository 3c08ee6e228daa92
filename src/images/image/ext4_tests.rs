//! Against what mke2fs makes.
use super::*;
use crate::need::{self, need};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

/// The tree in `root` as ext4, made by mke2fs.
fn ext4(root: &Path, image: &Path, options: &[&str]) -> Ext4 {
    let mut command = Command::new("mke2fs");
    command
        .args(["-q", "-t", "ext4", "-d"])
        .arg(root)
        .args(options);
    let out = command.arg(image).arg("40M").output().unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let file = File::open(image).unwrap();
    Ext4::open(Slice::new(&file, 0, 40 << 20).unwrap()).unwrap()
}

#[test]
fn files_read_back_as_they_were() {
    need!(need::tools(&["mke2fs"]));
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("many")).unwrap();
    for n in 0..3000 {
        fs::write(root.join(format!("many/{n:0>100}")), n.to_string()).unwrap();
    }
    // Every other block: more extents than fit into an inode.
    let holes = File::create(root.join("holes")).unwrap();
    for n in 0..900_u64 {
        holes
            .write_all_at(&[u8::try_from(n % 251).unwrap() + 1; 4096], n * 8192)
            .unwrap();
    }
    std::os::unix::fs::symlink("many/../holes", root.join("short")).unwrap();
    std::os::unix::fs::symlink(format!("/{}holes", "./".repeat(60)), root.join("long")).unwrap();
    let large = vec![7; 900];
    let named = xattr::set(&root, &large);
    for options in [
        &["-b", "4096"][..],
        &["-b", "1024", "-O", "^64bit", "-I", "256"][..],
    ] {
        let image = dir.path().join(format!("image{}", options.len()));
        let fs = ext4(&root, &image, options);
        let wanted = fs::read(root.join("holes")).unwrap();
        for path in ["/holes", "short", "/long", "/many/../long"] {
            assert!(
                fs.file(path).unwrap().as_deref() == Some(&wanted[..]),
                "{path}"
            );
        }
        let many = fs.lookup("/many").unwrap().unwrap();
        let list = fs.list(&many).unwrap();
        assert_eq!(list.len(), 3000);
        for (name, number) in list {
            let number_in_name: u64 = String::from_utf8(name).unwrap().parse().unwrap();
            let content = fs.read(&fs.inode(number).unwrap()).unwrap();
            assert_eq!(content, number_in_name.to_string().as_bytes());
        }
        assert!(fs.lookup("/nowhere/x").unwrap().is_none());
        let holes = fs.lookup("/holes").unwrap().unwrap();
        assert!(fs.same(&holes, &fs, &holes).unwrap());
        if named {
            let found = fs.attributes(&holes).unwrap();
            assert_eq!(found.get("user.small").map(Vec::as_slice), Some(&b"s"[..]));
            assert_eq!(found.get("user.large"), Some(&large));
        }
    }
}

mod xattr {
    /// Attributes that fit into the inode and that do not; false if the directory for
    /// temporary files has none.
    pub(super) fn set(root: &std::path::Path, large: &[u8]) -> bool {
        let file = root.join("holes");
        let set = ::xattr::set(&file, "user.small", b"s").is_ok();
        if !set {
            println!("left out: the directory for temporary files has no attributes");
        }
        set && ::xattr::set(&file, "user.large", large).is_ok()
    }
}
