//! Directories: runs of at most 256 names whose inodes are in one block of metadata.

use super::Squashfs;
use super::inode::Own;
use super::metadata::Place;
use crate::base::bytes::{u16_at, u32_at};
use crate::images::image::tree::names::{self, LARGEST_DIRECTORY};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;

/// Bytes of a run's header, of an entry without its name, and names of a run.
const HEADER: usize = 12;
const ENTRY: usize = 8;
const LONGEST_RUN: u32 = 256;

impl Squashfs {
    /// Names and inode numbers in a directory.
    pub(super) fn names(&self, directory: &Own) -> Result<BTreeMap<Vec<u8>, u64>> {
        let mut names = BTreeMap::new();
        // Its size counts three bytes for `.` and `..`, which are not there.
        let Some(size) = directory.size.checked_sub(3) else {
            return Ok(names);
        };
        ensure!(size <= LARGEST_DIRECTORY, "it has {size} bytes");
        let mut bytes = vec![0; usize::try_from(size)?];
        let reference = directory.start << 16 | u64::from(directory.offset);
        let mut place = Place::of(self.sb.directory_table, reference)?;
        self.fill_metadata(&mut place, &mut bytes)?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let header = take(&mut rest, HEADER)?;
            let (count, block) = (u32_at(header, 0), u32_at(header, 4));
            ensure!(count < LONGEST_RUN, "one of its runs is too long");
            for _ in 0..=count {
                let entry = take(&mut rest, ENTRY)?;
                let name = take(&mut rest, usize::from(u16_at(entry, 6)) + 1)?;
                let number = u64::from(block) << 16 | u64::from(u16_at(entry, 0));
                names::add(&mut names, name, number)?;
            }
        }
        Ok(names)
    }
}

/// The first `length` bytes of `rest`, which they leave.
pub(super) fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length).context("it ends too early")?;
    *rest = left;
    Ok(taken)
}
