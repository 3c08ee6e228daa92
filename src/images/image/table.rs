//! Partition tables. MBR: four entries of 16 bytes from byte 446 (as `export/partition.rs`
//! writes them); GPT: UEFI specification 2.10, chapter 5.

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Bytes of a sector.
const SECTOR: u64 = 512;

/// The MBR type of the one entry that says "look for a GPT".
const PROTECTIVE: u8 = 0xee;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Table {
    /// `mbr`, `gpt`, or `none` when a file system begins at byte 0.
    pub(crate) kind: &'static str,
    /// The disk's signature (MBR, 8 hex digits) or GUID.
    pub(crate) id: Option<String>,
    pub(crate) partitions: Vec<Partition>,
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

/// Reads the table of a disk of `size` bytes. Without a table the disk is one partition.
pub(crate) fn read(disk: &File, size: u64) -> Result<Table> {
    let mut head = vec![0; usize::try_from(size.min(SECTOR))?];
    disk.read_exact_at(&mut head, 0)
        .context("reading the partition table")?;
    if head.len() < 512 || head[510..] != [0x55, 0xaa] || is_file_system(&head) {
        return Ok(whole(size));
    }
    if head[446..510]
        .chunks(16)
        .any(|entry| entry[4] == PROTECTIVE)
    {
        return gpt(disk);
    }
    Ok(mbr(&head))
}

/// A FAT without partitions ends its first sector like an MBR; only the former has the
/// name of its kind there, and a jump at its beginning.
fn is_file_system(head: &[u8]) -> bool {
    matches!(head[0], 0xeb | 0xe9) && (head[54..59] == *b"FAT16" || head[82..87] == *b"FAT32")
}

fn whole(size: u64) -> Table {
    Table {
        kind: "none",
        id: None,
        partitions: vec![Partition {
            number: 1,
            start: 0,
            size,
            type_id: String::new(),
            type_name: None,
            partuuid: String::new(),
            name: None,
        }],
    }
}

fn mbr(head: &[u8]) -> Table {
    let number = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    let signature = number(&head[440..]);
    let partitions = (1..)
        .zip(head[446..510].chunks(16))
        .filter(|(_, entry)| entry[4] != 0)
        .map(|(index, entry)| Partition {
            number: index,
            start: u64::from(number(&entry[8..])) * SECTOR,
            size: u64::from(number(&entry[12..])) * SECTOR,
            type_id: format!("{:02x}", entry[4]),
            type_name: match entry[4] {
                0x01 | 0x04 | 0x06 | 0x0e => Some("FAT16"),
                0x0b | 0x0c => Some("FAT32"),
                0x05 | 0x0f => Some("extended"),
                0x82 => Some("Linux swap"),
                0x83 => Some("Linux"),
                0xef => Some("EFI system"),
                _ => None,
            },
            partuuid: format!("{signature:08x}-{index:02x}"),
            name: None,
        })
        .collect();
    Table {
        kind: "mbr",
        id: Some(format!("{signature:08x}")),
        partitions,
    }
}

fn gpt(disk: &File) -> Result<Table> {
    let mut disk = disk.try_clone().context("opening an image once more")?;
    let gpt = gptman::GPT::find_from(&mut disk).context("reading the GUID partition table")?;
    let mut partitions = Vec::new();
    for (number, entry) in gpt.iter().filter(|(_, entry)| entry.is_used()) {
        ensure!(
            entry.ending_lba >= entry.starting_lba,
            "partition {number} of the GPT ends before it starts"
        );
        let type_id = guid(entry.partition_type_guid);
        let place = |lba: u64| {
            lba.checked_mul(gpt.sector_size)
                .context("placing a partition")
        };
        partitions.push(Partition {
            number,
            start: place(entry.starting_lba)?,
            size: place(entry.ending_lba - entry.starting_lba + 1)?,
            type_name: match type_id.as_str() {
                "c12a7328-f81f-11d2-ba4b-00a0c93ec93b" => Some("EFI system"),
                "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7" => Some("Microsoft basic data"),
                "0fc63daf-8483-4772-8e79-3d69d8477de4" => Some("Linux"),
                "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f" => Some("Linux swap"),
                "b921b045-1df0-41c3-af44-4c6f280d3fae" => Some("Linux root (arm64)"),
                "69dad710-2ce4-4e3c-b16c-21a1d49abed3" => Some("Linux root (arm)"),
                "bc13c2ff-59e6-4262-a352-b275fd6f7172" => Some("Linux boot"),
                _ => None,
            },
            type_id,
            partuuid: guid(entry.unique_partition_guid),
            name: Some(entry.partition_name.as_str().to_owned()).filter(|name| !name.is_empty()),
        });
    }
    Ok(Table {
        kind: "gpt",
        id: Some(guid(gpt.header.disk_guid)),
        partitions,
    })
}

/// A GUID as it is written: its first three fields are little-endian on the disk.
fn guid(b: [u8; 16]) -> String {
    let a = u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    let (c, d) = (
        u16::from_le_bytes([b[4], b[5]]),
        u16::from_le_bytes([b[6], b[7]]),
    );
    format!(
        "{a:08x}-{c:04x}-{d:04x}-{}-{}",
        hex::encode(&b[8..10]),
        hex::encode(&b[10..])
    )
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
