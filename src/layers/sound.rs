//! Whether a layer is what it was when it was made.

use crate::base::{lock, work};
use crate::layers::digest;
use crate::layers::identity::{Key, Record};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Whether `path` is a directory, and no link to one.
pub(super) fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

/// Takes the digest of the committed layer in `dir`, unless that was done, and writes it down.
/// Returns it as it was taken when the layer was new.
///
/// # Errors
/// When the layer or its record cannot be read or written.
pub(crate) fn seal(dir: &Path) -> Result<String> {
    // Another thread, or another build, may be at it, and a third be reading the record.
    let _turn = lock::wait_for_dir(dir)?;
    let path = dir.join("layer.json");
    let mut record: Record =
        work::load(&path)?.with_context(|| format!("finding the record {}", path.display()))?;
    if let Some(digest) = record.digest {
        return Ok(digest);
    }
    let digest = digest::of(&dir.join("upper"))?;
    record.digest = Some(digest.clone());
    work::save_unsynced(&path, &record)?;
    Ok(digest)
}

/// Whether the committed layer in `dir` is what it was when it was new. One without a digest is
/// taken as it is.
///
/// # Errors
/// When the layer cannot be read.
pub(crate) fn is_sound(dir: &Path) -> Result<bool> {
    let digest = seal(dir)?;
    Ok(digest == digest::of(&dir.join("upper"))?)
}

/// The record of the layer `key` that was unpacked into `dir`, if it is that layer and whole.
pub(super) fn received(dir: &Path, key: &Key) -> Result<Option<Record>> {
    let upper = dir.join("upper");
    let found: Option<Record> = work::load(&dir.join("layer.json"))?;
    let Some(found) = found.filter(|found| found.is_of(key) && is_dir(&upper)) else {
        return Ok(None);
    };
    if has_link_for_root(&upper) {
        return Ok(None);
    }
    let whole = match &found.digest {
        Some(digest) => digest::of(&upper)? == *digest,
        None => true,
    };
    Ok(whole.then_some(found))
}

/// Whether a layer has something in the place of the root file system's directory that would
/// lead elsewhere. A device is overlayfs's mark for what was removed.
pub(super) fn has_link_for_root(upper: &Path) -> bool {
    fs::symlink_metadata(upper.join("rootfs"))
        .is_ok_and(|meta| !meta.is_dir() && !meta.file_type().is_char_device())
}
