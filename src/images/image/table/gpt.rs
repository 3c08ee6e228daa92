//! GUID partition tables (UEFI specification 2.10, chapter 5), by the `gptman` crate, which
//! believes what a header claims: the claims are judged first.

use super::{Partition, Table};
use anyhow::{Context, Result, anyhow, ensure};
use gptman::{GPTHeader, GPTPartitionEntry};
use std::fs::File;
use std::io::{Seek, SeekFrom};

/// Bytes of an entry; the crate knows no others, and no tool makes others.
const ENTRY: u32 = 128;

/// More bytes no table has; 16 KiB are usual.
const LARGEST: u64 = 1 << 20;

/// A table that may be believed.
struct Found {
    sector: u64,
    header: GPTHeader,
    entries: Vec<GPTPartitionEntry>,
}

/// Reads the table, or its copy at the disk's end.
pub(super) fn read(disk: &File, size: u64) -> Result<Table> {
    let mut disk = disk.try_clone().context("opening an image once more")?;
    let found = find(&mut disk, size)?;
    let mut partitions = Vec::new();
    for (number, entry) in (1..).zip(&found.entries) {
        if entry.is_unused() {
            continue;
        }
        ensure!(
            entry.ending_lba >= entry.starting_lba,
            "partition {number} of the GPT ends before it starts"
        );
        let type_id = guid(entry.partition_type_guid);
        let place = |lba: u64| {
            lba.checked_mul(found.sector)
                .context("placing a partition of the GPT")
        };
        let sectors = (entry.ending_lba - entry.starting_lba).checked_add(1);
        partitions.push(Partition {
            number,
            start: place(entry.starting_lba)?,
            size: place(sectors.context("sizing a partition of the GPT")?)?,
            type_name: type_name(&type_id),
            type_id,
            partuuid: guid(entry.unique_partition_guid),
            name: Some(entry.partition_name.as_str().to_owned()).filter(|name| !name.is_empty()),
        });
    }
    Ok(Table {
        kind: "gpt",
        id: Some(guid(found.header.disk_guid)),
        sector: found.sector,
        partitions,
        note: None,
        unread: None,
    })
}

/// The first good table: behind the first sector or before the end, for both sizes of sectors.
fn find(disk: &mut File, size: u64) -> Result<Found> {
    let mut wrong = None;
    for sector in [512, 4096] {
        for at in [Some(sector), (size / sector * sector).checked_sub(sector)] {
            let Some(at) = at.filter(|at| at + sector <= size) else {
                continue;
            };
            // It is none, or its checksum is wrong.
            let sought = disk.seek(SeekFrom::Start(at));
            let Ok(header) = sought
                .map_err(Into::into)
                .and_then(|_| GPTHeader::read_from(disk))
            else {
                continue;
            };
            let entries = entries_fit(&header, sector, size).and_then(|()| {
                header
                    .read_partitions(disk, sector)
                    .context("reading the entries of the GUID partition table")
            });
            match entries {
                Ok(entries) => {
                    return Ok(Found {
                        sector,
                        header,
                        entries,
                    });
                }
                Err(error) => wrong = wrong.or(Some(error)),
            }
        }
    }
    Err(wrong.unwrap_or_else(|| anyhow!("the GUID partition table and its copy are damaged")))
}

/// Whether a header claims what a table can have.
fn entries_fit(header: &GPTHeader, sector: u64, size: u64) -> Result<()> {
    let (number, entry) = (
        header.number_of_partition_entries,
        header.size_of_partition_entry,
    );
    let bytes = u64::from(number) * u64::from(entry);
    ensure!(
        entry == ENTRY && number > 0 && bytes <= LARGEST,
        "the GUID partition table claims to have {number} entries of {entry} bytes"
    );
    let first = header.partition_entry_lba.checked_mul(sector);
    let end = first.and_then(|first| first.checked_add(bytes));
    ensure!(
        end.is_some_and(|end| end <= size),
        "the GUID partition table claims to lie outside of the image"
    );
    Ok(())
}

fn type_name(type_id: &str) -> Option<&'static str> {
    match type_id {
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93b" => Some("EFI system"),
        "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7" => Some("Microsoft basic data"),
        "0fc63daf-8483-4772-8e79-3d69d8477de4" => Some("Linux"),
        "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f" => Some("Linux swap"),
        "e6d6d379-f507-44c2-a23c-238f2a3df928" => Some("Linux LVM"),
        "b921b045-1df0-41c3-af44-4c6f280d3fae" => Some("Linux root (arm64)"),
        "69dad710-2ce4-4e3c-b16c-21a1d49abed3" => Some("Linux root (arm)"),
        "bc13c2ff-59e6-4262-a352-b275fd6f7172" => Some("Linux boot"),
        _ => None,
    }
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
