//! Against what mksquashfs makes.
use super::*;
use crate::images::image::tree::Tree;
use crate::images::image::tree::samples::{compare, sample};
use crate::need::{self, left_out, need};
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

/// The tree in `root` as a file system, made by mksquashfs.
fn made(root: &Path, image: &Path, options: &[&str]) -> Tree {
    let mut command = Command::new("mksquashfs");
    command.args([root, image]).args(options);
    command.args(["-quiet", "-no-progress", "-noappend"]);
    let out = command.output().unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let file = File::open(image).unwrap();
    let disk = Slice::new(&file, 0, file.metadata().unwrap().len()).unwrap();
    Tree::new(Squashfs::new(disk).unwrap())
}

#[test]
fn files_read_back_as_they_were() {
    need!(need::tools(&["mksquashfs", "mkfifo", "mknod"]));
    let dir = tempfile::tempdir().unwrap();
    let (root, image) = (dir.path().join("root"), dir.path().join("image"));
    if !sample(&root, 700) {
        left_out!("the directory for temporary files has no attributes");
    }
    for options in [
        // The exporter's.
        &["-comp", "zstd", "-Xcompression-level", "5"][..],
        &["-comp", "gzip", "-b", "4096"],
        &["-comp", "gzip", "-no-fragments"],
        &["-comp", "gzip", "-always-use-fragments", "-b", "1M"],
        &["-comp", "xz", "-Xbcj", "arm"],
        &["-comp", "lz4", "-Xhc"],
        &["-comp", "zstd", "-noI", "-noX"],
        &["-noI", "-noD", "-noF", "-noX", "-b", "8192"],
    ] {
        let tree = made(&root, &image, options);
        compare(&tree, &root, true, &format!("{options:?}"));
    }
}

#[test]
fn directories_with_an_index_are_read() {
    need!(need::tools(&["mksquashfs"]));
    let dir = tempfile::tempdir().unwrap();
    let (root, image) = (dir.path().join("root"), dir.path().join("image"));
    fs::create_dir(&root).unwrap();
    for n in 0..6000 {
        fs::write(root.join(format!("{n:0>40}")), "").unwrap();
    }
    let tree = made(&root, &image, &["-comp", "zstd"]);
    compare(&tree, &root, true, "many names");
}

#[test]
fn what_is_not_read_is_said() {
    need!(need::tools(&["mksquashfs"]));
    let dir = tempfile::tempdir().unwrap();
    let (root, image) = (dir.path().join("root"), dir.path().join("image"));
    fs::create_dir(&root).unwrap();
    made(&root, &image, &[]);
    let whole = fs::read(&image).unwrap();
    for (at, value, words) in [
        (20, 3, "lzo"),
        (20, 77, "unknown way"),
        (28, 3, "version 3.0"),
        (45, 1, "claims"),
    ] {
        let mut bytes = whole.clone();
        bytes[at] = value;
        fs::write(&image, &bytes).unwrap();
        let disk = Slice::new(&File::open(&image).unwrap(), 0, bytes.len() as u64).unwrap();
        let error = format!("{:#}", Squashfs::new(disk).err().unwrap());
        assert!(error.contains(words), "{error}");
    }
}
