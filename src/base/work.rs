//! The work directory: whose it is at the moment, and small files in it that are never half
//! written.

use crate::base::digest;
use crate::base::events;
use crate::base::lock::{self, Lock};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The work directory held by one command; released by the kernel when the command and every
/// process it forked are gone, however they went.
#[derive(Debug)]
pub struct Held {
    _lock: Lock,
}

/// Takes `work_dir` (made if needed) for this process, which is about to do `what`.
///
/// # Errors
/// When another process has it; the message says which.
pub fn hold(work_dir: &Path, what: &str) -> Result<Held> {
    fs::create_dir_all(work_dir).with_context(|| format!("making {}", work_dir.display()))?;
    let path = work_dir.join("lock");
    let mut lock = match lock::attempt(&path)? {
        Ok(lock) => lock,
        Err(mut file) => {
            let mut holder = String::new();
            // What it says is for the message only.
            let _ = file.read_to_string(&mut holder);
            bail!(
                "{} is in use by {}; wait for it, end it, or set another WORK_DIR",
                work_dir.display(),
                holder.trim()
            );
        }
    };
    // On a full disk the name is missing, but the lock holds.
    let file = lock.file();
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "process {} (westwork-gen {what})", std::process::id()));
    Ok(Held { _lock: lock })
}

/// Where this program keeps what it has fetched, unless somebody says otherwise: in the user's cache
/// by the XDG base directories. `variable` looks into the environment. `None` without a home.
pub(crate) fn user_cache(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("westwork-gen"))
}

/// How the names of directories begin that are not complete yet.
pub(crate) const UNFINISHED: &str = "new-";

/// So long nobody makes one: what is older was left by a command that was killed, in seconds.
const ABANDONED: u64 = 24 * 60 * 60;

/// Removes from `dir` the unfinished directories that nobody is making any more.
///
/// # Errors
/// When `dir` cannot be read, or one of them cannot be removed.
pub(crate) fn sweep(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry
            .with_context(|| format!("reading {}", dir.display()))?
            .path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        let age = || {
            path.symlink_metadata()
                .ok()?
                .modified()
                .ok()?
                .elapsed()
                .ok()
        };
        if name.starts_with(UNFINISHED.as_bytes())
            && age().is_some_and(|it| it.as_secs() > ABANDONED)
        {
            fs::remove_dir_all(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

/// Changes with every start of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What this start of the machine is called; empty when the kernel does not say.
pub(crate) fn boot_id() -> String {
    fs::read_to_string(BOOT_ID).map_or_else(|_| String::new(), |id| id.trim().to_owned())
}

/// Writes `value` as JSON to `path`, as [`write`] does.
pub(crate) fn save<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    write(path, &json(path, value)?)
}

/// The same without waiting for the disk: for what is written while a step's files are on their
/// way there, and what can be made again if the power is cut.
pub(crate) fn save_unsynced<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    replace(path, &json(path, value)?, Sync::No)
}

fn json<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>> {
    let text = serde_json::to_string_pretty(value)
        .with_context(|| format!("preparing {}", path.display()))?;
    Ok(with_checksum(&text).into_bytes())
}

/// Beginning of the line with the checksum, in an object and in a list.
const CHECKSUM: [(&str, &str); 2] = [("{\n", "  \"checksum\": \""), ("[\n", "  \"checksum: ")];

/// `text`, pretty JSON, with a first field or element that has the SHA-256 of all the rest.
fn with_checksum(text: &str) -> String {
    for (open, line) in CHECKSUM {
        if let Some(rest) = text.strip_prefix(open) {
            let sum = hex::encode(Sha256::digest(text));
            return format!("{open}{line}{sum}\",\n{rest}");
        }
    }
    // Empty, or one value: nothing of it can be wrong and still be JSON that means something.
    text.to_owned()
}

/// What [`with_checksum`] was given, or why not. A text without a checksum, which earlier versions
/// wrote, is taken as it is.
fn without_checksum(text: &str) -> Result<String, &'static str> {
    for (open, start) in CHECKSUM {
        let Some((line, rest)) = text
            .strip_prefix(open)
            .and_then(|rest| rest.split_once('\n'))
        else {
            continue;
        };
        let Some((name, end)) = line.split_at_checked(start.len()) else {
            continue;
        };
        let sum = end.strip_suffix("\",").unwrap_or_default();
        // One of the two may be what is damaged.
        if name == start || digest::is_sha256(sum) {
            let text = format!("{open}{rest}");
            let right = name == start && hex::encode(Sha256::digest(&text)) == sum;
            return right.then_some(text).ok_or("its checksum is wrong");
        }
    }
    Ok(text.to_owned())
}

/// Writes `bytes` to `path`, by way of a temporary file. When this returns, the file is on the
/// disk: a cut of the power leaves what was there before or what is there now.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, bytes, Sync::Yes)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sync {
    Yes,
    No,
}

/// Writes what somebody asked for, such as a report, to `path`: whole or not at all, and readable as
/// the caller's umask has it.
pub(crate) fn write_result(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let whole = || -> Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".new-")
            .permissions(fs::Permissions::from_mode(0o666))
            .tempfile_in(dir.unwrap_or(Path::new(".")))?;
        file.write_all(bytes.as_ref())?;
        file.persist(path)?;
        Ok(())
    };
    whole().with_context(|| format!("writing {}", path.display()))
}

fn replace(path: &Path, bytes: &[u8], sync: Sync) -> Result<()> {
    let dir = path.parent().context("finding a file's directory")?;
    let whole = || -> Result<()> {
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
        file.write_all(bytes)?;
        if sync == Sync::Yes {
            file.as_file().sync_all()?;
        }
        file.persist(path)?;
        if sync == Sync::Yes {
            File::open(dir)?.sync_all()?;
        }
        Ok(())
    };
    whole().with_context(|| format!("writing {}", path.display()))
}

/// Gives the directory `made` the name `dir` once all of it is on the disk, so that a cut of the
/// power leaves it whole or not at all. False if there is one of that name already.
///
/// # Errors
/// When it cannot be brought to the disk or renamed.
pub(crate) fn put_in_place(made: &Path, dir: &Path) -> Result<bool> {
    let opened = File::open(made).with_context(|| format!("opening {}", made.display()))?;
    nix::unistd::syncfs(&opened).with_context(|| format!("syncing {}", made.display()))?;
    match fs::rename(made, dir) {
        Ok(()) => Ok(true),
        Err(_) if dir.is_dir() => Ok(false),
        Err(error) => Err(error).with_context(|| format!("making {}", dir.display())),
    }
}

/// What [`save`] wrote. `None` when there is no such file, and when it is empty or damaged, as a
/// disk that filled up or failed leaves it: what the program keeps for itself it can make again.
/// Of a damaged file a line is printed.
///
/// # Errors
/// When there is a file that cannot be read.
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    match parse(&text) {
        Ok(value) => Ok(Some(value)),
        Err(why) => {
            let what = match text.len() {
                0 => "empty".to_owned(),
                _ => format!("damaged ({why})"),
            };
            // A store's layers are looked up many times.
            if first_time(path) {
                events::note(&format!(
                    "{} is {what} and counts as not there",
                    path.display()
                ));
            }
            Ok(None)
        }
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let text = without_checksum(text)?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// Whether this process has not told of `path` yet.
fn first_time(path: &Path) -> bool {
    static TOLD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    told.insert(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_whole_or_what_it_was_and_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("report");
        write_result(&file, "first").unwrap();
        let plain = dir.path().join("plain");
        fs::write(&plain, "").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&file), mode(&plain));
        write_result(&file, "second").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"second");
        // What cannot get its name leaves nothing.
        fs::create_dir_all(dir.path().join("taken/x")).unwrap();
        assert!(write_result(&dir.path().join("taken"), "third").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn what_a_killed_command_left_goes_after_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * ABANDONED);
        for (name, old) in [("new-a", true), ("new-b", false), ("kept", true)] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.join("root")).unwrap();
            if old {
                File::open(&path).unwrap().set_modified(long_ago).unwrap();
            }
        }
        sweep(dir.path()).unwrap();
        let there = |name: &str| dir.path().join(name).exists();
        assert!(!there("new-a") && there("new-b") && there("kept"));
    }
    use std::collections::BTreeMap;

    #[test]
    fn the_second_one_is_told_who_was_first() {
        let dir = tempfile::tempdir().unwrap();
        let held = hold(dir.path(), "build").unwrap();
        let error = hold(dir.path(), "clean").unwrap_err().to_string();
        let expected = format!("process {} (westwork-gen build)", std::process::id());
        assert!(error.contains(&expected), "{error}");
        drop(held);
        hold(dir.path(), "clean").unwrap();
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        assert_eq!(load::<Vec<u8>>(&path).unwrap(), None);
        save(&path, &[1u8, 2]).unwrap();
        assert_eq!(load::<Vec<u8>>(&path).unwrap(), Some(vec![1, 2]));
        fs::write(&path, "[1").unwrap();
        assert_eq!(load::<Vec<u8>>(&path).unwrap(), None);
        fs::write(&path, "").unwrap();
        assert_eq!(load::<Vec<u8>>(&path).unwrap(), None);
        // What cannot be read at all is another matter.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(load::<Vec<u8>>(&path).is_err());
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        let map = BTreeMap::from([
            ("key".to_owned(), vec![1u8, 2]),
            ("other".to_owned(), vec![]),
        ]);
        let list = vec!["one".to_owned(), "two".to_owned()];
        save(&path, &map).unwrap();
        let text = fs::read(&path).unwrap();
        assert!(serde_json::from_slice::<serde_json::Value>(&text).unwrap()["key"].is_array());
        let load_map = || load::<BTreeMap<String, Vec<u8>>>(&path).unwrap();
        flip_each(&path, &text, &|| {
            load_map().is_none_or(|found| found == map)
        });
        save(&path, &list).unwrap();
        let text = fs::read(&path).unwrap();
        let load_list = || load::<Vec<String>>(&path).unwrap();
        assert_eq!(load_list().as_ref(), Some(&list));
        flip_each(&path, &text, &|| {
            load_list().is_none_or(|found| found == list)
        });
        // As earlier versions wrote it.
        fs::write(&path, "[\"one\", \"two\"]").unwrap();
        assert_eq!(load_list().as_ref(), Some(&list));
    }

    fn flip_each(path: &Path, text: &[u8], right: &dyn Fn() -> bool) {
        for at in 0..text.len() {
            let mut flipped = text.to_vec();
            flipped[at] ^= 1;
            fs::write(path, &flipped).unwrap();
            assert!(right(), "byte {at}: {}", String::from_utf8_lossy(&flipped));
        }
    }
}
