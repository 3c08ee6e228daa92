//! The directories besides the work directory that a build writes to: judged before it works for
//! an hour.

use super::storage::existing;
use crate::base::disk::free;
use crate::config::{Address, Compression, Config};
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What speaks against the value of a key.
pub(super) struct Finding {
    pub(super) key: &'static str,
    pub(super) what: String,
    pub(super) remedy: String,
}

/// Everything that speaks against the directories of `config`.
pub(super) fn judge(config: &Config) -> Vec<Finding> {
    let mut dirs = vec![
        ("DEPLOY_DIR", config.deploy_dir.as_path()),
        ("CACHE_DIR", config.cache_dir.as_path()),
    ];
    if let Some(Address::Folder(dir)) = &config.cache_to {
        dirs.push(("CACHE_TO", dir));
    }
    let mut found: Vec<_> = dirs
        .into_iter()
        .filter_map(|(key, dir)| {
            let what = unwritable(dir)?;
            let remedy = format!("set {key} to a directory that this user may write to");
            Some(Finding { key, what, remedy })
        })
        .collect();
    if found.iter().all(|finding| finding.key != "DEPLOY_DIR") {
        found.extend(room(config));
    }
    found
}

/// Why nothing can be put into `dir`, or into the directory that it would be made in.
fn unwritable(dir: &Path) -> Option<String> {
    let place = existing(dir);
    let shown = place.display();
    if !place.is_dir() {
        return Some(format!("{shown} is not a directory"));
    }
    match access(&place, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) => None,
        Err(Errno::EROFS) => Some(format!("{shown} is on a file system that is read-only")),
        Err(error) => Some(format!(
            "nothing can be written to {shown}: {}",
            error.desc()
        )),
    }
}

/// Too little room for the artefacts, where they do not share it with the layers.
fn room(config: &Config) -> Option<Finding> {
    let (place, work) = (existing(&config.deploy_dir), existing(&config.work_dir));
    let device = |path: &PathBuf| path.metadata().ok().map(|facts| facts.dev());
    if device(&place) == device(&work) {
        return None;
    }
    let least = least(config);
    let has = free(&place).filter(|has| *has < least)?;
    let mib = |bytes: u64| bytes >> 20;
    Some(Finding {
        key: "DEPLOY_DIR",
        what: format!(
            "{} has {} MiB free, and the formats of DEPLOY_COMPRESSION take {} MiB as a rule",
            place.display(),
            mib(has),
            mib(least)
        ),
        remedy: "make room, set DEPLOY_DIR to a larger file system, or MIN_FREE to less".to_owned(),
    })
}

/// As parts of `MIN_FREE`, of which an image as it is takes a half, and a packed one a sixth.
fn least(config: &Config) -> u64 {
    let part = |form: &Compression| match form {
        Compression::None => config.min_free / 2,
        _ => config.min_free / 6,
    };
    config.compression.iter().map(part).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fixture::{config, tree};
    use std::fs;

    #[test]
    fn what_cannot_be_written_is_named_by_its_key() {
        let dir = tree(&[]);
        let mut config = config(dir.path(), &[]);
        config.cache_dir = dir.path().join("cache");
        config.deploy_dir = dir.path().join("made/when/needed");
        assert_eq!(judge(&config).len(), 0);
        assert!(!dir.path().join("made").exists());
        fs::write(dir.path().join("file"), "").unwrap();
        config.deploy_dir = dir.path().join("file/deploy");
        config.cache_dir = PathBuf::from("/proc/sys");
        config.cache_to = Some(Address::Folder("/proc/sys/cache".into()));
        let found = judge(&config);
        let said: Vec<_> = found.iter().map(|f| (f.key, f.what.as_str())).collect();
        assert_eq!(said.len(), 3, "{said:?}");
        assert_eq!(said[0].0, "DEPLOY_DIR");
        assert!(said[0].1.ends_with("/file is not a directory"), "{said:?}");
        assert_eq!((said[1].0, said[2].0), ("CACHE_DIR", "CACHE_TO"));
    }

    #[test]
    fn each_format_takes_room() {
        let dir = tree(&[]);
        let mut config = config(dir.path(), &[]);
        config.min_free = 6 << 30;
        config.compression = vec![Compression::None, Compression::Xz];
        assert_eq!(least(&config), 4 << 30);
        // The same file system as the layers': judged with them.
        config.min_free = u64::MAX;
        assert!(room(&config).is_none());
        if Path::new("/dev/shm").is_dir() {
            config.deploy_dir = "/dev/shm/deploy".into();
            let finding = room(&config).unwrap();
            assert!(
                finding.what.starts_with("/dev/shm has "),
                "{}",
                finding.what
            );
        }
    }
}
