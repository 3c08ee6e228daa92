//! Images made to bring `inspect` and `diff` down: each must end soon, within little memory,
//! with a word on what is wrong.

#[path = "common/card.rs"]
mod card;
#[path = "common/need.rs"]
mod need;

use card::{code, run, said, text};
use need::need;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Bytes that the program may allocate, and seconds that it may take.
const MEMORY: &str = "--data=209715200";
const SECONDS: &str = "60";

/// First byte of an image's one partition.
const AT: u64 = 1 << 20;

const TOOLS: [&str; 5] = ["mke2fs", "debugfs", "mkfs.fat", "mcopy", "prlimit"];

/// `westwork-gen ARGS…` within bounds; it must not be killed by them, nor abort.
fn bounded(args: &[&str]) -> Output {
    let out = Command::new("timeout")
        .args([SECONDS, "prlimit", MEMORY])
        .arg(env!("CARGO_BIN_EXE_westwork-gen"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!((0..=2).contains(&code(&out)), "{out:?}");
    out
}

/// An image with a partition of this type, in which `file_system` lies.
fn image(dir: &Path, kind: u8, file_system: &Path) -> PathBuf {
    let path = dir.join("disk.img");
    let size = fs::metadata(file_system).unwrap().len();
    let _ = fs::remove_file(&path);
    let file = File::create(&path).unwrap();
    file.set_len(AT + size).unwrap();
    let mut head = [0; 512];
    head[450] = kind;
    let number = |bytes: u64| u32::try_from(bytes / 512).unwrap().to_le_bytes();
    head[454..458].copy_from_slice(&number(AT));
    head[458..462].copy_from_slice(&number(size));
    head[510..].copy_from_slice(&[0x55, 0xaa]);
    file.write_all_at(&head, 0).unwrap();
    // Behind that there are only holes.
    let mut begin = Vec::new();
    let from = File::open(file_system).unwrap();
    from.take(16 << 20).read_to_end(&mut begin).unwrap();
    file.write_all_at(&begin, AT).unwrap();
    path
}

/// An ext4 of 16 MiB with an os-release, changed by debugfs.
fn ext4(dir: &Path, changes: &[&str]) -> PathBuf {
    let root = dir.join("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/os-release"), "NAME=x\n".repeat(2000)).unwrap();
    fs::create_dir_all(root.join("dir")).unwrap();
    let path = dir.join("ext4");
    let _ = fs::remove_file(&path);
    let options = ["-q", "-t", "ext4", "-b", "4096", "-O", "^metadata_csum"];
    run(
        "mke2fs",
        &[&options[..], &["-d", text(&root), text(&path), "16M"]].concat(),
    );
    for change in changes {
        run("debugfs", &["-w", "-R", change, text(&path)]);
    }
    path
}

fn write(path: &Path, at: u64, bytes: &[u8]) {
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

/// The byte at which an inode's own data begins.
fn inode_at(path: &Path, name: &str) -> u64 {
    let said = run("debugfs", &["-R", &format!("imap {name}"), text(path)]);
    let place = said.lines().find(|line| line.contains("located at block"));
    let (_, place) = place.unwrap().split_once("block ").unwrap();
    let (block, offset) = place.split_once(", offset 0x").unwrap();
    let offset = u64::from_str_radix(offset.trim(), 16).unwrap();
    block.parse::<u64>().unwrap() * 4096 + offset
}

/// `inspect` and `diff` of the image with another one.
fn both(image: &Path, other: &Path) -> String {
    let inspected = bounded(&["inspect", "--packages", text(image)]);
    let compared = bounded(&["diff", text(image), text(other)]);
    format!("{}{}", said(&inspected), said(&compared))
}

/// The image once more, with one byte outside of all partitions changed, so that only what is
/// in them can make the two the same.
fn twin(image: &Path) -> PathBuf {
    let twin = image.with_extension("twin.img");
    run("cp", &["--sparse=always", text(image), text(&twin)]);
    write(&twin, 440, b"x");
    twin
}

#[test]
fn ext4_with_sizes_beyond_the_partition() {
    need!(need::tools(&TOOLS));
    let dir = tempfile::tempdir().unwrap();
    // So many blocks that a file of 17 TB seems to fit.
    let fs = ext4(
        dir.path(),
        &["set_inode_field /etc/os-release size 17000000000000"],
    );
    write(&fs, 1024 + 0x150, &1_u32.to_le_bytes());
    let said = both(&image(dir.path(), 0x83, &fs), &image(dir.path(), 0x83, &fs));
    assert!(said.contains("16777216 are there"), "{said}");
    // Within the partition's size, and far more than any such file has.
    let fs = ext4(
        dir.path(),
        &["set_inode_field /etc/os-release size 16000000"],
    );
    let disk = image(dir.path(), 0x83, &fs);
    let said = both(&disk, &twin(&disk));
    assert!(said.contains("more than the 1048576"), "{said}");
}

#[test]
fn ext4_with_an_extent_tree_whose_nodes_share_their_children() {
    need!(need::tools(&TOOLS));
    let dir = tempfile::tempdir().unwrap();
    let fs = ext4(dir.path(), &[]);
    // Level upon level of 340 ways to the same next node, at blocks 3000 to 3004.
    let node = |entries: u16, depth: u16, child: u32| {
        let mut node = vec![0; 4096];
        node[..2].copy_from_slice(&0xf30a_u16.to_le_bytes());
        node[2..4].copy_from_slice(&entries.to_le_bytes());
        node[4..6].copy_from_slice(&entries.to_le_bytes());
        node[6..8].copy_from_slice(&depth.to_le_bytes());
        for entry in node[12..].chunks_exact_mut(12).take(usize::from(entries)) {
            entry[4..8].copy_from_slice(&child.to_le_bytes());
        }
        node
    };
    for (level, depth) in [(0, 4), (1, 3), (2, 2), (3, 1), (4, 0)] {
        let entries = if depth == 0 { 0 } else { 340 };
        let next = 3001 + level;
        write(&fs, u64::from(next - 1) * 4096, &node(entries, depth, next));
    }
    let inode = inode_at(&fs, "/etc/os-release");
    write(&fs, inode + 0x28, &node(1, 5, 3000)[..60]);
    let disk = image(dir.path(), 0x83, &fs);
    let said = both(&disk, &twin(&disk));
    assert!(said.contains("leads in a circle"), "{said}");
}

#[test]
fn ext4_with_a_directory_in_itself() {
    need!(need::tools(&TOOLS));
    let dir = tempfile::tempdir().unwrap();
    let fs = ext4(dir.path(), &["link / /dir/again", "link /dir /dir/self"]);
    let disk = image(dir.path(), 0x83, &fs);
    let other = ext4(dir.path(), &[]);
    let twin = twin(&disk);
    fs::rename(&twin, dir.path().join("twin.img")).unwrap();
    let disk = dir.path().join("twin.img");
    let said = both(&disk, &image(dir.path(), 0x83, &other));
    assert!(said.contains("at another place as well"), "{said}");
}

#[test]
fn ext4_of_one_block_a_group_in_a_large_sparse_file() {
    need!(need::tools(&TOOLS));
    let dir = tempfile::tempdir().unwrap();
    let fs = ext4(dir.path(), &[]);
    File::options()
        .write(true)
        .open(&fs)
        .unwrap()
        .set_len(64 << 30)
        .unwrap();
    write(&fs, 1024 + 4, &(16_u32 << 20).to_le_bytes());
    write(&fs, 1024 + 0x20, &1_u32.to_le_bytes());
    write(&fs, 1024 + 0x28, &1_u32.to_le_bytes());
    let disk = image(dir.path(), 0x83, &fs);
    let said = both(&disk, &twin(&disk));
    assert!(said.contains("64 GiB"), "{said}");
}

/// A FAT of 5 MB with a config.txt and a directory; returns it and where its root directory
/// and its table begin.
fn fat(dir: &Path) -> (PathBuf, u64, u64) {
    let path = dir.join("fat");
    let _ = fs::remove_file(&path);
    run(
        "mkfs.fat",
        &["-C", "-F", "16", "-s", "1", text(&path), "5120"],
    );
    let config = dir.join("config.txt");
    fs::write(&config, "kernel=a\n").unwrap();
    run("mmd", &["-i", text(&path), "::/loop"]);
    run("mcopy", &["-i", text(&path), text(&config), "::"]);
    let bytes = fs::read(&path).unwrap();
    let number = |at: usize| u64::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let table = number(14) * number(11);
    let root = table + u64::from(bytes[16]) * number(22) * number(11);
    (path, root, table)
}

/// The byte at which the entry `name` of the root directory lies.
fn entry(path: &Path, root: u64, name: &[u8; 11]) -> u64 {
    let bytes = fs::read(path).unwrap();
    let root = usize::try_from(root).unwrap();
    let at = bytes[root..]
        .chunks(32)
        .position(|entry| entry.starts_with(name));
    (root + at.unwrap() * 32) as u64
}

#[test]
fn fat_with_a_directory_in_itself() {
    need!(need::tools(&TOOLS));
    let dir = tempfile::tempdir().unwrap();
    let (fat, root, _) = fat(dir.path());
    // LOOP's first entry behind . and .. is LOOP again.
    let at = entry(&fat, root, b"LOOP       ");
    let bytes = fs::read(&fat).unwrap();
    let found = &bytes[usize::try_from(at).unwrap()..][..32];
    let cluster = u64::from(u16::from_le_bytes([found[26], found[27]]));
    let data = root + 512 * 32;
    write(&fat, data + (cluster - 2) * 512 + 64, found);
    let disk = image(dir.path(), 0x0c, &fat);
    let said = both(&disk, &twin(&disk));
    assert!(said.contains("lead in a circle"), "{said}");
}

#[test]
fn fat_with_a_chain_in_a_circle() {
    need!(need::tools(&TOOLS));
    let dir = tempfile::tempdir().unwrap();
    let (fat, root, table) = fat(dir.path());
    let at = entry(&fat, root, b"CONFIG  TXT");
    let bytes = fs::read(&fat).unwrap();
    let found = &bytes[usize::try_from(at).unwrap()..][..32];
    let cluster = u16::from_le_bytes([found[26], found[27]]);
    // The cluster after it is itself, and its size is 4 GiB.
    write(&fat, table + u64::from(cluster) * 2, &cluster.to_le_bytes());
    write(&fat, at + 28, &u32::MAX.to_le_bytes());
    let disk = image(dir.path(), 0x0c, &fat);
    let said = both(&disk, &twin(&disk));
    assert!(said.contains("config.txt in the FAT"), "{said}");
    // The same in a directory whose entries are all unused: it never ends.
    let (fat, root, table) = self::fat(dir.path());
    let at = entry(&fat, root, b"LOOP       ");
    let bytes = fs::read(&fat).unwrap();
    let found = &bytes[usize::try_from(at).unwrap()..][..32];
    let cluster = u16::from_le_bytes([found[26], found[27]]);
    write(&fat, table + u64::from(cluster) * 2, &cluster.to_le_bytes());
    let data = root + 512 * 32 + (u64::from(cluster) - 2) * 512;
    write(&fat, data, &[0xe5; 512]);
    let disk = image(dir.path(), 0x0c, &fat);
    let said = both(&disk, &twin(&disk));
    assert!(said.contains("in circles"), "{said}");
}

#[test]
fn gpt_that_claims_what_none_has() {
    need!(need::tools(&["sfdisk", "prlimit"]));
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("gpt.img");
    for (entries, bytes) in [(u32::MAX, 128_u32), (128, 0), (128, 4096)] {
        File::create(&disk).unwrap().set_len(8 << 20).unwrap();
        run(
            "sh",
            &[
                "-c",
                &format!("echo 'label: gpt\nsize=1MiB' | sfdisk -q {}", text(&disk)),
            ],
        );
        for header in [512, (8 << 20) - 512] {
            let mut sector = fs::read(&disk).unwrap()[header..header + 92].to_vec();
            sector[80..84].copy_from_slice(&entries.to_le_bytes());
            sector[84..88].copy_from_slice(&bytes.to_le_bytes());
            sector[16..20].fill(0);
            let sum = crc32(&sector);
            sector[16..20].copy_from_slice(&sum.to_le_bytes());
            write(&disk, header as u64, &sector);
        }
        let said = said(&bounded(&["inspect", text(&disk)]));
        assert!(
            said.contains(&format!("claims to have {entries}")),
            "{said}"
        );
    }
}

/// CRC-32 as a GPT has it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[test]
fn nothing_of_an_image_acts_on_the_terminal() {
    need!(need::tools(&TOOLS));
    let dir = tempfile::tempdir().unwrap();
    let (fat, ..) = fat(dir.path());
    let evil = "\x1b]0;owned\x07\x1b[2J";
    let line = dir.path().join("cmdline.txt");
    fs::write(&line, format!("root=x {evil}\n")).unwrap();
    run("mcopy", &["-i", text(&fat), text(&line), "::"]);
    let disk = image(dir.path(), 0x0c, &fat);
    let shown = bounded(&["inspect", text(&disk)]);
    assert!(!shown.stdout.contains(&0x1b), "{}", said(&shown));
    assert!(
        said(&shown).contains("root=x \\u{1b}]0;owned"),
        "{}",
        said(&shown)
    );

    let root = dir.path().join("evil");
    fs::create_dir(&root).unwrap();
    fs::write(root.join(format!("a{evil}\n  + faked")), "").unwrap();
    let path = dir.path().join("evil.ext4");
    let options = ["-q", "-t", "ext4", "-d", text(&root), text(&path), "16M"];
    run("mke2fs", &options);
    let disk = image(dir.path(), 0x83, &path);
    let first = dir.path().join("first.img");
    fs::rename(&disk, &first).unwrap();
    let plain = image(dir.path(), 0x83, &ext4(dir.path(), &[]));
    let shown = bounded(&["diff", text(&plain), text(&first)]);
    assert!(!shown.stdout.contains(&0x1b), "{}", said(&shown));
    let said = said(&shown);
    assert!(
        said.contains("owned") && !said.contains("\n  + faked"),
        "{said}"
    );
}
