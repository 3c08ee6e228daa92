//! Programs run natively make the same tree, and nobody in the chroot can tell.

use crate::fixture::Fixture;
use std::collections::BTreeMap;

/// Writes one line `what<TAB>path<TAB>value` for everything there is to know of the tree.
const MANIFEST: &str = r#"#!/bin/bash -e
cd "$ROOTFS_DIR"
{
	find . -mindepth 1 -type l -printf 'link\t%p\t%l\n'
	find . -mindepth 1 -printf 'meta\t%p\t%y mode %m owner %U:%G links %n\n'
	find . -type f -print0 | xargs -0 sha256sum | sed -E 's/^\\?([0-9a-f]+) .(.*)$/contents\t\2\t\1/'
	getfattr --recursive --physical --no-dereference --dump --match=- --encoding=hex . 2>/dev/null |
		awk '/^# file: /{path = "./" substr($0, 9); next} NF {split($0, pair, "="); print "attribute " pair[1] "\t" path "\t" $0}'
} >"$MANIFEST"
"#;

/// What may differ, and why.
const EXCLUDED: &[(&str, &str)] = &[
    ("./var/log/", "logs have times in them"),
    ("./var/cache/apt/", "apt's caches are not part of an image"),
    ("./var/cache/ldconfig/aux-cache", "has inode numbers in it"),
    ("./var/cache/debconf/", "old copies, by time"),
    ("./etc/machine-id", "random; removed at export"),
    ("./var/lib/dbus/machine-id", "random; removed at export"),
    ("./var/lib/systemd/random-seed", "random; removed at export"),
];

fn manifest(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| {
            let (key, value) = line.rsplit_once('\t')?;
            let path = key.split_once('\t')?.1;
            let excluded = key.starts_with("contents")
                && EXCLUDED.iter().any(|(start, _)| path.starts_with(start));
            (!excluded).then(|| (key.to_owned(), value.to_owned()))
        })
        .collect()
}

fn tree_of(arch: &str, args: &[&str]) -> BTreeMap<String, String> {
    let f = Fixture::with_base(arch);
    // Not a variable of its own name in each build, so that both have the same environment.
    f.config("export MANIFEST=\"$PWD/manifest\"");
    f.file(
        "stage0/00-packages/00-packages-nr",
        "adduser systemd python3-minimal\n",
    );
    f.file(
        "stage0/00-packages/01-run-chroot.sh",
        "adduser --disabled-password --gecos '' somebody\nln /etc/hostname /etc/hardlink\n",
    );
    f.script("stage0/01-manifest/00-run.sh", MANIFEST);
    f.run(args).good();
    manifest(&f.read("manifest"))
}

fn same_both_ways(arch: &str) {
    let native = tree_of(arch, &["build"]);
    let emulated = tree_of(arch, &["build", "--emulate"]);
    assert!(native.len() > 5000, "only {} lines", native.len());
    assert!(
        native
            .keys()
            .any(|key| key.ends_with("./usr/bin/python3.13") && key.starts_with("contents"))
    );
    let mut different = Vec::new();
    for key in native.keys().chain(emulated.keys()) {
        let (left, right) = (native.get(key), emulated.get(key));
        if left != right {
            different.push(format!("{key}: native {left:?}, emulated {right:?}"));
        }
    }
    different.sort();
    different.dedup();
    assert!(
        different.is_empty(),
        "{} differences:\n{}",
        different.len(),
        different[..different.len().min(50)].join("\n")
    );
}

#[test]
fn native_dispatch_makes_the_same_tree_arm64() {
    same_both_ways("arm64");
}

#[test]
fn native_dispatch_makes_the_same_tree_armhf() {
    same_both_ways("armhf");
}

/// `machine` is what the ELF header's machine field must be, in hexadecimal.
fn sees_arm_everywhere(arch: &str, names: &str, machine: &str) {
    let f = Fixture::with_base(arch);
    f.file(
        "stage0/00-look/00-run-chroot.sh",
        &format!(
            r#"
case "$(uname -m)" in {names}) ;; *) echo "uname says $(uname -m)"; exit 1 ;; esac
[ "$(dpkg --print-architecture)" = {arch} ]
[ "$(sh -c 'uname -m')" = "$(uname -m)" ]
for file in /bin/sh /bin/bash /usr/bin/dpkg /bin/cat /usr/bin/perl; do
	found=$(od -An -tx1 -j18 -N1 "$file" | tr -d ' ')
	[ "$found" = {machine} ] || {{ echo "$file is for $found"; exit 1; }}
done
cp /bin/sh /root/sh
[ "$(sha256sum </bin/sh)" = "$(sha256sum </root/sh)" ]
cmp /bin/sh /root/sh
/root/sh -c 'echo a copy runs'
perl -MConfig -e 'print "$Config{{archname}}\n"' | grep -q '^{arch}\|^aarch64\|^arm'
rm /root/sh
[ ! -e /.westwork-gen/usr/bin/qemu ]
"#
        ),
    );
    f.run(&["build"]).good();
}

#[test]
fn a_chroot_sees_arm_everywhere() {
    sees_arm_everywhere("arm64", "aarch64", "b7");
    sees_arm_everywhere("armhf", "arm*", "28");
}
