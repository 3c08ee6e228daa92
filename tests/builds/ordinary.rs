//! An ordinary user with a subuid range, for as long as a test needs one.

use crate::fixture::PROGRAM;
use crate::need;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;

/// Tests run side by side: one that changes /etc, or looks whether anybody did, is alone in that.
pub(crate) fn etc() -> MutexGuard<'static, ()> {
    static ETC: Mutex<()> = Mutex::new(());
    ETC.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The user, and a directory of theirs with the program under test.
pub(crate) struct Ordinary {
    name: String,
    pub(crate) uid: u32,
    gid: u32,
    /// Not below target/, which others may not be let into.
    dir: TempDir,
    _etc: MutexGuard<'static, ()>,
}

impl Drop for Ordinary {
    fn drop(&mut self) {
        let _ = Command::new("userdel").arg(&self.name).output();
    }
}

fn id(flag: &str, name: &str) -> Option<u32> {
    let out = Command::new("id").args([flag, name]).output().ok()?;
    String::from_utf8(out.stdout).ok()?.trim().parse().ok()
}

impl Ordinary {
    /// `None`, and a word on why, where `test` needs no further user, or none can be made.
    pub(crate) fn new(test: &str) -> Option<Self> {
        if need::root().is_err() {
            need::count(test, "every test is an ordinary user's already");
            return None;
        }
        let etc = etc();
        let name = format!("westwork-{}", std::process::id());
        let made = Command::new("useradd")
            .args(["--no-create-home", "--shell", "/bin/sh", &name])
            .output();
        if !made.is_ok_and(|out| out.status.success()) {
            need::missing(test, "a user that useradd makes");
            return None;
        }
        let dir = tempfile::Builder::new()
            .prefix("westwork-test-")
            .tempdir_in("/var/tmp")
            .unwrap();
        let user = Self {
            uid: id("-u", &name)?,
            gid: id("-g", &name)?,
            name,
            dir,
            _etc: etc,
        };
        let subuid = fs::read_to_string("/etc/subuid").unwrap_or_default();
        if !subuid.contains(&format!("{}:", user.name)) {
            need::missing(test, "a range in /etc/subuid for a new user");
            return None;
        }
        fs::set_permissions(user.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(PROGRAM, user.dir.path().join("westwork-gen")).unwrap();
        Some(user)
    }

    /// A copy of the directory `from` that belongs to the user, called `name`.
    pub(crate) fn copy(&self, from: &Path, name: &str) -> PathBuf {
        let to = self.dir.path().join(name);
        let copied = Command::new("cp").arg("-a").arg(from).arg(&to).status();
        assert!(copied.unwrap().success());
        for entry in walkdir::WalkDir::new(&to) {
            std::os::unix::fs::lchown(entry.unwrap().path(), Some(self.uid), Some(self.gid))
                .unwrap();
        }
        chown(&to, Some(self.uid), Some(self.gid)).unwrap();
        to
    }

    /// Runs the program as the user in `dir`; it must succeed.
    pub(crate) fn build(&self, dir: &Path, args: &[&str]) {
        let out = Command::new("runuser")
            .args(["-u", &self.name, "--", "env", "HOME=/nonexistent"])
            .arg(self.dir.path().join("westwork-gen"))
            .arg("build")
            .args(args)
            .current_dir(dir)
            .output()
            .unwrap();
        let said = crate::common::both(&out);
        assert_eq!(out.status.code(), Some(0), "{said}");
    }
}
