//! The master boot record: four entries of 16 bytes from byte 446 (as `export/disk/partition.rs`
//! writes them), one of which may be room for logical partitions. Those are a chain of sectors
//! like the first, each with one partition and the way to the next one (the kernel's
//! block/partitions/msdos.c reads the same).

use super::{Partition, SECTOR, Table};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Types of partitions that hold logical ones.
pub(super) const EXTENDED: [&str; 3] = ["05", "0f", "85"];

/// More of them the kernel does not name either.
const MOST: usize = 255;

/// An entry as it stands in the sector.
struct TableEntry {
    kind: u8,
    /// Sectors, from a place that depends on the entry.
    first: u64,
    sectors: u64,
}

/// The table in the first sector `head` of a disk of `size` bytes; `None` if it is none.
pub(super) fn read(disk: &File, size: u64, head: &[u8]) -> Option<Table> {
    let entries = entries(head)?;
    let signature = u32::from_le_bytes([head[440], head[441], head[442], head[443]]);
    let mut table = Table {
        kind: "mbr",
        id: Some(format!("{signature:08x}")),
        sector: SECTOR,
        partitions: Vec::new(),
        note: None,
        unread: None,
    };
    for (number, entry) in (1..).zip(&entries) {
        if entry.kind != 0 {
            let made = partition(number, entry, entry.first, signature);
            table.partitions.push(made);
        }
    }
    let extended = table.partitions.iter().find(|p| p.is_extended()).cloned();
    if let Some(extended) = extended {
        logical(disk, size, &extended, signature, &mut table);
    }
    Some(table)
}

/// The four entries of a sector; `None` if a flag says that they are none.
fn entries(sector: &[u8]) -> Option<Vec<TableEntry>> {
    let number = |b: &[u8]| u64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let chunks = sector[446..510].chunks(16);
    chunks
        .map(|entry| {
            matches!(entry[0], 0 | 0x80).then(|| TableEntry {
                kind: entry[4],
                first: number(&entry[8..]),
                sectors: number(&entry[12..]),
            })
        })
        .collect()
}

/// Adds the logical partitions in `extended`, and notes where their chain breaks.
fn logical(disk: &File, size: u64, extended: &Partition, signature: u32, table: &mut Table) {
    let base = extended.start / SECTOR;
    let mut seen = BTreeSet::new();
    let mut at = base;
    let mut number = 5;
    let wrong = loop {
        let mut sector = [0; 512];
        let place = at * SECTOR;
        if !seen.insert(at) || seen.len() > MOST {
            break "leads in a circle";
        }
        if place + SECTOR > size || disk.read_exact_at(&mut sector, place).is_err() {
            break "leads out of the image";
        }
        let entries = entries(&sector).filter(|_| sector[510..] == [0x55, 0xaa]);
        let Some(entries) = entries else {
            break "is damaged";
        };
        let is_link = |entry: &&TableEntry| EXTENDED.contains(&&*format!("{:02x}", entry.kind));
        for entry in entries.iter().take(2).filter(|entry| !is_link(entry)) {
            if entry.kind != 0 && entry.sectors > 0 {
                let made = partition(number, entry, at + entry.first, signature);
                table.partitions.push(made);
                number += 1;
            }
        }
        match entries.iter().take(2).find(is_link) {
            Some(link) if link.sectors > 0 => at = base + link.first,
            _ => return,
        }
    };
    table.note = Some(format!("the chain of logical partitions {wrong}"));
    table.unread = Some(at * SECTOR);
}

fn partition(number: u32, entry: &TableEntry, first: u64, signature: u32) -> Partition {
    Partition {
        number,
        start: first * SECTOR,
        size: entry.sectors * SECTOR,
        type_id: format!("{:02x}", entry.kind),
        type_name: match entry.kind {
            0x01 | 0x04 | 0x06 | 0x0e => Some("FAT16"),
            0x0b | 0x0c => Some("FAT32"),
            0x05 | 0x0f | 0x85 => Some("extended"),
            0x82 => Some("Linux swap"),
            0x83 => Some("Linux"),
            0x8e => Some("Linux LVM"),
            0xef => Some("EFI system"),
            _ => None,
        },
        partuuid: format!("{signature:08x}-{number:02x}"),
        name: None,
    }
}
