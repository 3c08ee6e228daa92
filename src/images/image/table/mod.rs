//! Partition tables: MBR with its logical partitions, GPT, or none.

mod gpt;
mod mbr;

use anyhow::{Context, Result};
use serde::Serialize;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Bytes of a sector, unless the table says otherwise.
const SECTOR: u64 = 512;

/// The MBR type of the one entry that says "look for a GPT".
const PROTECTIVE: u8 = 0xee;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Table {
    /// `mbr`, `gpt`, or `none` when a file system begins at byte 0.
    pub(crate) kind: &'static str,
    /// The disk's signature (MBR, 8 hex digits) or GUID.
    pub(crate) id: Option<String>,
    /// Bytes of the sectors that it counts in.
    pub(crate) sector: u64,
    pub(crate) partitions: Vec<Partition>,
    /// What of it could not be read.
    pub(crate) note: Option<String>,
    /// The byte from which on it could not.
    #[serde(skip)]
    pub(crate) unread: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Partition {
    /// From 1, as in the names of its devices.
    pub(crate) number: u32,
    /// First byte and number of bytes.
    pub(crate) start: u64,
    pub(crate) size: u64,
    /// The type's byte in hex (MBR) or GUID.
    pub(crate) type_id: String,
    /// Its usual name, where it is one of the usual ones.
    pub(crate) type_name: Option<&'static str>,
    /// PARTUUID as the kernel and fstab spell it.
    pub(crate) partuuid: String,
    /// The name a GPT gives it.
    pub(crate) name: Option<String>,
}

impl Partition {
    /// Whether it is only room for logical partitions.
    pub(crate) fn is_extended(&self) -> bool {
        mbr::EXTENDED.contains(&self.type_id.as_str())
    }

    /// First byte behind it; the largest number if there is none.
    pub(crate) fn end(&self) -> u64 {
        self.start.saturating_add(self.size)
    }
}

/// Reads the table of a disk of `size` bytes. Without a table the disk is one partition.
///
/// # Errors
/// When a GPT is damaged beyond its copy, or claims what none has.
pub(crate) fn read(disk: &File, size: u64) -> Result<Table> {
    let mut head = vec![0; 2048];
    let there = usize::try_from(size.min(head.len() as u64))?;
    disk.read_exact_at(&mut head[..there], 0)
        .context("reading the partition table")?;
    if there < 512 || head[510..512] != [0x55, 0xaa] || is_file_system(&head) {
        return Ok(whole(size));
    }
    if head[446..510]
        .chunks(16)
        .any(|entry| entry[4] == PROTECTIVE)
    {
        return gpt::read(disk, size);
    }
    Ok(mbr::read(disk, size, &head[..512]).unwrap_or_else(|| whole(size)))
}

/// A file system without partitions may end its first sector like an MBR. A FAT has the name
/// of its kind there, and a jump at its beginning; an ext4 leaves the sector alone.
fn is_file_system(head: &[u8]) -> bool {
    let jump = matches!(head[0], 0xeb | 0xe9);
    let fat = head[54..57] == *b"FAT" || head[82..87] == *b"FAT32";
    let other = head[3..11] == *b"NTFS    " || head[3..11] == *b"EXFAT   ";
    let no_entries = head[446..510].iter().all(|byte| *byte == 0);
    (jump && (fat || other)) || (no_entries && head[0x438..0x43a] == [0x53, 0xef])
}

fn whole(size: u64) -> Table {
    Table {
        kind: "none",
        id: None,
        sector: SECTOR,
        partitions: vec![Partition {
            number: 1,
            start: 0,
            size,
            type_id: String::new(),
            type_name: None,
            partuuid: String::new(),
            name: None,
        }],
        note: None,
        unread: None,
    }
}

/// 16 bytes as a UUID, in the order in which file systems keep them.
pub(crate) fn uuid(b: &[u8]) -> String {
    let hex = hex::encode(&b[..16]);
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
