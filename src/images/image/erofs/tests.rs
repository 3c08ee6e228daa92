//! Against what mkfs.erofs makes.
use super::*;
use crate::images::image::tree::Tree;
use crate::images::image::tree::samples::{compare, sample};
use crate::need::{self, left_out, need};
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

/// mkfs.erofs, or the one that `WESTWORK_TEST_MKFS_EROFS` names.
fn program() -> Command {
    let program = std::env::var("WESTWORK_TEST_MKFS_EROFS");
    Command::new(program.as_deref().unwrap_or("mkfs.erofs"))
}

/// The tree in `root` as a file system, made by mkfs.erofs.
fn made(root: &Path, image: &Path, options: &[&str]) -> Erofs {
    let _ = fs::remove_file(image);
    let mut command = program();
    let out = command.args(options).args([image, root]).output().unwrap();
    assert!(
        out.status.success(),
        "{options:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    let file = File::open(image).unwrap();
    let disk = Slice::new(&file, 0, file.metadata().unwrap().len()).unwrap();
    Erofs::new(disk).unwrap()
}

#[test]
fn files_read_back_as_they_were() {
    need!(need::tools(&["mkfs.erofs", "mkfifo", "mknod"]));
    let dir = tempfile::tempdir().unwrap();
    let (root, image) = (dir.path().join("root"), dir.path().join("image"));
    if !sample(&root, 300) {
        left_out!("the directory for temporary files has no attributes");
    }
    // What mkfs.erofs of Debian 12 does not know.
    let help = program().arg("--help").output().unwrap();
    let new = String::from_utf8_lossy(&help.stdout).contains("zstd");
    for (options, old) in [
        // The exporter's, but for time stamps.
        (&["-zlz4hc,9"][..], true),
        (&["-zlz4", "-C65536"], true),
        (&["-zlz4hc", "-Elegacy-compress"], true),
        (
            &["-zlz4hc", "-C131072", "-Eforce-inode-extended,ztailpacking"],
            true,
        ),
        (&["-zlz4hc", "-Eztailpacking"], true),
        (&[], true),
        (&["-Enoinline_data", "-x1"], true),
        (&["--chunksize=4096"], true),
        (&["--chunksize=65536", "-Eforce-chunk-indexes"], true),
        (&["-zlz4hc", "-Eall-fragments"], false),
        (&["-zlz4hc", "-Efragments,ztailpacking", "-C32768"], false),
        (&["-zlz4hc", "-Ededupe,fragments"], false),
        (&["-zlz4:zstd", "-Efragments"], false),
        (&["-zlzma", "-C131072"], false),
        (&["-zdeflate", "-Eztailpacking"], false),
        (&["-zzstd", "-C65536", "-Ededupe"], false),
        (&["-zlzma", "-C65536", "-Ededupe"], false),
        (&["-zlz4hc", "-b1024"], false),
        (&["--xattr-prefix=user.l", "-zlz4hc"], false),
        (&["--xattr-prefix=user.l", "-Efragments", "-zlz4hc"], false),
    ] {
        if !old && !new {
            continue;
        }
        let fs = made(&root, &image, options);
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
}
