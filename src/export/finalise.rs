//! What every image gets before it is exported: nothing of the build stays in it.
//!
//! This is the one place where traces are removed: package lists and caches, logs,
//! identities that each device must make for itself, and files that record the moment of
//! the build. It works on the throw-away layer of the export, so layers keep their lists.

use crate::archives::mirror::Mirrors;
use crate::base::inside::{Kind, Root};
use crate::config::Config;
use crate::sandbox::rootfs::forget_resolver;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

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

/// apt's configuration and its lists of sources; nothing there is longer, in bytes.
const APT: &str = "etc/apt";
const LONGEST: u64 = 1 << 20;

/// Directories of [`APT`] that are looked into, from it down.
const LEVELS: usize = 4;

/// Cleans `root` in place. Links are followed as the image would: with `/var/log -> /data/log` it
/// is the image's `/data/log` that is emptied, and the link stays.
///
/// # Errors
/// When a file cannot be removed or rewritten.
pub fn finalise(root: &Root, config: &Config, mirrors: &Mirrors) -> Result<()> {
    for (path, keep_dirs) in EMPTIED {
        if let Some(dir) = root.directory(path)? {
            dir.empty(*keep_dirs)
                .with_context(|| format!("emptying /{path} of the image"))?;
        }
    }
    for file in REMOVED {
        root.remove(file)?;
    }
    remove_where(root, "etc/ssh", |name| name.starts_with("ssh_host_"))?;
    // update-catalog(8) keeps what a catalogue was before each package.
    remove_where(root, "etc/xml", |name| name.ends_with(".old"))?;
    // Present and empty: systemd makes an id at first boot and keeps it (machine-id(5)). What is
    // no id, such as "uninitialized", the tree has decided.
    root.rewrite("etc/machine-id", LONGEST, |text| {
        Ok(if is_machine_id(text) { &[] } else { text }.to_vec())
    })?;
    forget_resolver(root)?;
    let for_qemu = config.exports.get("USE_QEMU").is_some_and(|set| set == "1");
    if !for_qemu {
        preload_again(root)?;
    }
    let sources = apt_files(root)?;
    forget_build_sources(root, config, &sources)?;
    point_at_image_mirror(root, config, mirrors, &sources)
}

/// Gives back its name to what stages keep programs of the build from preloading, as pi-gen's do.
fn preload_again(root: &Root) -> Result<()> {
    const KEPT: &str = "etc/ld.so.preload.disabled";
    if let Some(text) = root.read(KEPT, LONGEST)? {
        root.create("etc/ld.so.preload", &text, 0o644)?;
        root.remove(KEPT)?;
    }
    Ok(())
}

/// Whether `text` is an id that a machine has made for itself.
fn is_machine_id(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    text.len() == 32 && text.iter().all(u8::is_ascii_hexdigit)
}

/// Every file below [`APT`], directories found through links.
fn apt_files(root: &Root) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut dirs = vec![PathBuf::from(APT)];
    for _ in 0..LEVELS {
        for dir in std::mem::take(&mut dirs) {
            for entry in root.entries(&dir)? {
                let path = dir.join(entry.name);
                match root.kind(&path) {
                    Ok(Some(Kind::Directory)) => dirs.push(path),
                    Ok(Some(Kind::File)) => files.push(path),
                    // What leads nowhere, or is no file, apt does not read either.
                    _ => {}
                }
            }
        }
    }
    Ok(files)
}

/// Removes the files of apt's configuration that are of the build alone: each of their lines has
/// the archive `TEMP_REPO` or the address of `APT_PROXY`.
fn forget_build_sources(root: &Root, config: &Config, files: &[PathBuf]) -> Result<()> {
    let values = [temp_repo(config), config.apt_proxy.clone()];
    let values: Vec<String> = values.into_iter().flatten().collect();
    for file in files {
        // What is too long is not of ours.
        let text = root.read_text(file, LONGEST).ok().flatten();
        let text = text.unwrap_or_default();
        if is_of_the_build(&text, &values) {
            root.remove(file)?;
        }
    }
    Ok(())
}

/// The line of apt sources in `TEMP_REPO`, with the release where it has the word, as a stage
/// writes it.
pub(super) fn temp_repo(config: &Config) -> Option<String> {
    let line = config.temp_repo.as_deref()?.trim();
    (!line.is_empty()).then(|| line.replace("RELEASE", &config.release))
}

/// Whether every line of `text` that says something has one of `values`.
fn is_of_the_build(text: &str, values: &[String]) -> bool {
    let comment = |line: &str| line.starts_with('#') || line.starts_with("//");
    let lines = text.lines().map(str::trim);
    let mut lines = lines
        .filter(|line| !line.is_empty() && !comment(line))
        .peekable();
    lines.peek().is_some()
        && lines.all(|line| {
            let mut values = values.iter().flat_map(|value| value.lines());
            values.any(|value| !value.trim().is_empty() && line.contains(value.trim()))
        })
}

/// Rewrites the image's own apt sources from the build's mirror to `IMAGE_MIRROR`.
fn point_at_image_mirror(
    root: &Root,
    config: &Config,
    mirrors: &Mirrors,
    files: &[PathBuf],
) -> Result<()> {
    let image = config.image_mirror.as_deref();
    let Some(image) = image.filter(|_| !mirrors.build.is_empty()) else {
        return Ok(());
    };
    let build = mirrors.build.trim_end_matches('/');
    let is_list = |file: &&PathBuf| {
        let extension = file.extension().unwrap_or_default();
        extension == "list" || extension == "sources"
    };
    for file in files.iter().filter(is_list) {
        root.rewrite(file, LONGEST, |text| {
            let lines = std::str::from_utf8(text)?.split_inclusive('\n');
            let words = lines.flat_map(|line| line.split_inclusive([' ', '\n']));
            let rewritten: String = words
                .map(|word| replace_mirror(word, build, image))
                .collect();
            Ok(rewritten.into_bytes())
        })?;
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
fn remove_where(root: &Root, dir: &str, unwanted: impl Fn(&str) -> bool) -> Result<()> {
    for entry in root.entries(dir)? {
        if entry.kind != Kind::Directory && unwanted(&entry.name.to_string_lossy()) {
            root.remove(Path::new(dir).join(entry.name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{is_machine_id, is_of_the_build, replace_mirror};

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

    #[test]
    fn only_files_of_the_build_alone_are_its_own() {
        let values = [
            "deb [trusted=yes] http://h/debian trixie main".to_owned(),
            "http://proxy:3142".to_owned(),
        ];
        for text in [
            "deb [trusted=yes] http://h/debian trixie main\n",
            "# for the build\n\n deb [trusted=yes] http://h/debian trixie main \n",
            "Acquire::http { Proxy \"http://proxy:3142\"; };\n",
        ] {
            assert!(is_of_the_build(text, &values), "{text}");
        }
        for text in [
            "",
            "# http://proxy:3142\n",
            "deb [trusted=yes] http://h/debian trixie main\ndeb http://own trixie main\n",
            "deb http://h/debian trixie main\n",
        ] {
            assert!(!is_of_the_build(text, &values), "{text}");
        }
        assert!(!is_of_the_build("deb http://h x main", &[String::new()]));
    }

    #[test]
    fn only_what_is_an_id_is_one() {
        assert!(is_machine_id(b"0123456789abcdef0123456789abcdef\n"));
        for text in ["", "uninitialized\n", "0123456789abcdef"] {
            assert!(!is_machine_id(text.as_bytes()), "{text}");
        }
    }
}
