//! Extended attributes: those of one inode behind it, and those that several share in a place of
//! their own.

use super::Erofs;
use super::inode::Own;
use crate::base::bytes::{u16_at, u32_at};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;

/// Bytes of the header before an inode's attributes, and of an entry without name and value.
const HEADER: usize = 12;
const ENTRY: usize = 4;

/// Marks the index of a long prefix.
const LONG: u8 = 0x80;

impl Erofs {
    /// Attributes by their full names.
    pub(super) fn attributes_of(&self, inode: &Own) -> Result<BTreeMap<String, Vec<u8>>> {
        let (begin, end) = inode.attributes;
        let mut found = BTreeMap::new();
        // At most 256 KiB.
        let mut bytes = vec![0; usize::try_from(end - begin)?];
        if bytes.len() < HEADER {
            return Ok(found);
        }
        self.read(begin, &mut bytes)?;
        let shared = usize::from(bytes[4]);
        let rest = bytes.split_at_checked(HEADER + 4 * shared);
        let (head, mut own) = rest.context("they are damaged")?;
        for id in head[HEADER..].chunks_exact(4) {
            let at = self.sb.attributes + u64::from(u32_at(id, 0)) * 4;
            let mut entry = [0; ENTRY];
            self.read(at, &mut entry)?;
            let mut bytes = vec![0; length(&entry)];
            self.read(at, &mut bytes)?;
            self.add(&bytes, &mut found)?;
        }
        // Zeros may follow.
        while own.len() >= ENTRY && own[..ENTRY] != [0; ENTRY] {
            let entry = own.get(..length(own)).context("they are damaged")?;
            self.add(entry, &mut found)?;
            own = own
                .get(entry.len().next_multiple_of(4)..)
                .unwrap_or_default();
        }
        Ok(found)
    }

    /// Adds the attribute of one whole entry.
    fn add(&self, entry: &[u8], found: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
        let (name, value) = entry[ENTRY..].split_at(usize::from(entry[0]));
        let prefix = self.prefix(entry[1])?;
        let name = [&prefix, name].concat();
        found.insert(String::from_utf8_lossy(&name).into_owned(), value.to_vec());
        Ok(())
    }

    /// The part of a name that is kept as a number.
    fn prefix(&self, index: u8) -> Result<Vec<u8>> {
        if index & LONG == 0 {
            return Ok(short(index)?.as_bytes().to_vec());
        }
        let (count, mut at) = self.sb.prefixes;
        let index = index & !LONG;
        ensure!(index < count, "there is no prefix {index}");
        // One after the other, each with its length; in the inode with the ends of files, if
        // there is one.
        let packed = self.sb.packed.map(|_| self.packed()).transpose()?;
        let read = |at: u64, buffer: &mut [u8]| match &packed {
            Some(file) => self.fill(file, buffer, at),
            None => self.read(at, buffer),
        };
        for skipped in 0..=index {
            let mut length = [0; 2];
            read(at, &mut length)?;
            let length = u16::from_le_bytes(length);
            if skipped == index {
                let mut bytes = vec![0; usize::from(length)];
                read(at + 2, &mut bytes)?;
                let (base, infix) = bytes.split_first().context("a prefix is damaged")?;
                return Ok([short(*base)?.as_bytes(), infix].concat());
            }
            at = (at + 2 + u64::from(length)).next_multiple_of(4);
        }
        bail!("there is no prefix {index}")
    }
}

/// Bytes of an entry with its name and its value.
fn length(entry: &[u8]) -> usize {
    ENTRY + usize::from(entry[0]) + usize::from(u16_at(entry, 2))
}

fn short(index: u8) -> Result<&'static str> {
    Ok(match index {
        0 => "",
        1 => "user.",
        2 => "system.posix_acl_access",
        3 => "system.posix_acl_default",
        4 => "trusted.",
        5 => "lustre.",
        6 => "security.",
        _ => bail!("an attribute is of the unknown kind {index}"),
    })
}
