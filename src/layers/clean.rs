//! Removing layers that no build needs any more.

use crate::base::mountinfo::mounts;
use crate::base::timings::disk_usage;
use crate::layers::progress::Progress;
use crate::layers::sound;
use crate::layers::store::{Key, Record, SAME_IDS, Store, remove};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct What {
    /// Remove everything: layers, logs, and what is known of earlier builds
    #[arg(long, conflicts_with_all = ["keep", "size"])]
    pub all: bool,
    /// Keep the layers of the last N builds of each image
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub keep: usize,
    /// Remove, oldest first, only until the layers take at most this much (such as 20G)
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub size: Option<u64>,
    /// Compare every layer with the checksum it had when it was made; remove those that are
    /// damaged. Exit code 1 if there was one
    #[arg(long, conflicts_with_all = ["all", "keep", "size"])]
    pub verify: bool,
}

fn size(text: &str) -> Result<u64> {
    crate::base::size::parse_size(text)
}

/// A directory of the store that may go.
struct Candidate {
    path: PathBuf,
    bytes: u64,
    made: SystemTime,
}

/// Removes from `work_dir`, which is held by this process, and says what it did. False if
/// damaged layers were found.
///
/// # Errors
/// When something is mounted below: it would be emptied.
pub fn clean(work_dir: &Path, what: What) -> Result<bool> {
    refuse_mounts(work_dir)?;
    let store = Store::at(work_dir, SAME_IDS);
    store.sweep()?;
    if what.verify {
        return verify(&store);
    }
    // With `--all` nothing is read: it is the way out when what would be read is damaged.
    let (entries, used) = match what.all {
        true => {
            let dirs = store.directories()?.into_iter();
            (dirs.map(|path| (path, None)).collect(), BTreeSet::new())
        }
        false => (store.entries()?, used(&Progress::all(work_dir)?, what.keep)),
    };
    let (mut kept, mut candidates) = (0, Vec::new());
    for (path, record) in entries {
        let bytes = disk_usage(&path);
        if !what.all && is_used(&path, record.as_ref(), &used) {
            kept += bytes;
            continue;
        }
        let made = fs::symlink_metadata(&path).and_then(|meta| meta.modified());
        candidates.push(Candidate {
            bytes,
            made: made.with_context(|| format!("looking at {}", path.display()))?,
            path,
        });
    }
    candidates.sort_by_key(|candidate| candidate.made);
    let mut left = kept + candidates.iter().map(|c| c.bytes).sum::<u64>();
    let (mut count, mut freed) = (0, 0);
    for candidate in candidates {
        if what.size.is_some_and(|limit| left <= limit) {
            break;
        }
        remove(&candidate.path)?;
        left -= candidate.bytes;
        freed += candidate.bytes;
        count += 1;
    }
    println!(
        "removed {count} layers, {} MB; {} MB are left",
        freed / 1_000_000,
        left / 1_000_000
    );
    if what.size.is_some_and(|limit| left > limit) {
        println!("what is left belongs to the last builds; --all removes that too");
    }
    if what.all {
        forget_images(work_dir)?;
    }
    Ok(true)
}

/// Removes the layers that are not what they were when they were made. False if there was one.
fn verify(store: &Store) -> Result<bool> {
    let (mut sound, mut damaged) = (0, 0);
    for (path, record) in store.entries()? {
        if !is_layer(&path) {
            continue;
        }
        let id = path.file_name().unwrap_or_default().to_string_lossy();
        let whole = record
            .as_ref()
            .is_some_and(|record| record.key.id() == id && record.is_of(&record.key));
        // What cannot be read is damaged as well.
        if whole && sound::is_sound(&path).unwrap_or(false) {
            sound += 1;
            continue;
        }
        let name = record.map_or_else(|| "a layer without a record".to_owned(), |r| r.name);
        println!("damaged: {name} ({})", path.display());
        remove(&path)?;
        damaged += 1;
    }
    println!("{sound} layers are what they were; {damaged} were damaged and are removed");
    if damaged > 0 {
        println!("the next build makes them again; look at the disk, and at the images made since");
    }
    Ok(damaged == 0)
}

/// Whether the directory is called like a committed layer.
fn is_layer(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Layers of the last `keep` builds of each image.
fn used(images: &[Progress], keep: usize) -> BTreeSet<Key> {
    let mut used = BTreeSet::new();
    for image in images.iter().filter(|_| keep > 0) {
        used.extend(image.steps.iter().map(|(_, key)| key.clone()));
        used.extend(image.failed.iter().map(|(_, key)| key.clone()));
        let earlier = image.earlier.iter().take(keep - 1);
        used.extend(earlier.flatten().cloned());
    }
    used
}

/// Whether the directory is a layer in use, or what a failed step in use left.
fn is_used(path: &Path, record: Option<&Record>, used: &BTreeSet<Key>) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    !name.starts_with("new-") && record.is_some_and(|record| used.contains(&record.key))
        // What a user kept on purpose goes with --all only.
        || name.starts_with("kept-")
}

/// Removes what builds of the work directory's images remember, and their logs.
fn forget_images(work_dir: &Path) -> Result<()> {
    for entry in fs::read_dir(work_dir).into_iter().flatten() {
        let path = entry.context("reading the work directory")?.path();
        // Whatever state they are in.
        let is_image = ["progress.json", "archive.json", "build.log"]
            .iter()
            .any(|name| path.join(name).is_file());
        if is_image && !path.is_symlink() {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Nothing below `work_dir` may be a mount: it would be emptied with the rest.
fn refuse_mounts(work_dir: &Path) -> Result<()> {
    let dir = work_dir
        .canonicalize()
        .with_context(|| format!("finding {}", work_dir.display()))?;
    for mount in mounts(Path::new("/"))?.into_iter().map(|mount| mount.at) {
        if mount != dir.to_string_lossy() && Path::new(&mount).starts_with(&dir) {
            bail!("{mount} is a mount below the work directory; unmount it first");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::store::Inputs;

    fn layer(work: &Path, name: &str) -> Record {
        let record = Record::new(name, None, Inputs::from([("a".into(), name.into())]));
        let dir = work.join("layers").join(record.key.id());
        fs::create_dir_all(dir.join("upper")).unwrap();
        fs::write(dir.join("upper/file"), vec![1; 100_000]).unwrap();
        crate::base::work::save(&dir.join("layer.json"), &record).unwrap();
        record
    }

    #[test]
    fn only_what_no_build_needs_goes() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("precious"), "").unwrap();
        let work = tempfile::tempdir().unwrap();
        let (used, earlier, unused) = (
            layer(work.path(), "used"),
            layer(work.path(), "earlier"),
            layer(work.path(), "unused"),
        );
        let layers = work.path().join("layers");
        std::os::unix::fs::symlink(outside.path(), layers.join("link")).unwrap();
        let inside = layers.join(unused.key.id()).join("upper/link");
        std::os::unix::fs::symlink(outside.path(), inside).unwrap();
        let image = work.path().join("Image-arm64");
        fs::create_dir(&image).unwrap();
        fs::write(work.path().join("lock"), "").unwrap();
        Progress {
            steps: vec![("used".into(), used.key.clone())],
            earlier: vec![vec![earlier.key.clone()]],
            ..Progress::default()
        }
        .save(&image)
        .unwrap();
        let what = |all, keep, size| What {
            all,
            keep,
            size,
            verify: false,
        };
        let is_there = |record: &Record| layers.join(record.key.id()).exists();
        clean(work.path(), what(false, 1, Some(10_000_000))).unwrap();
        assert!(is_there(&unused));
        clean(work.path(), what(false, 2, None)).unwrap();
        assert!(is_there(&used) && is_there(&earlier) && !is_there(&unused));
        clean(work.path(), what(false, 1, None)).unwrap();
        assert!(is_there(&used) && !is_there(&earlier));
        clean(work.path(), what(true, 1, None)).unwrap();
        assert!(!is_there(&used) && !image.exists());
        assert!(outside.path().join("precious").exists());
    }

    #[test]
    fn damaged_layers_are_found_and_removed() {
        let work = tempfile::tempdir().unwrap();
        let names = ["good", "rotten", "without record"];
        let [good, rotten, bare] = names.map(|name| layer(work.path(), name));
        let at = |record: &Record| work.path().join("layers").join(record.key.id());
        for record in [&good, &rotten] {
            sound::seal(&at(record)).unwrap();
        }
        let verify = || {
            let what = What {
                all: false,
                keep: 1,
                size: None,
                verify: true,
            };
            clean(work.path(), what).unwrap()
        };
        assert!(verify());
        fs::write(at(&rotten).join("upper/file"), vec![2; 100_000]).unwrap();
        fs::write(at(&bare).join("layer.json"), "{").unwrap();
        assert!(!verify());
        assert!(at(&good).exists() && !at(&rotten).exists() && !at(&bare).exists());
        assert!(verify());
    }

    #[test]
    fn removing_everything_reads_nothing() {
        let work = tempfile::tempdir().unwrap();
        let record = layer(work.path(), "a");
        let layer = work.path().join("layers").join(record.key.id());
        fs::remove_file(layer.join("layer.json")).unwrap();
        fs::create_dir(layer.join("layer.json")).unwrap();
        let image = work.path().join("Image-arm64");
        fs::create_dir_all(image.join("progress.json")).unwrap();
        fs::write(image.join("build.log"), "").unwrap();
        let what = What {
            all: true,
            keep: 1,
            size: None,
            verify: false,
        };
        clean(work.path(), what).unwrap();
        assert!(!layer.exists() && !image.exists());
    }
}
