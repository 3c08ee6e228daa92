//! The hardest tree: into an image, and compared with what the kernel sees on it.

#[path = "common/need.rs"]
mod need;
#[path = "common/settings.rs"]
mod settings;

use need::need;
use settings::settings;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use westwork_gen::base::inside::Root;
use westwork_gen::base::tool::Tool;
use westwork_gen::config::Config;
use westwork_gen::export::{ExportRequest, Ext4, export};

const EPOCH: i64 = 1_700_000_000;
const SMALL_FILES: usize = 300_000;
const SPARSE: u64 = 6 << 30;

fn run(program: &str, args: &[&str]) -> (bool, String) {
    let out = Command::new(program).args(args).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    (out.status.success(), text.into_owned())
}

fn must(program: &str, args: &[&str]) {
    let (good, text) = run(program, args);
    assert!(good, "{program} {args:?}: {text}");
}

fn tree(root: &Path) {
    for dir in ["etc", "boot/firmware", "odd", "attributes"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::write(root.join("boot/firmware/cmdline.txt"), "root=ROOTDEV\n").unwrap();
    for n in 0..SMALL_FILES {
        let dir = root.join(format!("many/{}", n / 2000));
        if n % 2000 == 0 {
            fs::create_dir_all(&dir).unwrap();
        }
        fs::write(dir.join(n.to_string()), n.to_string()).unwrap();
    }
    let hole = File::create(root.join("odd/sparse")).unwrap();
    hole.set_len(SPARSE).unwrap();
    for at in [0, 3 << 30, SPARSE - 3] {
        hole.write_all_at(b"end", at).unwrap();
    }
    names(&root.join("odd"));
    let path = |name: &str| root.join(name).to_str().unwrap().to_owned();
    for n in 0..100 {
        fs::hard_link(root.join("many/0/1"), root.join(format!("odd/link{n}"))).unwrap();
    }
    for (name, kind, major, minor) in [("block", "b", "8", "300"), ("char", "c", "260", "70000")] {
        must(
            "mknod",
            &[&path(&format!("odd/{name}")), kind, major, minor],
        );
    }
    must("mkfifo", &["-m", "600", &path("odd/fifo")]);
    let file = path("attributes/file");
    fs::write(&file, "x").unwrap();
    must("chown", &["100000:4000000000", &file]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o6751)).unwrap();
    must("touch", &["-d", "1975-05-05 UTC", &file]);
    must("setcap", &["cap_net_raw,cap_net_admin=ep", &file]);
    must("setfacl", &["-m", "u:33:rwx,g:44:r", &file]);
    must("setfacl", &["-d", "-m", "u:33:rwx", &path("attributes")]);
    let attributes = [
        ("user.small", 10),
        ("user.many.a", 200),
        // More than an inode has room for.
        ("user.large", 3000),
    ];
    for (name, length) in attributes {
        xattr::set(&file, name, &vec![b'v'; length]).unwrap();
    }
}

fn names(dir: &Path) {
    for name in [
        &b"\xff\xfe not UTF-8 \xc3"[..],
        b" spaces and\nlines ",
        b"quotes'\"\\$",
        "n".repeat(255).as_bytes(),
        "\u{fc}".repeat(127).as_bytes(),
    ] {
        fs::write(dir.join(OsStr::from_bytes(name)), name).unwrap();
        let mut target = vec![b't'; 4000];
        target.extend(name);
        let link = [b"l", &name[..name.len().min(254)]].concat();
        let target = OsStr::from_bytes(&target[..target.len().min(4095)]);
        std::os::unix::fs::symlink(target, dir.join(OsStr::from_bytes(&link))).unwrap();
    }
}

/// What must be equal of a file; times are bounded, without fractions.
fn facts(path: &Path, meta: &Metadata) -> Vec<(String, Vec<u8>)> {
    let number = |name: &str, value: u64| (name.to_owned(), value.to_string().into_bytes());
    let mut facts = vec![
        number("mode", meta.mode().into()),
        number("owner", meta.uid().into()),
        number("group", meta.gid().into()),
        number("device", meta.rdev()),
    ];
    if !meta.is_dir() {
        facts.push(number("links", meta.nlink()));
        facts.push(number("size", meta.size()));
    }
    let time = meta.mtime().min(EPOCH);
    facts.push(("time".to_owned(), time.to_string().into_bytes()));
    for name in xattr::list(path).unwrap() {
        let value = xattr::get(path, &name).unwrap().unwrap();
        facts.push((name.to_string_lossy().into_owned(), value));
    }
    facts.sort();
    facts
}

/// Compares two trees; returns how many paths were compared.
fn compare(source: &Path, image: &Path) -> usize {
    let mut count = 0;
    let mut inodes = HashMap::new();
    for entry in walkdir::WalkDir::new(source).min_depth(1) {
        let entry = entry.unwrap();
        let relative = entry.path().strip_prefix(source).unwrap();
        if relative.starts_with("boot/firmware") {
            continue;
        }
        let other = image.join(relative);
        let (ours, theirs) = (entry.metadata().unwrap(), other.symlink_metadata().unwrap());
        assert_eq!(
            facts(entry.path(), &ours),
            facts(&other, &theirs),
            "{relative:?}"
        );
        // Names of one file stay names of one file.
        let inode = *inodes.entry(ours.ino()).or_insert(theirs.ino());
        assert_eq!(inode, theirs.ino(), "{relative:?}");
        if ours.is_symlink() {
            assert_eq!(
                fs::read_link(entry.path()).unwrap(),
                fs::read_link(&other).unwrap()
            );
        } else if ours.is_file() && ours.size() < 1 << 20 {
            assert_eq!(fs::read(entry.path()).unwrap(), fs::read(&other).unwrap());
        } else if ours.is_file() {
            must(
                "cmp",
                &[entry.path().to_str().unwrap(), other.to_str().unwrap()],
            );
            assert!(
                theirs.blocks() < 200,
                "{} blocks are in use",
                theirs.blocks()
            );
        }
        count += 1;
    }
    let in_image = walkdir::WalkDir::new(image).min_depth(1).into_iter();
    let theirs = in_image.filter(|e| e.as_ref().unwrap().file_name() != "lost+found");
    assert_eq!(theirs.count(), count + 1, "the image has other files, too");
    count
}

/// A mount that goes with the test.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        drop(run("umount", &[self.0.to_str().unwrap()]));
    }
}

#[test]
fn every_attribute_comes_through() {
    need!(need::root());
    // On a real disk: extended attributes of every kind are wanted.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = dir.path().join("root");
    tree(&root);
    let scratch = tempfile::tempdir_in(dir.path()).unwrap();
    let out = dir.path().join("out");
    let config = Config {
        root_margin: 0,
        ..settings()
    };
    let request = ExportRequest {
        rootfs: &Root::open(&root).unwrap(),
        scratch: scratch.path(),
        config: &config,
        deploy_dir: &out,
        name: "test".into(),
        archive_name: "test".into(),
        init_format: "none",
        record: serde_json::Value::Null,
        beside: Vec::new(),
        source_date_epoch: EPOCH,
        info_lines: vec![],
        ext4: Ext4 {
            mke2fs: Tool::Mke2fs.into(),
            debugfs: Tool::Debugfs.into(),
        },
        mkfs_root: None,
    };
    export(&request, &mut |line| println!("{line}")).unwrap();
    let image = out.join("test.img");
    let offset = (4 + 40) << 20;
    must(
        "e2fsck",
        &["-fn", &format!("{}?offset={offset}", image.display())],
    );
    let point = dir.path().join("mounted");
    fs::create_dir(&point).unwrap();
    let options = format!("loop,ro,noload,offset={offset}");
    let places = [image.to_str().unwrap(), point.to_str().unwrap()];
    let (good, text) = run(
        "mount",
        &["-t", "ext4", "-o", &options, places[0], places[1]],
    );
    if !good && fs::metadata("/dev/loop-control").is_err() {
        need!(Err(format!("no loop device can be had ({})", text.trim())));
    }
    assert!(good, "{text}");
    let _mounted = Mounted(&point);
    assert!(compare(&root, &point) > SMALL_FILES + 100);
}
