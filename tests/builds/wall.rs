//! A hostile tree: nothing that its scripts, or the packages and links in its image, do reaches the
//! machine, the other trees, or the shared packages.

use crate::fixture::{Fixture, PRERUN, cache, wait};
use crate::need::{self, test_name};
use crate::ordinary::{self, Ordinary};
use std::collections::BTreeMap;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use walkdir::WalkDir;

/// What a step in the image tries. `SENTINEL` is a directory of the machine, `SOCKET` an abstract
/// socket of it. Whatever can be done is done; what is left standing is looked at from outside.
const IN_THE_IMAGE: &str = r#"
set +e
exec 2>/var/attack.log
for root in /proc/[0-9]*/root /proc/[0-9]*/cwd /proc/[0-9]*/fd/*; do
	[ -e "$root$SENTINEL/file" ] && echo "$root leads out"
	echo owned > "$root$SENTINEL/file"
	rm -rf "$root$SENTINEL"/*
done
up=.
for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
	up=$up/..
	echo owned > "$up$SENTINEL/file"
done
perl -e 'mkdir "/jail"; chroot "/jail"; chdir ".." for 1..40; chroot "."; open(F, ">", "$ENV{SENTINEL}/file") && print F "owned"'
for file in kernel/core_pattern kernel/modprobe kernel/hostname vm/drop_caches kernel/randomize_va_space; do
	old=$(cat /proc/sys/$file)
	echo "${old:-|/owned}" > /proc/sys/$file && echo "/proc/sys/$file can be written"
done
echo b > /proc/sysrq-trigger && echo "sysrq can be written"
mkdir -p /m
mount -t proc proc /m && echo "proc can be mounted"
mount -t tmpfs tmpfs /m && echo "a tmpfs can be mounted"
mount -o remount,rw,bind /proc/sys && echo "/proc/sys can be made writable"
umount /proc/sys && echo "/proc/sys can be uncovered"
umount -l / && echo "the root can be detached"
unshare --mount true && echo "a mount namespace can be made"
nsenter -t 1 -m true && echo "namespaces can be entered"
for device in 'b 254 0' 'b 8 0' 'c 1 1' 'b 7 0'; do
	rm -f /node; mknod /node $device && dd if=/node of=/dev/null bs=512 count=1 && echo "device $device can be read"
done
perl -e 'use Socket; socket(my $s, PF_UNIX, SOCK_STREAM, 0); print "the socket can be reached\n" if connect($s, pack("Sa*", PF_UNIX, "\0$ENV{SOCKET}"))'
[ -z "$(ls -A /proc/1/root/ /proc/1/cwd/ | grep -v '^/proc\|^$')" ] || echo "the root of process 1 can be seen"
[ -e "$(readlink /proc/1/exe)" ] || echo "$(readlink /proc/1/exe) leads out"
ischroot || echo "that this is no chroot can be seen"
for fd in /proc/self/fd/* /proc/1/fd/*; do
	case $(readlink "$fd") in
	'' | pipe:* | /var/attack.log | /dev/null | /proc/* | /run/westwork-gen/step.sh | /.westwork-gen/*) ;;
	*) echo "$fd is $(readlink "$fd")" ;;
	esac
done
# Links at the names that the program itself uses.
ln -sf "$SENTINEL/policy" /usr/sbin/policy-rc.d
ln -sf "$SENTINEL/resolv" /etc/resolv.conf
rm -rf /var/tmp; ln -s "$SENTINEL" /var/tmp
exit 0
"#;

/// The step after it, which finds the links that the first one left.
const AFTERWARDS: &str = r#"
set +e
[ -L /usr/sbin/policy-rc.d ] || echo "policy-rc.d is no link any more"
echo owned > /etc/resolv.conf
exit 0
"#;

/// What a host script tries.
const ON_THE_HOST: &str = r#"#!/bin/bash
set +e
exec 2>/dev/null
echo owned > "$SENTINEL/file" && echo "$SENTINEL is seen"
for dir in /etc /usr /usr/local /root /home "$HOME" /var/lib/dpkg /boot; do
	echo owned > "$dir/westwork-owned"
done
echo owned > /etc/passwd && echo "/etc/passwd can be written"
mount -o remount,rw,bind /usr && echo "/usr can be made writable"
mount -o remount,rw /usr && echo "/usr can be made writable"
touch /usr/westwork-owned && echo "/usr can be written"
umount -l /usr && echo "/usr can be uncovered"
umount -l "$WORK_DIR" && echo "WORK_DIR can be uncovered"
for root in /proc/[0-9]*/root; do
	echo owned > "$root$SENTINEL/file" && echo "$root leads out"
done
for file in kernel/core_pattern kernel/modprobe; do
	umount /proc/sys; mount -t proc proc /mnt
	for at in /proc /mnt; do
		old=$(cat "$at/sys/$file"); echo "$old" > "$at/sys/$file" && echo "$at/sys/$file can be written"
	done
done
nsenter -t 1 -m true && [ -e "$SENTINEL" ] && echo "namespaces can be entered"
python3 - <<'PYTHON'
import ctypes, os, socket
try:
    socket.socket(socket.AF_UNIX).connect("\0" + os.environ["SOCKET"]); print("the socket can be reached")
except OSError: pass
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(250, 11, -3, 0, 0) != -1: print("the keyring can be read")
PYTHON
ls "$WORK_DIR/../layers" && echo "the layers are seen"
find "$CACHE_DIR" -name '*.deb' | grep -v /seen/ | grep . && echo "the packages are seen"
echo owned >> "$BASE_DIR/config"
rm -f "$BASE_DIR/stage0/prerun.sh"
ln -s "$SENTINEL" "$WORK_DIR/build.log"
# A helper that is killed leaves nothing in the layer.
timeout -s KILL 2 bash -c 'on_chroot <<< "sleep 60"'
[ -z "$(jobs)" ]
exit 0
"#;

/// Every file below `dir`: what it is, whose, and what is in it.
fn seen(dir: &Path) -> BTreeMap<PathBuf, String> {
    WalkDir::new(dir)
        .into_iter()
        .flatten()
        .map(|entry| {
            let meta = entry.path().symlink_metadata().unwrap();
            let text = match meta.is_file() {
                true => fs::read(entry.path()).unwrap_or_default(),
                false => Vec::new(),
            };
            let what = format!(
                "{:o} {}:{} {} {:x}",
                meta.mode(),
                meta.uid(),
                meta.gid(),
                text.len(),
                text.iter().fold(7u64, |sum, byte| sum
                    .wrapping_mul(31)
                    .wrapping_add(u64::from(*byte)))
            );
            (entry.into_path(), what)
        })
        .collect()
}

/// What of the machine a tree could change.
fn machine(sentinel: &Path) -> Vec<(String, BTreeMap<PathBuf, String>)> {
    let sys = ["kernel/core_pattern", "kernel/modprobe", "kernel/hostname"];
    let sys = sys.map(|name| {
        let path = Path::new("/proc/sys").join(name);
        let text = fs::read_to_string(&path).unwrap_or_default();
        (path, text)
    });
    vec![
        ("sentinel".to_owned(), seen(sentinel)),
        ("/etc".to_owned(), seen(Path::new("/etc"))),
        ("/proc/sys".to_owned(), sys.into_iter().collect()),
    ]
}

/// A directory of the machine with files that say whether anybody was there.
pub(crate) fn sentinel() -> tempfile::TempDir {
    let dir = tempfile::Builder::new()
        .prefix("westwork-sentinel-")
        .tempdir_in("/var/tmp")
        .unwrap();
    for name in ["file", "policy", "resolv"] {
        fs::write(dir.path().join(name), "precious\n").unwrap();
        let mode = fs::Permissions::from_mode(0o666);
        fs::set_permissions(dir.path().join(name), mode).unwrap();
    }
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    dir
}

/// Listens on an abstract socket, and counts who comes.
fn listen(name: &str) -> Arc<AtomicUsize> {
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        while listener.accept().is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    count
}

fn hostile(sentinel: &Path, socket: &str) -> Fixture {
    let f = Fixture::with_base("arm64");
    f.config(&format!("export SENTINEL='{}'", sentinel.display()));
    f.config(&format!("export SOCKET={socket}"));
    f.config("STAGE_LIST='stage0 evil'");
    f.script(
        "evil/00-host/00-run.sh",
        &format!("{ON_THE_HOST}\n# ${{ROUND}}\n"),
    );
    f.file("evil/01-image/00-run-chroot", IN_THE_IMAGE);
    f.file("evil/01-image/01-run-chroot", AFTERWARDS);
    // What an image has to have.
    f.script(
        "evil/02-boot/00-run.sh",
        r#"#!/bin/bash -e
mkdir -p "$ROOTFS_DIR/boot/firmware"
echo 'console=tty1 root=ROOTDEV rootwait' >"$ROOTFS_DIR/boot/firmware/cmdline.txt"
printf 'ROOTDEV / ext4 defaults 0 1\nBOOTDEV /boot/firmware vfat defaults 0 2\n' >"$ROOTFS_DIR/etc/fstab"
"#,
    );
    f.file("evil/EXPORT_IMAGE", "");
    f
}

/// Nothing that the scripts found out is in the log.
fn nothing_worked(log: &str) {
    let words = [
        "leads out",
        "can be",
        "is seen",
        "are seen",
        "takes signals",
        "is no link",
        " is /",
        " is socket",
    ];
    let worked: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("| "))
        .filter(|line| words.iter().any(|word| line.contains(word)))
        .collect();
    assert!(worked.is_empty(), "{}", worked.join("\n"));
}

#[test]
fn a_hostile_tree_reaches_nothing_of_the_machine() {
    let _etc = ordinary::etc();
    let sentinel = sentinel();
    let socket = format!("westwork-sentinel-{}", std::process::id());
    let visits = listen(&socket);
    let f = hostile(sentinel.path(), &socket);
    let config = f.read("config");
    let before = machine(sentinel.path());
    for (round, args) in [("1", &["build"][..]), ("2", &["build", "--emulate"])] {
        let date = format!("IMG_DATE=2026-01-0{round}");
        let args = [args, &["--set", &date]].concat();
        // Whatever the tree has decided, an image comes of it.
        f.run(&args).good();
        nothing_worked(&f.read("work/small-arm64/build.log"));
        let after = machine(sentinel.path());
        for ((name, before), (_, after)) in before.iter().zip(&after) {
            assert_eq!(before, after, "{name} ({args:?})");
        }
        assert_eq!(f.read("config"), config, "the tree was written to");
        f.file("evil/00-host/again", round);
        f.file("evil/01-image/again", round);
        f.file(
            "evil/01-image/00-run-chroot",
            &format!("{IN_THE_IMAGE}\n# {round}\n"),
        );
    }
    assert_eq!(visits.load(Ordering::SeqCst), 0, "the socket was reached");
    assert!(f.root.join("stage0/prerun.sh").exists());
    // Set-id programs in layers are for nobody else.
    let mode = fs::metadata(f.root.join("work/layers")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn nor_does_that_of_an_ordinary_user() {
    let Some(user) = Ordinary::new(test_name!()) else {
        return;
    };
    let sentinel = sentinel();
    let socket = format!("westwork-sentinel-user-{}", std::process::id());
    let visits = listen(&socket);
    let f = hostile(sentinel.path(), &socket);
    f.config("CACHE_DIR=cache");
    let root = user.copy(&f.root, "evil-tree");
    let before = machine(sentinel.path());
    for args in [&[][..], &["--emulate", "--set", "CLEAN=0"]] {
        user.build(&root, args);
        let log = fs::read_to_string(root.join("work/small-arm64/build.log")).unwrap();
        nothing_worked(&log);
        for ((name, before), (_, after)) in before.iter().zip(&machine(sentinel.path())) {
            assert_eq!(before, after, "{name}");
        }
        let text = format!("{IN_THE_IMAGE}\n# emulated\n");
        fs::write(root.join("evil/01-image/00-run-chroot"), text).unwrap();
    }
    assert_eq!(visits.load(Ordering::SeqCst), 0, "the socket was reached");
}

/// A script leaves a package of its own under the name of one of Debian's.
#[test]
fn one_tree_cannot_give_packages_to_another() {
    let evil = Fixture::with_base("arm64");
    evil.config("STAGE_LIST='stage0 evil'");
    evil.file(
        "evil/00-a/00-run-chroot",
        r#"
cd "$(mktemp -d)"
apt-get update -q
apt-get download hello
name=$(ls hello_*.deb)
rm -f /var/cache/apt/archives/$name
mkdir -p p/DEBIAN
dpkg-deb -e "$name" p/DEBIAN
printf '#!/bin/sh\necho EVIL-POSTINST >/evil\n' >p/DEBIAN/postinst
chmod 755 p/DEBIAN/postinst
dpkg-deb --root-owner-group -b p evil.deb
size=$(stat -c %s "$name")
truncate -s "$size" evil.deb
cp evil.deb "/var/cache/apt/archives/$name"
"#,
    );
    evil.run(&["build"]).good();
    let other = Fixture::with_base("arm64");
    other.config("STAGE_LIST='stage0 good'");
    other.file("good/00-a/00-packages-nr", "hello\n");
    other.file("good/00-a/01-run-chroot", "test ! -e /evil\nhello\n");
    other.run(&["build"]).good();
    for entry in WalkDir::new(cache().join("packages")).into_iter().flatten() {
        let name = entry.file_name().to_string_lossy();
        if name.starts_with("hello_") {
            let bytes = fs::read(entry.path()).unwrap();
            assert!(
                bytes.len() < 200_000 && !bytes.ends_with(&[0; 64]),
                "{name}"
            );
        }
    }
}

/// A tree below a directory that only its owner may enter, such as root's home.
#[test]
fn a_tree_in_a_closed_directory_is_built() {
    let f = Fixture::with_base("arm64");
    let closed = f.root.parent().unwrap();
    fs::set_permissions(closed, fs::Permissions::from_mode(0o700)).unwrap();
    f.run(&["build"]).good();
}

/// `HOST_PATHS` opens what it names and no more, and a failing step's message names it.
#[test]
fn host_paths_open_what_they_name() {
    let outside = sentinel();
    let f = Fixture::with_base("arm64");
    f.config(&format!("export OUTSIDE='{}'", outside.path().display()));
    f.config("STAGE_LIST='stage0 mine'");
    f.script(
        "mine/00-a/00-run.sh",
        "#!/bin/bash -e\ncat \"$OUTSIDE/file\"\n",
    );
    let said = f.run(&["build"]).failed();
    said.says("HOST_PATHS");
    f.config(&format!("HOST_PATHS='{}'", outside.path().display()));
    let said = f.run(&["check"]).good();
    said.says(&outside.path().display().to_string());
    f.script(
        "mine/00-a/00-run.sh",
        "#!/bin/bash -e\ncat \"$OUTSIDE/file\"\necho new >\"$OUTSIDE/file\"\n",
    );
    let said = f.run(&["build"]).failed();
    said.says("Read-only file system");
    said.says("HOST_PATHS");
    assert_eq!(
        fs::read_to_string(outside.path().join("file")).unwrap(),
        "precious\n"
    );
    f.config(&format!("HOST_PATHS='{}:rw'", outside.path().display()));
    f.run(&["build"]).good();
    assert_eq!(
        fs::read_to_string(outside.path().join("file")).unwrap(),
        "new\n"
    );
    // The tree itself, by a link: what a script keeps there stays and is the caller's.
    let link = outside.path().join("tree");
    std::os::unix::fs::symlink(&f.root, &link).unwrap();
    f.config(&format!("HOST_PATHS='{}:rw'", link.display()));
    f.script(
        "mine/00-a/00-run.sh",
        "#!/bin/bash -e\necho kept >\"$BASE_DIR/kept\"\n",
    );
    f.run(&["build"]).good();
    assert_eq!(f.read("kept"), "kept\n");
    let meta = fs::metadata(f.root.join("kept")).unwrap();
    assert_eq!(meta.uid(), nix_uid());
    f.config(&format!("HOST_PATHS='{}/work/layers'", link.display()));
    f.run(&["check"]).refused().says("the program's own");
}

/// What packages and pi-gen's scripts do goes on working in the walls.
#[test]
fn what_the_contract_needs_goes_on_working() {
    let f = Fixture::with_base("arm64");
    f.config("STAGE_LIST='stage0 works'");
    f.file(
        "works/00-a/00-packages-nr",
        "adduser fakeroot sudo libcap2-bin systemd\n",
    );
    f.file(
        "works/00-a/01-run-chroot",
        r#"
useradd -m ann
echo 'ann ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/ann
[ "$(su ann -c 'id -un')" = ann ]
[ "$(su ann -c 'sudo id -un')" = root ]
[ "$(runuser -u ann -- id -un)" = ann ]
[ "$(fakeroot stat -c %U /home/ann)" = root ]
echo 'u demo - "Demo" /' > /usr/lib/sysusers.d/demo.conf
systemd-sysusers
id demo
cp /bin/true /usr/bin/demo
setcap cap_net_raw+ep /usr/bin/demo
[ "$(getcap /usr/bin/demo)" = '/usr/bin/demo cap_net_raw=ep' ]
chown 70000:70000 /home/ann
systemctl enable systemd-networkd
dpkg --verify sudo
"#,
    );
    f.script(
        "works/00-a/02-run.sh",
        r#"#!/bin/bash -e
mkdir -p "$ROOTFS_DIR/mnt/a" "$ROOTFS_DIR/mnt/b"
mount --bind "$ROOTFS_DIR/etc" "$ROOTFS_DIR/mnt/a"
test -e "$ROOTFS_DIR/mnt/a/passwd"
umount "$ROOTFS_DIR/mnt/a"
mount -t tmpfs tmpfs "$ROOTFS_DIR/mnt/a"
umount "$ROOTFS_DIR/mnt/a"
mount -t proc proc "$ROOTFS_DIR/mnt/b"
test -e "$ROOTFS_DIR/mnt/b/self"
umount "$ROOTFS_DIR/mnt/b"
rmdir "$ROOTFS_DIR/mnt/a" "$ROOTFS_DIR/mnt/b"
install -o 33 -g 33 -m 640 /dev/null "$ROOTFS_DIR/srv/www"
cp -a files/own "$ROOTFS_DIR/srv/own"
[ "$(stat -c %u:%g "$ROOTFS_DIR/srv/own")" = 0:0 ]
echo downloaded > files/kept-aside
echo "$(stat -c %u:%g "$ROOTFS_DIR/srv/www" "$ROOTFS_DIR/home/ann")" > "$DEPLOY_DIR/owners"
"#,
    );
    f.file("works/00-a/files/own", "own\n");
    if need::root().is_err() {
        // An ordinary user's range ends before 70000.
        let text = f.read("works/00-a/01-run-chroot").replace("70000", "6000");
        f.file("works/00-a/01-run-chroot", &text);
    }
    f.run(&["build"]).good();
    let owners = f.read("deploy/owners");
    assert!(
        owners == "33:33\n70000:70000\n" || owners == "33:33\n6000:6000\n",
        "{owners}"
    );
    assert!(!f.root.join("works/00-a/files/kept-aside").exists());
    let own = nix_uid();
    let meta = fs::metadata(f.root.join("deploy/owners")).unwrap();
    assert_eq!(meta.uid(), own, "what lies in DEPLOY_DIR is the caller's");
    // Nothing of the build is left running.
    assert!(wait(Duration::from_secs(5), || {
        crate::fixture::with_word(&f.root.display().to_string()).is_empty()
    }));
    let _ = PRERUN;
}

fn nix_uid() -> u32 {
    fs::metadata("/proc/self").unwrap().uid()
}
