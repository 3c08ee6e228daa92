//! The names in one directory.

use anyhow::{Result, ensure};
use std::collections::BTreeMap;

/// Bytes of a directory, and names in it, that are read.
pub(crate) const LARGEST_DIRECTORY: u64 = 16 << 20;
const MOST_NAMES: usize = 250_000;

/// Adds a name that leads to inode `number`; `.` and `..` are left out.
///
/// # Errors
/// When no file can have this name, or there are too many.
pub(crate) fn add(names: &mut BTreeMap<Vec<u8>, u64>, name: &[u8], number: u64) -> Result<()> {
    if matches!(name, b"." | b"..") {
        return Ok(());
    }
    ensure!(
        !name.is_empty() && !name.contains(&b'/') && !name.contains(&0),
        "it has a name that no file can have"
    );
    ensure!(
        names.len() < MOST_NAMES,
        "it has more than {MOST_NAMES} names"
    );
    names.insert(name.to_vec(), number);
    Ok(())
}
