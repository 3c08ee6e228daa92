//! The same for an ordinary user.

use crate::fixture::{Fixture, PROGRAM};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

const USER: &str = "westwork-test";

struct TempUser;

impl Drop for TempUser {
    fn drop(&mut self) {
        let _ = Command::new("userdel").arg(USER).output();
    }
}

fn id(flag: &str) -> Option<u32> {
    let out = Command::new("id").args([flag, USER]).output().ok()?;
    String::from_utf8(out.stdout).ok()?.trim().parse().ok()
}

#[test]
fn an_ordinary_user_builds_too() {
    if !nix::unistd::getuid().is_root() {
        println!("skipped: not root, so every other test was an ordinary user's already");
        return;
    }
    let made = Command::new("useradd")
        .args(["--no-create-home", "--shell", "/bin/sh", USER])
        .output();
    if !made.is_ok_and(|out| out.status.success()) {
        println!("skipped: cannot make a user");
        return;
    }
    let _user = TempUser;
    let (uid, gid) = (id("-u").unwrap(), id("-g").unwrap());
    let subuid = fs::read_to_string("/etc/subuid").unwrap_or_default();
    if !subuid.contains(&format!("{USER}:")) {
        println!("skipped: the new user has no subuid range");
        return;
    }
    // Not below target/, which others may not be let into.
    let dir = tempfile::Builder::new()
        .prefix("westwork-test-")
        .tempdir_in("/var/tmp")
        .unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("westwork-gen");
    fs::copy(PROGRAM, &program).unwrap();
    let f = Fixture::with_base("arm64");
    f.config("CACHE_DIR=cache");
    f.config("export REPORT=\"$PWD/report\"");
    f.file("stage0/00-packages/00-packages-nr", "adduser\n");
    f.script(
        "stage0/01-look/00-run.sh",
        "#!/bin/bash -e\ncd \"$ROOTFS_DIR\"\nstat -c '%n %u:%g %a' etc/shadow usr/bin/passwd >\"$REPORT\"\n",
    );
    let root = dir.path().join("tree");
    let copied = Command::new("cp")
        .arg("-a")
        .arg(&f.root)
        .arg(&root)
        .status();
    assert!(copied.unwrap().success());
    for entry in walkdir::WalkDir::new(&root) {
        chown(entry.unwrap().path(), Some(uid), Some(gid)).unwrap();
    }
    let out = Command::new("runuser")
        .args(["-u", USER, "--", "env", "HOME=/nonexistent"])
        .arg(&program)
        .arg("build")
        .current_dir(&root)
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{said}");
    assert_eq!(
        fs::read_to_string(root.join("report")).unwrap(),
        "etc/shadow 0:42 640\nusr/bin/passwd 0:0 4755\n"
    );
    let owner = |path: &Path| std::os::unix::fs::MetadataExt::uid(&fs::metadata(path).unwrap());
    assert_eq!(owner(&root.join("work")), uid);
}
