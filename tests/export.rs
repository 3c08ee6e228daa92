//! Whole images from hard trees, read back with the usual tools.

#[path = "common/need.rs"]
mod need;
#[path = "common/settings.rs"]
mod settings;

use need::need;
use settings::settings;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use westwork_gen::base::inside::Root;
use westwork_gen::base::tool::Tool;
use westwork_gen::config::{Config, Disk, Extra, ExtraFormat, RootKind, TableKind};
use westwork_gen::export::{ExportRequest, Exported, Ext4, export};

const EPOCH: i64 = 1_700_000_000;

const TOOLS: [&str; 6] = [
    "mke2fs",
    "mkfs.fat",
    "mcopy",
    "e2fsck",
    "debugfs",
    "fsck.vfat",
];

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
    make_with(root, out, margin, Disk::default()).unwrap()
}

fn make_with(root: &Path, out: &Path, margin: u64, disk: Disk) -> anyhow::Result<Exported> {
    let mkfs_root = match disk.root {
        RootKind::Ext4 => None,
        RootKind::Squashfs => Some(Tool::Mksquashfs.into()),
        RootKind::Erofs => Some(Tool::MkfsErofs.into()),
    };
    let scratch = tempfile::tempdir().unwrap();
    let config = Config {
        root_margin: margin,
        disk,
        ..settings()
    };
    let request = ExportRequest {
        rootfs: &Root::open(root).unwrap(),
        scratch: scratch.path(),
        config: &config,
        deploy_dir: out,
        name: "test".into(),
        archive_name: "test".into(),
        source_date_epoch: EPOCH,
        info_lines: vec![],
        init_format: "none",
        record: serde_json::Value::Null,
        beside: Vec::new(),
        ext4: Ext4 {
            mke2fs: Tool::Mke2fs.into(),
            debugfs: Tool::Debugfs.into(),
        },
        mkfs_root,
    };
    export(&request, &mut |line| println!("{line}"))
}

/// Exports a tree twice, made in different orders, and reads it back.
fn round_trip(small_files: usize, margin: u64) {
    need!(need::tools(&TOOLS));
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
    round_trip(10_000, 0);
}

/// Offset and size in bytes of each partition, as sfdisk reads the table.
fn partitions(image: &str, label: &str) -> Vec<(u64, u64)> {
    let (good, text) = run("sfdisk", &["--json", image]);
    assert!(good, "{text}");
    let table: serde_json::Value = serde_json::from_str(&text).unwrap();
    let table = &table["partitiontable"];
    assert_eq!(table["label"], label);
    let list = table["partitions"].as_array().unwrap();
    let field = |part: &serde_json::Value, name: &str| part[name].as_u64().unwrap() * 512;
    list.iter()
        .map(|part| (field(part, "start"), field(part, "size")))
        .collect()
}

/// A tree with files for a data partition and for one below another.
fn tree_with_places(root: &Path) {
    tree(root, 1, false);
    for (path, text) in [
        ("data/mail/box", "mail"),
        ("srv/file", "srv"),
        ("srv/share/file", "share"),
    ] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let private = fs::Permissions::from_mode(0o2750);
    fs::set_permissions(root.join("data"), private).unwrap();
}

fn extras() -> Vec<Extra> {
    let extra = |name: &str, mib: u64, format, mount_point: &str| Extra {
        name: name.into(),
        size: mib << 20,
        format,
        mount_point: mount_point.into(),
    };
    vec![
        extra("srv", 20, ExtraFormat::Ext4, "/srv"),
        extra("share", 40, ExtraFormat::Vfat, "/srv/share"),
    ]
}

#[test]
fn a_gpt_with_data_and_extra_partitions() {
    let dir = tempfile::tempdir().unwrap();
    let mut sums = Vec::new();
    for n in 0..2 {
        let root = dir.path().join(format!("root{n}"));
        tree_with_places(&root);
        let disk = Disk {
            table: TableKind::Gpt,
            data_size: Some(24 << 20),
            extra: extras(),
            ..Disk::default()
        };
        let out = dir.path().join(format!("out{n}"));
        sums.push(make_with(&root, &out, 0, disk).unwrap().raw_sha256);
    }
    assert_eq!(sums[0], sums[1]);
    let image = dir.path().join("out0/test.img");
    let image = image.to_str().unwrap();
    // Both tables are as they should be, each at its place.
    let (good, text) = run("sgdisk", &["--verify", image]);
    assert!(good && text.contains("No problems found"), "{text}");
    let parts = partitions(image, "gpt");
    let sizes: Vec<_> = parts.iter().map(|(_, size)| size >> 20).collect();
    assert_eq!(
        (sizes.len(), sizes[0], sizes[2], sizes[3], sizes[4]),
        (5, 40, 20, 40, 24)
    );
    let (_, root) = debugfs(image, parts[1].0, "ls -p /");
    assert!(root.contains("/data/") && root.contains("/srv/"), "{root}");
    for (part, request, wanted) in [
        (1, "cat /data/mail/box", "File not found"),
        (1, "cat /srv/file", "File not found"),
        (2, "cat /file", "srv"),
        (2, "cat /share/file", "File not found"),
        (4, "cat /mail/box", "mail"),
        (4, "stat <2>", "Mode:  02750"),
        (4, "show_super_stats -h", "Filesystem volume name:   data"),
    ] {
        let (clean, text) = run(
            "e2fsck",
            &["-fn", &format!("{image}?offset={}", parts[part].0)],
        );
        assert!(clean, "{text}");
        let (_, text) = debugfs(image, parts[part].0, request);
        assert!(text.contains(wanted), "{part} {request}: {text}");
    }
    let drive = format!("{image}@@{}", parts[3].0);
    assert_eq!(run("mtype", &["-i", &drive, "::/file"]).1, "share");

    let (_, dump) = run("sfdisk", &["--dump", image]);
    let (_, fstab) = debugfs(image, parts[1].0, "cat /etc/fstab");
    for (place, number) in [
        ("/boot/firmware", 1),
        ("/", 2),
        ("/srv", 3),
        ("/srv/share", 4),
        ("/data", 5),
    ] {
        let line = fstab
            .lines()
            .find(|line| line.split_whitespace().nth(1) == Some(place));
        let source = line
            .unwrap_or_else(|| panic!("{place} in {fstab}"))
            .split_whitespace()
            .next();
        let uuid = source
            .unwrap()
            .strip_prefix("PARTUUID=")
            .unwrap()
            .to_uppercase();
        let entry = dump
            .lines()
            .find(|line| line.contains(&format!("img{number} :")));
        assert!(entry.unwrap().contains(&uuid), "{place}: {uuid} in {dump}");
    }
}

fn debugfs(image: &str, offset: u64, request: &str) -> (bool, String) {
    run(
        "debugfs",
        &["-R", request, &format!("{image}?offset={offset}")],
    )
}

#[test]
fn what_does_not_fit_says_by_how_much() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    tree_with_places(&root);
    fs::write(root.join("data/big"), vec![1; 30 << 20]).unwrap();
    let data = Disk {
        data_size: Some(24 << 20),
        ..Disk::default()
    };
    let out = dir.path().join("out");
    let error = format!("{:#}", make_with(&root, &out, 0, data).unwrap_err());
    assert!(error.contains("/data is too small by"), "{error}");
    assert!(error.contains("raise DATA_SIZE"), "{error}");
    assert!(!out.exists(), "something was written");
    fs::write(root.join("boot/firmware/kernel"), vec![1; 41 << 20]).unwrap();
    let error = format!(
        "{:#}",
        make_with(&root, &out, 0, Disk::default()).unwrap_err()
    );
    assert!(error.contains("/boot/firmware is too small by"), "{error}");
}

#[test]
fn a_root_that_can_only_be_read() {
    let dir = tempfile::tempdir().unwrap();
    for kind in [RootKind::Squashfs, RootKind::Erofs] {
        let mut sums = Vec::new();
        for n in 0..2 {
            let root = dir.path().join(format!("root{n}{}", kind.name()));
            tree_with_places(&root);
            fs::remove_file(root.join("odd/hole")).unwrap();
            if kind == RootKind::Erofs {
                // Debian 12's mkfs.erofs fails at names of 255 bytes.
                fs::remove_file(root.join("odd").join("n".repeat(255))).unwrap();
            }
            let disk = Disk {
                root: kind,
                data_size: Some(24 << 20),
                ..Disk::default()
            };
            let out = dir.path().join(format!("out{n}{}", kind.name()));
            sums.push(make_with(&root, &out, 0, disk).unwrap().raw_sha256);
        }
        assert_eq!(sums[0], sums[1], "{kind:?}");
        let image = dir.path().join(format!("out0{}/test.img", kind.name()));
        let image = image.to_str().unwrap();
        let parts = partitions(image, "dos");
        let (_, line) = run(
            "mtype",
            &["-i", &format!("{image}@@{}", parts[0].0), "::/cmdline.txt"],
        );
        assert!(
            line.ends_with(&format!(" ro rootfstype={}\n", kind.name())),
            "{line}"
        );
        let copy = dir.path().join("copy");
        let copy = copy.to_str().unwrap();
        let (skip, count) = (parts[1].0 >> 20, parts[1].1 >> 20);
        let (skip, count) = (format!("skip={skip}"), format!("count={count}"));
        assert!(
            run(
                "dd",
                &[
                    &format!("if={image}"),
                    &format!("of={copy}"),
                    "bs=1M",
                    &skip,
                    &count
                ]
            )
            .0
        );
        let unpacked = dir.path().join(kind.name());
        let to = unpacked.to_str().unwrap();
        let (good, text) = match kind {
            RootKind::Squashfs => run("unsquashfs", &["-no-progress", "-d", to, copy]),
            _ => run("fsck.erofs", &[&format!("--extract={to}"), copy]),
        };
        assert!(good, "{text}");
        let names = |path: &str| fs::read_dir(unpacked.join(path)).unwrap().count();
        assert_eq!(
            (names("boot/firmware"), names("data"), names("srv")),
            (0, 0, 2)
        );
        assert_eq!(
            fs::read_to_string(unpacked.join("many/0/0")).unwrap(),
            "small"
        );
        let fstab = fs::read_to_string(unpacked.join("etc/fstab")).unwrap();
        assert!(
            fstab.contains("  /data  ext4") && !fstab.contains("ROOTDEV"),
            "{fstab}"
        );
    }
}
