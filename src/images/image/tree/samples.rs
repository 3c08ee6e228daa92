//! A tree for the tests of readers, and what has to be read back of it.

use super::{Inode, Kind, Tree};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

/// Bytes that look random, always the same ones.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A tree with `number` files in one directory, large files of text and of noise, holes, links,
/// a fifo and, for root, devices. Returns whether it has attributes.
pub(crate) fn sample(root: &Path, number: usize) -> bool {
    fs::create_dir_all(root.join("many")).unwrap();
    for n in 0..number {
        fs::write(root.join(format!("many/{n:0>100}")), n.to_string()).unwrap();
    }
    let text: String = (0..40_000)
        .map(|n| format!("line {n}: {}\n", n * n % 977))
        .collect();
    fs::write(root.join("text"), &text).unwrap();
    fs::write(root.join("noise"), noise(3 << 20)).unwrap();
    // Compressed and not, in turns.
    let turns: Vec<u8> = (0..30)
        .flat_map(|n| match n % 3 {
            0 => noise(9000 + n),
            _ => text.as_bytes()[n * 5000..][..7000 + 13 * n].to_vec(),
        })
        .collect();
    fs::write(root.join("turns"), turns).unwrap();
    let holes = File::create(root.join("holes")).unwrap();
    for n in 0..9_u64 {
        holes.write_all_at(&[7; 5000], n * (1 << 20) + 300).unwrap();
    }
    holes.set_len(12 << 20).unwrap();
    fs::write(root.join("empty"), "").unwrap();
    fs::create_dir(root.join("nothing")).unwrap();
    for size in [1, 100, 4000, 4096, 5000, 200_000] {
        fs::write(root.join(format!("size{size}")), &text[..size]).unwrap();
    }
    fs::hard_link(root.join("size100"), root.join("hard")).unwrap();
    std::os::unix::fs::symlink("many/../text", root.join("short")).unwrap();
    let long = format!("/{}text", "./".repeat(1000));
    std::os::unix::fs::symlink(long, root.join("long")).unwrap();
    let run = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        let out = command.args(args).current_dir(root).output();
        out.is_ok_and(|out| out.status.success())
    };
    assert!(run("mkfifo", &["fifo"]));
    // Only root may.
    run("mknod", &["block", "b", "259", "70000"]);
    run("mknod", &["char", "c", "5", "1"]);
    fs::set_permissions(root.join("size1"), fs::Permissions::from_mode(0o4751)).unwrap();
    let _ = std::os::unix::fs::chown(root.join("size100"), Some(70_000), Some(7));
    ["size100", "text", "many"].iter().all(|name| {
        let set = |key: &str, value: &[u8]| ::xattr::set(root.join(name), key, value).is_ok();
        set("user.small", name.as_bytes())
            && set("user.same", &[9; 600])
            && set("user.large", &noise(2000))
    })
}

/// Everything at `path` in the real tree has to be in `tree` as it is, and nothing else.
/// `times`: whether time stamps have to be the same.
pub(crate) fn compare(tree: &Tree, root: &Path, times: bool, what: &str) {
    let mut walked = BTreeMap::new();
    let visit = |path: &[u8], inode: &Inode| {
        let path = String::from_utf8(path.to_vec()).unwrap();
        walked.insert(path, inode.clone());
        Ok(())
    };
    tree.walk(visit).unwrap();
    let mut numbers = BTreeMap::new();
    let real = walkdir::WalkDir::new(root).min_depth(1);
    let mut count = 0;
    for entry in real {
        let entry = entry.unwrap();
        let path = entry.path();
        let name = format!("/{}", path.strip_prefix(root).unwrap().to_str().unwrap());
        let what = format!("{what}: {name}");
        let facts = fs::symlink_metadata(path).unwrap();
        let inode = walked
            .get(&name)
            .unwrap_or_else(|| panic!("{what} is missing"));
        count += 1;
        let mode = u16::try_from(facts.mode()).unwrap();
        assert_eq!(Some(inode.kind), Kind::of_mode(mode), "{what}");
        assert_eq!(inode.mode, mode & 0o7777, "{what}");
        assert_eq!((inode.uid, inode.gid), (facts.uid(), facts.gid()), "{what}");
        if times {
            assert_eq!(inode.mtime, facts.mtime(), "{what}");
        }
        match inode.kind {
            Kind::File => same_content(tree, inode, path, &what),
            Kind::Symlink => {
                let target = fs::read_link(path).unwrap();
                let found = tree.target(inode).unwrap();
                assert_eq!(found, target.as_os_str().as_encoded_bytes(), "{what}");
            }
            _ => {}
        }
        let device = (
            u32::try_from(facts.rdev() >> 8 & 0xfff).unwrap(),
            u32::try_from(facts.rdev() & 0xff | facts.rdev() >> 12 & 0xf_ff00).unwrap(),
        );
        assert_eq!(inode.device, device, "{what}");
        if inode.kind == Kind::File || inode.kind == Kind::Directory {
            let names = ::xattr::list(path).unwrap();
            let wanted: BTreeMap<String, Vec<u8>> = names
                .map(|name| {
                    let value = ::xattr::get(path, &name).unwrap().unwrap();
                    (name.into_string().unwrap(), value)
                })
                .collect();
            assert!(tree.attributes(inode).unwrap() == wanted, "{what}");
        }
        if facts.nlink() > 1 && inode.kind == Kind::File {
            let number = *numbers.entry(facts.ino()).or_insert(inode.number);
            assert_eq!(number, inode.number, "{what}");
        }
    }
    assert_eq!(count, walked.len(), "{what}");
}

/// Whether a file reads back in one piece, in small ones from the end on, and without its holes.
fn same_content(tree: &Tree, inode: &Inode, path: &Path, what: &str) {
    let wanted = fs::read(path).unwrap();
    let found = tree.read(inode, 1 << 30);
    let found = found.unwrap_or_else(|error| panic!("{what}: {error:#}"));
    assert!(found == wanted, "{what}");
    let mut content = tree.content(inode).unwrap();
    let mut piece = [0; 777];
    let mut at = wanted.len().saturating_sub(piece.len());
    while at > 0 {
        content.fill(&mut piece, at as u64).unwrap();
        assert!(piece[..] == wanted[at..at + 777], "{what}: byte {at}");
        at = at.saturating_sub(150_000);
    }
    let mut at = 0;
    while at < wanted.len() {
        let end = content
            .hole(at as u64)
            .map(|end| usize::try_from(end).unwrap());
        let end = end.map(|end| end.min(wanted.len()));
        if let Some(end) = end {
            assert!(end > at, "{what}: a hole ends where it begins");
            assert!(wanted[at..end].iter().all(|b| *b == 0), "{what}: a hole");
        }
        at = end.unwrap_or(at + 4096);
    }
    assert!(
        content
            .fill(&mut [0; 2], inode.size - inode.size.min(1))
            .is_err()
    );
}
