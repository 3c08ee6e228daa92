//! Extended attributes: "Xattr table" in squashfs.rst.

use super::Squashfs;
use super::inode::Own;
use super::metadata::Place;
use crate::base::bytes::{u16_at, u32_at, u64_at};
use anyhow::{Result, bail, ensure};
use std::collections::BTreeMap;

/// Attributes of one inode, and bytes of all of their values, as much as Linux has room for.
const MOST: u32 = 4096;
const LARGEST: usize = 1 << 20;

/// The value is elsewhere.
const ELSEWHERE: u16 = 0x100;

/// Bytes of an entry of the table.
const ENTRY: usize = 16;

/// Where the attributes are.
pub(super) struct Table {
    /// The byte from which references count.
    start: u64,
    /// Blocks of the entries.
    blocks: Vec<u64>,
}

impl Squashfs {
    /// The table of attributes; `None` without attributes.
    pub(super) fn attribute_table(&self) -> Result<Option<Table>> {
        let Some(at) = self.sb.attribute_table else {
            return Ok(None);
        };
        let mut header = [0; 16];
        self.read(at, &mut header)?;
        let count = u32_at(&header, 8);
        Ok(Some(Table {
            start: u64_at(&header, 0),
            blocks: self.pointers(at + 16, count, ENTRY)?,
        }))
    }

    /// Attributes by their full names.
    pub(super) fn attributes_of(&self, inode: &Own) -> Result<BTreeMap<String, Vec<u8>>> {
        let mut found = BTreeMap::new();
        let (Some(index), Some(table)) = (inode.attributes, &self.attributes) else {
            return Ok(found);
        };
        let entry: [u8; ENTRY] = self.entry(&table.blocks, index)?;
        let count = u32_at(&entry, 8);
        ensure!(count <= MOST, "there are {count} attributes");
        let mut place = Place::of(table.start, u64_at(&entry, 0))?;
        let mut room = LARGEST;
        for _ in 0..count {
            let mut head = [0; 4];
            self.fill_metadata(&mut place, &mut head)?;
            let kind = u16_at(&head, 0);
            let mut name = vec![0; usize::from(u16_at(&head, 2))];
            self.fill_metadata(&mut place, &mut name)?;
            let mut value = self.value(&mut place, room)?;
            if kind & ELSEWHERE != 0 {
                ensure!(value.len() == 8, "an attribute is damaged");
                let mut place = Place::of(table.start, u64_at(&value, 0))?;
                value = self.value(&mut place, room)?;
            }
            room -= value.len();
            let name = String::from_utf8_lossy(&name);
            found.insert(format!("{}{name}", prefix(kind)?), value);
        }
        Ok(found)
    }

    /// A value of at most `room` bytes at `place`, which moves behind it.
    fn value(&self, place: &mut Place, room: usize) -> Result<Vec<u8>> {
        let mut size = [0; 4];
        self.fill_metadata(place, &mut size)?;
        let size = u32::from_le_bytes(size) as usize;
        ensure!(size <= room, "an attribute is too large");
        let mut value = vec![0; size];
        self.fill_metadata(place, &mut value)?;
        Ok(value)
    }
}

/// The part of a name that is kept as a number.
fn prefix(kind: u16) -> Result<&'static str> {
    Ok(match kind & 0xff {
        0 => "user.",
        1 => "trusted.",
        2 => "security.",
        _ => bail!("an attribute is of the unknown kind {kind:#x}"),
    })
}
