//! Factory reset: back to set-up mode, with nothing of the household left in any file.
//!
//! `configured` goes first. After that a reset whose power is cut is one that is not finished: on
//! the boot partition `westwork-reset` is still there, and the next boot goes on.

use crate::announce;
use crate::render::{remove_tree, targets};
use crate::root::{Root, sync_directory};
use crate::services;
use crate::setup::remove_file;
use anyhow::{Context, Result};
use rustix::fs::{statfs, syncfs};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Of /data/conf/westwork, what came with the image or changes it. All else is the household's.
const STAYS: [&str; 2] = ["partials", "checks.toml"];

/// Emptied, folders included: what services and people have put there.
const EMPTIED: [&str; 12] = [
    "/data/ldap",
    "/data/mail",
    "/data/chat",
    "/data/roundcube",
    "/data/acme",
    "/data/conf/tls",
    "/data/conf/letsencrypt",
    "/var/lib/NetworkManager",
    "/var/lib/php/sessions",
    "/var/lib/systemd/coredump",
    "/var/cache/roundcube",
    "/var/tmp",
];

/// Their files go, their folders stay, which belong to somebody: mail on its way, caches, logs.
const SWEPT: [&str; 17] = [
    "/var/log",
    "/var/lib/dovecot",
    "/var/lib/letsencrypt",
    "/var/lib/nginx",
    "/var/lib/postfix",
    "/var/lib/roundcube/temp",
    "/var/lib/roundcube/logs",
    "/var/mail",
    "/var/spool/postfix/active",
    "/var/spool/postfix/bounce",
    "/var/spool/postfix/corrupt",
    "/var/spool/postfix/defer",
    "/var/spool/postfix/deferred",
    "/var/spool/postfix/flush",
    "/var/spool/postfix/hold",
    "/var/spool/postfix/incoming",
    "/var/spool/postfix/maildrop",
];

/// What set-up, restoring and rendering leave elsewhere.
const REMOVED: [&str; 9] = [
    "/data/.conf.next",
    "/data/.restore.new",
    "/data/.restore",
    "/data/.restore.in",
    "/data/.restore.old",
    "/data.next",
    "/etc/NetworkManager/system-connections/westwork-home.nmconnection",
    "/etc/modprobe.d/cfg80211.conf",
    "/run/westwork/slapd.key",
];

/// In the homes of who can log in: what they have typed.
const TYPED: [&str; 4] = [".bash_history", ".lesshst", ".viminfo", ".python_history"];

const EXT4: rustix::fs::FsWord = 0xef53;

/// Blocks that go through its log: it has 16384 in a file system of up to 16 GiB when it is made,
/// as those of images are, and growing leaves it as it is.
const LOG_BLOCKS: u32 = 20_000;

/// Back to set-up mode. Templates and what the image brought stay.
pub fn factory_reset(root: &Root) -> Result<()> {
    services::stop_normal_use(root)?;
    let _lock = root.lock()?;
    remove_file(&root.configured_mark())?;
    if root.own().is_dir() {
        sync_directory(&root.own())?;
        empty(&root.own(), &STAYS)?;
    }
    for target in targets(&root.conf())? {
        remove(&root.conf().join(target))?;
    }
    for path in EMPTIED {
        empty(&root.path(path), &[])?;
    }
    for path in SWEPT {
        sweep(&root.path(path))?;
    }
    for path in REMOVED.iter().chain(&announce::WRITTEN) {
        remove(&root.path(path))?;
    }
    for home in homes(root)? {
        for name in TYPED {
            remove_file(&home.join(name))?;
        }
    }
    erase(root)?;
    remove_file(&root.path("/boot/firmware/westwork-reset"))
}

/// Removes a file, a link or a tree that may not be there.
fn remove(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => remove_tree(path),
        Ok(_) => remove_file(path),
        Err(_) => Ok(()),
    }
}

/// Removes what is in a directory but for some names; the directory and its owner stay. A link in
/// its place is left alone.
fn empty(path: &Path, but: &[&str]) -> Result<()> {
    each(path, |entry| {
        let name = entry.file_name();
        if but.iter().any(|stays| name == *stays) {
            return Ok(());
        }
        remove(&entry.path())
    })
}

/// Removes the files below a directory.
fn sweep(path: &Path) -> Result<()> {
    each(path, |entry| {
        if entry.file_type()?.is_dir() {
            return sweep(&entry.path());
        }
        remove_file(&entry.path())
    })
}

fn each(path: &Path, mut act: impl FnMut(std::fs::DirEntry) -> Result<()>) -> Result<()> {
    if !path.symlink_metadata().is_ok_and(|it| it.is_dir()) {
        return Ok(());
    }
    let reading = || format!("reading {}", path.display());
    for entry in path.read_dir().with_context(reading)? {
        act(entry.with_context(reading)?)?;
    }
    Ok(())
}

fn homes(root: &Root) -> Result<Vec<std::path::PathBuf>> {
    let mut homes = vec![root.path("/root")];
    each(&root.path("/home"), |entry| {
        if entry.file_type()?.is_dir() {
            homes.push(entry.path());
        }
        Ok(())
    })?;
    Ok(homes)
}

/// Makes it so on the disk, and tells the disk what it need not keep.
fn erase(root: &Root) -> Result<()> {
    if root.is_device() && root.has("/usr/bin/journalctl") {
        // The journal goes on in new files; those it has open have lost their names above.
        let rotated = root
            .program("/usr/bin/journalctl")
            .arg("--rotate")
            .outcome()?;
        if !rotated.success {
            eprintln!("westwork: the journal: {}", rotated.last_lines);
        }
    }
    let mut systems = vec![root.data(), root.path("/")];
    let device = |path: &Path| path.metadata().map(|it| it.dev()).ok();
    systems.dedup_by_key(|path| device(path));
    for path in systems {
        let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        syncfs(&file).with_context(|| format!("syncing {}", path.display()))?;
        if root.is_device() {
            overwrite_log(&path)?;
            syncfs(&file).with_context(|| format!("syncing {}", path.display()))?;
        }
        if !root.has("/usr/sbin/fstrim") {
            continue;
        }
        let trimmed = root.program("/usr/sbin/fstrim").arg(&path).outcome()?;
        if !trimmed.success {
            eprintln!(
                "westwork: what was removed is not erased, which this card cannot do: {}",
                trimmed.last_lines
            );
        }
    }
    Ok(())
}

/// Fills the log in which ext4 keeps what folders contained, names included, until it needs the
/// room. It is a ring, and each new folder is a block of it. Other file systems have no such log.
pub fn overwrite_log(system: &Path) -> Result<()> {
    let writing = || format!("overwriting the log of {}", system.display());
    if statfs(system).with_context(writing)?.f_type != EXT4 {
        return Ok(());
    }
    // What a cut of the power has left is the next reset's.
    let top = system.join(".westwork-log");
    remove_tree(&top)?;
    std::fs::create_dir(&top).with_context(writing)?;
    for number in 0..LOG_BLOCKS {
        match std::fs::create_dir(top.join(number.to_string())) {
            Err(error) if error.kind() == ErrorKind::StorageFull => break,
            done => done.with_context(writing)?,
        }
    }
    remove_tree(&top)
}
