//! Files in the making, `.NAME.XXXXXX.part` beside where they will be. One that an interrupted
//! process has left is removed by the next.

use crate::base::{events, lock};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;
use tempfile::NamedTempFile;

const END: &str = ".part";

/// Characters that make a name unique.
const RANDOM: usize = 6;

/// What is younger may have been made just now, and not be locked yet.
const YOUNG: Duration = Duration::from_secs(60);

/// A file in `dir` that will be called `name`. It is gone when it is dropped, and locked while it
/// is open.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn create(dir: &Path, name: &str) -> Result<NamedTempFile> {
    let file = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(END)
        .rand_bytes(RANDOM)
        .tempfile_in(dir)
        .with_context(|| format!("making a file in {}", dir.display()))?;
    lock::mark(file.as_file()).with_context(|| format!("locking a file in {}", dir.display()))?;
    Ok(file)
}

/// Removes the files of names that are `ours` and that no process is making any more. What cannot
/// be removed stays: it is in nobody's way.
pub(crate) fn sweep(dir: &Path, ours: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(made_as).filter(|name| ours(name)) else {
            continue;
        };
        if is_left(&entry.path()).unwrap_or(false) && fs::remove_file(entry.path()).is_ok() {
            events::note(&format!(
                "removed a part of {name}, which an interrupted run left"
            ));
        }
    }
}

/// The name that a file in the making was to have.
fn made_as(name: &str) -> Option<&str> {
    let (name, random) = name
        .strip_prefix('.')?
        .strip_suffix(END)?
        .rsplit_once('.')?;
    let is_random = random.len() == RANDOM && random.bytes().all(|b| b.is_ascii_alphanumeric());
    is_random.then_some(name)
}

/// Whether no process has it open any more.
fn is_left(path: &Path) -> Result<bool> {
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let facts = file.metadata()?;
    let age = facts.modified()?.elapsed().unwrap_or_default();
    Ok(facts.is_file() && age > YOUNG && lock::is_free(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn only_what_nobody_makes_any_more_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let age = |file: &File| {
            let old = SystemTime::now() - 2 * YOUNG;
            file.set_modified(old).unwrap();
        };
        let write = |name: &str| {
            let file = File::create(dir.path().join(name)).unwrap();
            age(&file);
        };
        let mine = create(dir.path(), "a.img").unwrap();
        age(mine.as_file());
        // Of an interrupted run; of another program; of another name; no file in the making.
        for name in [
            ".b.img.Ab12Cd.part",
            ".c.txt.Ab12Cd.part",
            ".b.img.part",
            "b.img.part",
        ] {
            write(name);
        }
        let young = dir.path().join(".b.img.000000.part");
        File::create(&young).unwrap();
        sweep(dir.path(), |name| name.ends_with(".img"));
        assert!(mine.path().exists() && young.exists());
        let mut left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left.len(), 5, "{left:?}");
        assert!(!left.contains(&".b.img.Ab12Cd.part".to_owned()), "{left:?}");
    }
}
