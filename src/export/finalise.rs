//! What every image gets before it is exported: nothing of the build stays in it.
//!
//! This is the one place where traces are removed: package lists and caches, logs,
//! identities that each device must make for itself, and files that record the moment of
//! the build. It works on the throw-away layer of the export, so layers keep their lists.

use crate::archives::mirror::Mirrors;
use crate::config::Config;
use crate::sandbox::rootfs::forget_resolver;
use anyhow::{Context, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use walkdir::WalkDir;

/// Directories whose contents go, while the directories below them stay when `true`.
const EMPTIED: &[(&str, bool)] = &[
    ("run", false),
    ("tmp", false),
    ("var/tmp", false),
    ("var/lib/apt/lists", true),
    ("var/cache/apt", true),
    ("var/cache/debconf/tmp.ci", false),
    ("var/cache/ldconfig", false),
    ("var/log", true),
    ("var/lib/systemd/catalog", false),
];

/// Files that go: identities and records of the build.
const REMOVED: &[&str] = &[
    // Backups that passwd tools and dpkg write; they show an earlier state.
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "etc/subuid-",
    "etc/subgid-",
    "etc/.pwd.lock",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/available-old",
    "var/lib/dpkg/diversions-old",
    "var/lib/dpkg/statoverride-old",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/triggers/Lock",
    "var/cache/debconf/config.dat-old",
    "var/cache/debconf/templates.dat-old",
    // One per device, made at its first boot.
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "var/lib/urandom/random-seed",
    // apt's record of what mmdebstrap was told.
    "etc/apt/apt.conf.d/99mmdebstrap",
];

/// Cleans `rootfs` in place.
///
/// # Errors
/// When a file cannot be removed or rewritten.
pub fn finalise(rootfs: &Path, config: &Config, mirrors: &Mirrors) -> Result<()> {
    for (dir, keep_dirs) in EMPTIED {
        empty(&rootfs.join(dir), *keep_dirs)?;
    }
    for file in REMOVED {
        remove(&rootfs.join(file))?;
    }
    remove_where(&rootfs.join("etc/ssh"), |name| {
        name.starts_with("ssh_host_")
    })?;
    // update-catalog(8) keeps what a catalogue was before each package.
    remove_where(&rootfs.join("etc/xml"), |name| name.ends_with(".old"))?;
    // Present and empty: systemd makes an id at first boot and keeps it (machine-id(5)).
    let machine_id = rootfs.join("etc/machine-id");
    if machine_id.exists() {
        fs::write(&machine_id, "").context("emptying /etc/machine-id")?;
    }
    forget_resolver(rootfs)?;
    point_at_image_mirror(rootfs, config, mirrors)
}

/// Rewrites the image's own apt sources from the build's mirror to `IMAGE_MIRROR`.
fn point_at_image_mirror(rootfs: &Path, config: &Config, mirrors: &Mirrors) -> Result<()> {
    let Some(image) = config
        .image_mirror
        .as_deref()
        .filter(|_| !mirrors.build.is_empty())
    else {
        return Ok(());
    };
    for entry in WalkDir::new(rootfs.join("etc/apt")).into_iter().flatten() {
        let name = entry.file_name().to_string_lossy();
        if !(name.ends_with(".list") || name.ends_with(".sources")) {
            continue;
        }
        let text = fs::read_to_string(entry.path())
            .with_context(|| format!("reading {}", entry.path().display()))?;
        let build = mirrors.build.trim_end_matches('/');
        let rewritten: String = text
            .split_inclusive('\n')
            .map(|line| {
                line.split_inclusive([' ', '\n'])
                    .map(|word| replace_mirror(word, build, image))
                    .collect::<String>()
            })
            .collect();
        if rewritten != text {
            fs::write(entry.path(), rewritten)
                .with_context(|| format!("writing {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Only a whole address is replaced: `http://m/debian` must not match `http://m/debian-security`.
fn replace_mirror(word: &str, build: &str, image: &str) -> String {
    let bare = word.trim_end();
    if bare.trim_end_matches('/') == build {
        format!("{}{}", image.trim_end_matches('/'), &word[bare.len()..])
    } else {
        word.to_owned()
    }
}

/// Removes the files of `dir`, if there is one, whose names are `unwanted`.
fn remove_where(dir: &Path, unwanted: impl Fn(&str) -> bool) -> Result<()> {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if unwanted(&entry.file_name().to_string_lossy()) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes what is in `dir`; with `keep_dirs`, only what is not a directory.
fn empty(dir: &Path, keep_dirs: bool) -> Result<()> {
    let walk = WalkDir::new(dir)
        .min_depth(1)
        .contents_first(true)
        .follow_links(false);
    for entry in walk.into_iter().flatten() {
        let path = entry.path();
        if !entry.file_type().is_dir() {
            remove(path)?;
        } else if !keep_dirs {
            fs::remove_dir(path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::replace_mirror;

    #[test]
    fn only_whole_addresses_change() {
        let (build, image) = ("http://m/debian", "https://new/debian");
        assert_eq!(
            replace_mirror("http://m/debian/\n", build, image),
            "https://new/debian\n"
        );
        assert_eq!(
            replace_mirror("http://m/debian-security ", build, image),
            "http://m/debian-security "
        );
    }
}
