//! Against what mke2fs makes.
use super::*;
use crate::images::image::tree::Tree;
use crate::need::{self, left_out, need};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

/// The tree in `root` as a file system, made by mke2fs, and its kind.
fn made(root: &Path, image: &Path, options: &[&str]) -> (Tree, &'static str) {
    let mut command = Command::new("mke2fs");
    command.args(["-q", "-d"]).arg(root).args(options);
    let out = command.arg(image).arg("40M").output().unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let file = File::open(image).unwrap();
    let disk = Slice::new(&file, 0, 40 << 20).unwrap();
    let sb = superblock(&disk).unwrap();
    let kind = sb.kind();
    (Tree::new(Ext4::new(disk, sb).unwrap()), kind)
}

/// A tree with `number` files in one directory, a file with more pieces than fit into an
/// inode, links, and small files. Returns whether it has attributes.
fn tree(root: &Path, number: usize) -> bool {
    fs::create_dir_all(root.join("many")).unwrap();
    for n in 0..number {
        fs::write(root.join(format!("many/{n:0>100}")), n.to_string()).unwrap();
    }
    let holes = File::create(root.join("holes")).unwrap();
    for n in 0..900_u64 {
        holes
            .write_all_at(&[u8::try_from(n % 251).unwrap() + 1; 4096], n * 8192)
            .unwrap();
    }
    std::os::unix::fs::symlink("many/../holes", root.join("short")).unwrap();
    std::os::unix::fs::symlink(format!("/{}holes", "./".repeat(60)), root.join("long")).unwrap();
    fs::write(root.join("tiny"), "in the inode").unwrap();
    fs::write(root.join("small"), "a".repeat(120)).unwrap();
    let file = root.join("holes");
    // One that fits into the inode and one that does not.
    let set = ::xattr::set(&file, "user.small", b"s").is_ok()
        && ::xattr::set(&file, "user.large", &[7; 900]).is_ok();
    if !set {
        left_out!("the directory for temporary files has no attributes");
    }
    set
}

/// Reads everything that [`tree`] made.
fn check(fs: &Tree, root: &Path, number: usize, what: &str) {
    let wanted = fs::read(root.join("holes")).unwrap();
    for path in ["/holes", "short", "/long", "/many/../long"] {
        let found = fs.file(path, 8 << 20).unwrap();
        assert!(found.as_deref() == Some(&wanted[..]), "{what}: {path}");
    }
    let file = |path| String::from_utf8(fs.file(path, 200).unwrap().unwrap()).unwrap();
    assert_eq!(file("/tiny"), "in the inode", "{what}");
    assert_eq!(file("/small"), "a".repeat(120), "{what}");
    let many = fs.lookup("/many").unwrap().unwrap();
    let list = fs.list(&many).unwrap();
    assert_eq!(list.len(), number, "{what}");
    for (name, inode) in list {
        let number: u64 = String::from_utf8(name).unwrap().parse().unwrap();
        let content = fs.read(&fs.inode(inode).unwrap(), 100).unwrap();
        assert_eq!(content, number.to_string().as_bytes(), "{what}");
    }
    let mut walked = Vec::new();
    let visit = |path: &[u8], inode: &Inode| {
        walked.push((String::from_utf8_lossy(path).into_owned(), inode.kind));
        Ok(())
    };
    fs.walk(visit).unwrap();
    assert_eq!(walked.len(), number + 6, "{what}");
    assert_eq!(walked[0], ("/holes".to_owned(), Kind::File), "{what}");
    let mut pieces = Vec::new();
    let holes = fs.lookup("/holes").unwrap().unwrap();
    let take = |piece: &[u8]| {
        pieces.extend_from_slice(piece);
        Ok(())
    };
    fs.pieces(&holes, take).unwrap();
    assert!(pieces == wanted, "{what}");
    let link = fs.lookup_link(b"/many/../short").unwrap().unwrap();
    assert_eq!(link.kind, Kind::Symlink, "{what}");
    let mtime = fs::metadata(root.join("holes")).unwrap();
    assert_eq!(
        holes.mtime,
        std::os::unix::fs::MetadataExt::mtime(&mtime),
        "{what}"
    );
    assert!(fs.lookup("/nowhere/x").unwrap().is_none(), "{what}");
    let holes = fs.lookup("/holes").unwrap().unwrap();
    assert!(fs.same(&holes, fs, &holes).unwrap(), "{what}");
}

#[test]
fn files_read_back_as_they_were() {
    need!(need::tools(&["mke2fs"]));
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let attributes = tree(&root, 3000);
    for options in [
        &["-t", "ext4", "-b", "4096"][..],
        &["-t", "ext4", "-b", "1024", "-O", "^64bit", "-I", "256"],
    ] {
        let (fs, _) = made(&root, &dir.path().join("image"), options);
        check(&fs, &root, 3000, &format!("{options:?}"));
        if attributes {
            let holes = fs.lookup("/holes").unwrap().unwrap();
            let found = fs.attributes(&holes).unwrap();
            assert_eq!(found.get("user.small").map(Vec::as_slice), Some(&b"s"[..]));
            assert_eq!(found.get("user.large").unwrap(), &[7; 900]);
        }
    }
}

#[test]
fn older_and_rarer_kinds_are_read_and_called_what_they_are() {
    need!(need::tools(&["mke2fs"]));
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    tree(&root, 60);
    for (kind, options) in [
        ("ext2", &["-t", "ext2", "-b", "1024"][..]),
        ("ext2", &["-r", "0", "-b", "1024"]),
        ("ext3", &["-t", "ext3", "-b", "4096"]),
        ("ext4", &["-t", "ext4", "-O", "^extents,^64bit"]),
        ("ext4", &["-t", "ext4", "-O", "bigalloc", "-C", "16384"]),
        (
            "ext4",
            &["-t", "ext4", "-b", "1024", "-O", "bigalloc", "-C", "8192"],
        ),
        ("ext4", &["-t", "ext4", "-O", "inline_data"]),
        (
            "ext4",
            &[
                "-b",
                "1024",
                "-O",
                "extents,meta_bg,^resize_inode",
                "-g",
                "1024",
            ],
        ),
        ("ext4", &["-t", "ext4", "-O", "encrypt,casefold"]),
    ] {
        let (fs, found) = made(&root, &dir.path().join("image"), options);
        assert_eq!(found, kind, "{options:?}");
        check(&fs, &root, 60, &format!("{options:?}"));
    }
}
