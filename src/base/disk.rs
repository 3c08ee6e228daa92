//! File systems: how much room they have, and what they are called.

use crate::base::mountinfo::mounts;
use nix::sys::statvfs::statvfs;
use std::path::Path;

/// With less than this free a file system counts as full, bytes: programs that fail for want
/// of room often remove a little before they end.
const FULL: u64 = 16 << 20;

/// Bytes that may still be written below `place`, if the file system says.
#[allow(
    clippy::useless_conversion,
    reason = "the types differ by architecture"
)]
pub(crate) fn free(place: &Path) -> Option<u64> {
    let stat = statvfs(place).ok()?;
    let (blocks, size) = (
        u64::from(stat.blocks_available()),
        u64::from(stat.fragment_size()),
    );
    Some(blocks.saturating_mul(size))
}

/// A sentence for each of `places` (what it is for, where it is) whose file system is full.
/// With `certain`, a program said that there is no room, so the fullest one is named anyway.
pub(crate) fn full(places: &[(&str, &Path)], certain: bool) -> Vec<String> {
    let mut found: Vec<(u64, String)> = places
        .iter()
        .filter_map(|(name, place)| Some((free(place)?, name, place)))
        .map(|(free, name, place)| {
            let text = format!(
                "the file system at {}, which holds {name}={}, is full: {} MiB free",
                mount_point(place),
                place.display(),
                free >> 20
            );
            (free, text)
        })
        .collect();
    found.sort();
    let many = found.iter().filter(|(free, _)| *free < FULL).count();
    let shown = many.max(usize::from(certain));
    found.truncate(shown);
    found.into_iter().map(|(_, text)| text).collect()
}

/// Where the file system of `place` is mounted, and its type.
fn mount_point(place: &Path) -> String {
    let place = place.canonicalize().unwrap_or_else(|_| place.to_owned());
    mounts(Path::new("/"))
        .unwrap_or_default()
        .into_iter()
        .filter(|mount| place.starts_with(&mount.at))
        .max_by_key(|mount| mount.at.len())
        .map_or_else(
            || "/".to_owned(),
            |mount| format!("{} ({})", mount.at, mount.kind),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_room_and_a_mount_point() {
        let dir = tempfile::tempdir().unwrap();
        assert!(free(dir.path()).is_some());
        assert!(mount_point(Path::new("/proc/self")).contains("(proc)"));
        let named = full(&[("WORK_DIR", dir.path())], true);
        assert_eq!(named.len(), 1);
        assert!(named[0].contains("WORK_DIR="), "{named:?}");
    }
}
