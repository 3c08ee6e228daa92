//! Extended attributes as ext4 keeps them: attributes.rst in the kernel's
//! Documentation/filesystems/ext4.

use crate::base::bytes::{u16_at, u32_at};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;

const MAGIC: u32 = 0xea02_0000;

/// Reads a value that has an inode of its own.
type Large<'a> = &'a dyn Fn(u32) -> Result<Vec<u8>>;

/// Adds the attributes in the space that an inode has left over.
pub(super) fn in_inode(
    area: &[u8],
    large: Large<'_>,
    found: &mut BTreeMap<String, Vec<u8>>,
) -> Result<()> {
    if area.len() < 8 || u32_at(area, 0) != MAGIC {
        return Ok(());
    }
    // Offsets of values count from the first entry.
    entries(&area[4..], 0, large, found)
}

/// Adds the attributes in a block of their own, whose offsets count from its beginning.
pub(super) fn in_block(
    block: &[u8],
    large: Large<'_>,
    found: &mut BTreeMap<String, Vec<u8>>,
) -> Result<()> {
    ensure!(u32_at(block, 0) == MAGIC, "an attribute block is damaged");
    entries(block, 32, large, found)
}

fn entries(
    area: &[u8],
    first: usize,
    large: Large<'_>,
    found: &mut BTreeMap<String, Vec<u8>>,
) -> Result<()> {
    let mut at = first;
    // Four zero bytes end the list.
    while at + 16 <= area.len() && u32_at(area, at) != 0 {
        let entry = &area[at..];
        let name_length = usize::from(entry[0]);
        let name = entry
            .get(16..16 + name_length)
            .context("reading an attribute's name")?;
        let (value_at, inode, size) = (
            usize::from(u16_at(entry, 2)),
            u32_at(entry, 4),
            u32_at(entry, 8),
        );
        let value = if inode == 0 {
            area.get(value_at..value_at + size as usize)
                .context("reading an attribute's value")?
                .to_vec()
        } else {
            large(inode)?
        };
        let name = format!("{}{}", prefix(entry[1]), String::from_utf8_lossy(name));
        found.insert(name, value);
        at += (16 + name_length).next_multiple_of(4);
    }
    Ok(())
}

/// The part of a name that is kept as a number.
fn prefix(index: u8) -> &'static str {
    match index {
        1 => "user.",
        2 => "system.posix_acl_access",
        3 => "system.posix_acl_default",
        4 => "trusted.",
        6 => "security.",
        7 => "system.",
        8 => "system.richacl",
        _ => "",
    }
}
