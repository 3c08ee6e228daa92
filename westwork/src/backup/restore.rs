//! Putting an archive in the place of /data.

use super::exchange::{self, NewTree};
use super::judge::{Kind, Member};
use super::read::{Contents, read};
use crate::directory;
use crate::root::{Root, give};
use crate::secrets::Secret;
use crate::services::{self, Stopped};
use crate::settings::Settings;
use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use std::fs::{DirBuilder, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use xattr::FileExt;

/// Replaces /data by the archive's, which `secret` opens. Until the very end /data is as it was.
pub fn restore(root: &Root, file: &Path, secret: &Secret) -> Result<()> {
    judge(root, file, secret).with_context(|| format!("{} is not restored", file.display()))?;
    let _lock = root.lock()?;
    exchange::finish(root)?;
    let place = NewTree::new(root)?;
    let stopped = Stopped::new(root)?;
    let exchanged = unpack(root, file, secret, place.folder())
        .and_then(|contents| directory::load(root, &place.tree(), &contents.directory))
        .context("nothing was changed")
        .and_then(|()| place.exchange(root));
    place.remove()?;
    drop(stopped);
    exchanged?;
    services::start_normal_use(root)
}

/// Finishes a restore whose exchange was interrupted, if there is one.
pub fn finish_restore(root: &Root) -> Result<()> {
    let _lock = root.lock()?;
    exchange::finish(root)
}

fn judge(root: &Root, file: &Path, secret: &Secret) -> Result<()> {
    let contents = read(root, file, secret, room(root)?, |_, _| Ok(()))?;
    if root.is_configured() {
        let own = Settings::load(root)?.domain;
        if own.as_str() != contents.domain {
            bail!(
                "it is a backup of {}, and this box is {}; only a box that is not set up takes another's backup",
                contents.domain,
                own.as_str()
            );
        }
    }
    Ok(())
}

/// What is free on /data's file system, in bytes.
fn room(root: &Root) -> Result<u64> {
    let disk = rustix::fs::statvfs(root.data()).context("reading the file system of /data")?;
    Ok(disk.f_bavail * disk.f_frsize)
}

/// Into `folder`, which nobody else can enter. No name leads through a link: the reader has
/// judged that each one is in a directory that this has made.
fn unpack(root: &Root, file: &Path, secret: &Secret, folder: &Path) -> Result<Contents> {
    // Filling a directory changes its time, and its mode may forbid it.
    let mut directories: Vec<(PathBuf, u32, Timespec)> = Vec::new();
    let contents = read(root, file, secret, room(root)?, |member, entry| {
        let path = folder.join(&member.name);
        let (mode, time) = (entry.header().mode()? & 0o7777, time(entry)?);
        match member.kind {
            Kind::HardLink => return Ok(std::fs::hard_link(folder.join(&member.target), &path)?),
            Kind::Directory => {
                DirBuilder::new().mode(0o700).create(&path)?;
                directories.push((path.clone(), mode, time));
            }
            Kind::File => drop(entry.unpack(&path)?),
            Kind::Symlink => symlink(&member.target, &path)?,
        }
        give(&path, member.owner, member.group)?;
        if member.kind == Kind::Symlink {
            return set_time(&path, time);
        }
        attributes(member, &path)?;
        if member.kind == Kind::File {
            // A change of owner takes set-id bits away.
            open(&path)?.set_permissions(Permissions::from_mode(mode))?;
            set_time(&path, time)?;
        }
        Ok(())
    })?;
    for (path, mode, time) in directories.iter().rev() {
        open(path)?.set_permissions(Permissions::from_mode(*mode))?;
        set_time(path, *time)?;
    }
    Ok(contents)
}

fn open(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?.into())
}

fn attributes(member: &Member, path: &Path) -> Result<()> {
    if member.attributes.is_empty() {
        return Ok(());
    }
    let file = open(path)?;
    for (name, value) in &member.attributes {
        file.set_xattr(name, value)
            .with_context(|| format!("setting {name:?}"))?;
    }
    Ok(())
}

fn time<R: Read>(entry: &tar::Entry<'_, R>) -> Result<Timespec> {
    Ok(Timespec {
        tv_sec: i64::try_from(entry.header().mtime()?)?,
        tv_nsec: 0,
    })
}

fn set_time(path: &Path, modified: Timespec) -> Result<()> {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: modified,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).context("setting the time")
}
