//! Whole images from hard trees, read back with the usual tools.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use westwork_gen::config::{Arch, Compression, Distro};
use westwork_gen::export::{ExportRequest, Exported, export};

const EPOCH: i64 = 1_700_000_000;

/// False, with a printed line, when a tool is missing.
fn tools() -> bool {
    let missing: Vec<_> = [
        "mke2fs",
        "mkfs.fat",
        "mcopy",
        "e2fsck",
        "debugfs",
        "fsck.vfat",
    ]
    .into_iter()
    .filter(|t| Command::new(t).arg("-V").output().is_err())
    .collect();
    if !missing.is_empty() {
        println!("skipped: not installed: {}", missing.join(" "));
    }
    missing.is_empty()
}

fn run(program: &str, args: &[&str]) -> (bool, String) {
    let out = Command::new(program).args(args).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    (out.status.success(), text.into_owned())
}

/// A tree with what is hard for exporters; `reverse` makes it in another order.
fn tree(root: &Path, small_files: usize, reverse: bool) {
    for dir in ["etc", "boot/firmware/overlays", "many", "odd"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    let fstab = "BOOTDEV /boot/firmware vfat defaults 0 2\nROOTDEV / ext4 defaults 0 1\n";
    fs::write(root.join("etc/fstab"), fstab).unwrap();
    fs::write(
        root.join("boot/firmware/cmdline.txt"),
        "root=ROOTDEV rootwait\n",
    )
    .unwrap();
    fs::write(root.join("boot/firmware/overlays/long name.dtbo"), "x").unwrap();
    let mut numbers: Vec<_> = (0..small_files).collect();
    if reverse {
        numbers.reverse();
    }
    for n in numbers {
        let dir = root.join(format!("many/{}", n / 1000));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(n.to_string()), "small").unwrap();
    }
    let odd = root.join("odd");
    fs::write(odd.join("n".repeat(255)), "").unwrap();
    fs::write(odd.join(std::ffi::OsStr::from_bytes(b"\xff\xfe")), "").unwrap();
    fs::hard_link(root.join("etc/fstab"), odd.join("link")).unwrap();
    std::os::unix::fs::symlink("t".repeat(200), odd.join("symlink")).unwrap();
    assert!(run("mkfifo", &[odd.join("fifo").to_str().unwrap()]).0);
    let hole = fs::File::create(odd.join("hole")).unwrap();
    hole.set_len(3 << 30).unwrap();
}

fn make(root: &Path, out: &Path, margin: u64) -> Exported {
    let scratch = tempfile::tempdir().unwrap();
    let request = ExportRequest {
        rootfs: root,
        scratch: scratch.path(),
        deploy_dir: out,
        name: "test".into(),
        archive_name: "test".into(),
        formats: vec![Compression::None],
        level: None,
        boot_size: 40 << 20,
        root_margin: margin,
        arch: Arch::Arm64,
        distro: Distro::Debian,
        release: "trixie".into(),
        source_date_epoch: EPOCH,
        info_lines: vec![],
        init_format: "none",
        deploy_url: None,
        signer: None,
        record: serde_json::Value::Null,
        mke2fs: "mke2fs".into(),
    };
    export(&request, &mut |line| println!("{line}")).unwrap()
}

/// Exports a tree twice, made in different orders, and reads it back.
fn round_trip(small_files: usize, margin: u64) {
    if !tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut sums = Vec::new();
    for reverse in [false, true] {
        let root = dir.path().join(format!("root{reverse}"));
        tree(&root, small_files, reverse);
        let out = dir.path().join(format!("out{reverse}"));
        sums.push(make(&root, &out, margin).raw_sha256);
        if !reverse {
            read_back(&out.join("test.img"), dir.path());
        }
        // The second build happens in another second.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    assert_eq!(sums[0], sums[1]);
}

fn read_back(image: &Path, dir: &Path) {
    let image = image.to_str().unwrap();
    let root_at = (4 + 40) << 20;
    let ext4 = format!("{image}?offset={root_at}");
    let (clean, text) = run("e2fsck", &["-fn", &ext4]);
    assert!(clean, "{text}");
    let fat = dir.join("fat");
    let fat = fat.to_str().unwrap();
    let of = format!("of={fat}");
    let input = format!("if={image}");
    assert!(run("dd", &[&input, &of, "bs=4M", "skip=1", "count=10"]).0);
    let (clean, text) = run("fsck.vfat", &["-n", fat]);
    assert!(clean, "{text}");
    let (_, text) = run("mtype", &["-i", fat, "::/cmdline.txt"]);
    assert!(
        text.starts_with("root=PARTUUID=") && text.contains("-02 "),
        "{text}"
    );
    let (_, text) = run("debugfs", &["-R", "cat /etc/fstab", &ext4]);
    assert!(
        !text.contains("ROOTDEV") && text.contains("-01 /boot"),
        "{text}"
    );
    let (_, text) = run("debugfs", &["-R", "stat /odd/link", &ext4]);
    assert!(text.contains("Links: 2"), "{text}");
    let (_, text) = run("debugfs", &["-R", "stat /odd/hole", &ext4]);
    assert!(
        text.contains("Size: 3221225472") && text.contains("Blockcount: 0"),
        "{text}"
    );
}

#[test]
fn a_small_tree_with_little_room() {
    round_trip(1, 0);
}

#[test]
fn many_small_files() {
    round_trip(50_000, 0);
}
