//! Against what mkfs.erofs makes.
use super::*;
use crate::images::image::tree::Tree;
use crate::images::image::tree::samples::{compare, sample};
use crate::need::{self, left_out, need};
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

/// The tree in `root` as a file system, made by mkfs.erofs; `None` if it does not know the
/// options.
fn made(root: &Path, image: &Path, options: &[&str]) -> Option<Erofs> {
    let program = std::env::var("WESTWORK_TEST_MKFS_EROFS");
    let mut command = Command::new(program.as_deref().unwrap_or("mkfs.erofs"));
    let _ = fs::remove_file(image);
    let out = command.args(options).args([image, root]).output().unwrap();
    if !out.status.success() {
        eprintln!("{options:?}: {}", String::from_utf8_lossy(&out.stderr));
        return None;
    }
    let file = File::open(image).unwrap();
    let disk = Slice::new(&file, 0, file.metadata().unwrap().len()).unwrap();
    Some(Erofs::new(disk).unwrap())
}

#[test]
fn files_read_back_as_they_were() {
    need!(need::tools(&["mkfs.erofs", "mkfifo", "mknod"]));
    let dir = tempfile::tempdir().unwrap();
    let (root, image) = (dir.path().join("root"), dir.path().join("image"));
    if !sample(&root, 700) {
        left_out!("the directory for temporary files has no attributes");
    }
    let mut unknown = Vec::new();
    for (options, old) in [
        // The exporter's, but for time stamps.
        (&["-zlz4hc,9"][..], true),
        (&["-zlz4", "-C65536"], true),
        (&["-zlz4hc", "-Elegacy-compress"], false),
        (
            &["-zlz4hc", "-C131072", "-Eforce-inode-extended,ztailpacking"],
            true,
        ),
        (&["-zlz4hc", "-Eztailpacking"], true),
        (&[], true),
        (&["-Enoinline_data", "-x1"], true),
        (&["--chunksize=4096"], true),
        (&["--chunksize=65536", "-Eforce-chunk-indexes"], true),
        // What mkfs.erofs of Debian 12 does not know.
        (&["-zlz4hc", "-Eall-fragments"], false),
        (&["-zlz4hc", "-Efragments,ztailpacking", "-C32768"], false),
        (&["-zlz4hc", "-Ededupe,fragments"], false),
        (&["-zlz4:zstd", "-Efragments"], false),
        (&["-zlzma", "-C131072"], false),
        (&["-zdeflate", "-Eztailpacking"], false),
        (&["-zzstd", "-C65536", "-Ededupe"], false),
        (&["-zlzma", "-C65536", "-Ededupe"], false),
        (&["-zlz4hc", "-b1024"], false),
        (&["-zlz4hc", "-b16384", "-Efragments"], false),
        (&["--xattr-prefix=user.l", "-zlz4hc"], false),
        (&["--xattr-prefix=user.l", "-Efragments", "-zlz4hc"], false),
    ] {
        let Some(fs) = made(&root, &image, options) else {
            assert!(!old, "{options:?}");
            unknown.push(options.join(" "));
            continue;
        };
        let padded = fs.sb.padded;
        let tree = Tree::new(fs);
        if options.contains(&"-Elegacy-compress") && !padded {
            let text = tree.lookup("/text").unwrap().unwrap();
            let error = format!("{:#}", tree.read(&text, 8 << 20).unwrap_err());
            assert!(error.contains("legacy"), "{error}");
            continue;
        }
        compare(&tree, &root, true, &format!("{options:?}"));
    }
    if !unknown.is_empty() {
        eprintln!("this mkfs.erofs does not know {}", unknown.join(", "));
    }
}
