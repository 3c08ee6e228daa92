//! Tables that are in order, and tables that are not.

use super::*;
use gptman::{GPT, GPTPartitionEntry};
use std::io::{Seek, SeekFrom, Write};

const SIZE: u64 = 8 << 20;

fn disk() -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(SIZE).unwrap();
    file
}

/// Writes a boot record: entries of type, first sector and number of sectors.
fn record(disk: &File, sector: u64, entries: &[(u8, u32, u32)]) {
    let mut bytes = [0; 512];
    for (entry, (kind, first, sectors)) in bytes[446..510].chunks_mut(16).zip(entries) {
        entry[4] = *kind;
        entry[8..12].copy_from_slice(&first.to_le_bytes());
        entry[12..].copy_from_slice(&sectors.to_le_bytes());
    }
    bytes[510..].copy_from_slice(&[0x55, 0xaa]);
    disk.write_all_at(&bytes, sector * 512).unwrap();
}

fn places(table: &Table) -> Vec<(u32, u64, u64)> {
    let sector = |bytes| bytes / 512;
    let partitions = table.partitions.iter();
    partitions
        .map(|p| (p.number, sector(p.start), sector(p.size)))
        .collect()
}

#[test]
fn logical_partitions_are_numbered_from_five() {
    let disk = disk();
    record(
        &disk,
        0,
        &[(0x0c, 64, 100), (0x0f, 200, 1000), (0x83, 2000, 8)],
    );
    record(&disk, 200, &[(0x83, 8, 92), (0x05, 300, 100)]);
    record(&disk, 500, &[(0x82, 8, 50)]);
    let table = read(&disk, SIZE).unwrap();
    assert_eq!(
        places(&table),
        [
            (1, 64, 100),
            (2, 200, 1000),
            (3, 2000, 8),
            (5, 208, 92),
            (6, 508, 50)
        ]
    );
    assert_eq!(table.note, None);
    assert!(table.partitions[1].is_extended() && !table.partitions[3].is_extended());
    assert_eq!(table.partitions[3].partuuid, "00000000-05");
}

#[test]
fn a_chain_that_breaks_is_noted_and_the_rest_is_there() {
    for (link, words) in [
        (0, "in a circle"),
        (300, "is damaged"),
        (1 << 30, "out of the image"),
    ] {
        let disk = disk();
        record(&disk, 0, &[(0x05, 200, 1000)]);
        record(&disk, 200, &[(0x83, 8, 92), (0x05, link, 100)]);
        let table = read(&disk, SIZE).unwrap();
        assert_eq!(places(&table), [(1, 200, 1000), (5, 208, 92)]);
        assert!(table.note.as_ref().unwrap().contains(words), "{table:?}");
    }
}

#[test]
fn a_boot_sector_that_only_looks_like_a_table_is_none() {
    let disk = disk();
    disk.write_all_at(&[0xa7; 512], 0).unwrap();
    disk.write_all_at(&[0x55, 0xaa], 510).unwrap();
    assert_eq!(read(&disk, SIZE).unwrap().kind, "none");
}

/// A GPT with one partition, whose header `change` may alter.
fn gpt(change: impl Fn(&mut GPT)) -> File {
    let mut disk = disk();
    GPT::write_protective_mbr_into(&mut disk, 512).unwrap();
    let mut gpt = GPT::new_from(&mut disk, 512, [7; 16]).unwrap();
    gpt[1] = GPTPartitionEntry {
        partition_type_guid: [1; 16],
        unique_partition_guid: [2; 16],
        starting_lba: 2048,
        ending_lba: 4095,
        attribute_bits: 0,
        partition_name: "a".into(),
    };
    gpt.write_into(&mut disk).unwrap();
    change(&mut gpt);
    // Both headers, with right checksums, whatever they claim.
    let mut backup = gpt.header.clone();
    std::mem::swap(&mut backup.primary_lba, &mut backup.backup_lba);
    for header in [&mut gpt.header, &mut backup] {
        header.update_crc32_checksum();
        disk.seek(SeekFrom::Start(header.primary_lba * 512))
            .unwrap();
        let mut bytes = Vec::new();
        for field in [
            &header.signature[..],
            &header.revision,
            &header.header_size.to_le_bytes(),
            &header.crc32_checksum.to_le_bytes(),
            &header.reserved,
            &header.primary_lba.to_le_bytes(),
            &header.backup_lba.to_le_bytes(),
            &header.first_usable_lba.to_le_bytes(),
            &header.last_usable_lba.to_le_bytes(),
            &header.disk_guid,
            &header.partition_entry_lba.to_le_bytes(),
            &header.number_of_partition_entries.to_le_bytes(),
            &header.size_of_partition_entry.to_le_bytes(),
            &header.partition_entry_array_crc32.to_le_bytes(),
        ] {
            bytes.extend_from_slice(field);
        }
        disk.write_all(&bytes).unwrap();
    }
    disk
}

#[test]
fn what_a_gpt_claims_is_judged_before_it_is_believed() {
    let good = read(&gpt(|_| {}), SIZE).unwrap();
    assert_eq!(places(&good), [(1, 2048, 2048)]);
    assert_eq!((good.kind, good.sector), ("gpt", 512));
    type Change = fn(&mut GPT);
    let changes: [Change; 5] = [
        |gpt| gpt.header.number_of_partition_entries = u32::MAX,
        |gpt| gpt.header.size_of_partition_entry = 0,
        |gpt| gpt.header.size_of_partition_entry = 256,
        |gpt| gpt.header.number_of_partition_entries = 0,
        |gpt| gpt.header.partition_entry_lba = u64::MAX / 2,
    ];
    for change in changes {
        let error = format!("{:#}", read(&gpt(change), SIZE).unwrap_err());
        assert!(error.contains("claims"), "{error}");
    }
}

#[test]
fn a_partition_at_sector_zero_of_a_gpt_is_no_panic() {
    let disk = gpt(|gpt| {
        gpt[1].starting_lba = 0;
        gpt[2] = gpt[1].clone();
        gpt.header.partition_entry_array_crc32 = gpt
            .header
            .generate_partition_entry_array_crc32(&entries(gpt));
    });
    let mut entry = [0; 128];
    disk.read_exact_at(&mut entry, 1024).unwrap();
    entry[32..40].fill(0);
    disk.write_all_at(&entry, 1024).unwrap();
    disk.write_all_at(&entry, 1024 + 128).unwrap();
    let table = read(&disk, SIZE).unwrap();
    assert_eq!(places(&table), [(1, 0, 4096), (2, 0, 4096)]);
}

fn entries(gpt: &GPT) -> Vec<GPTPartitionEntry> {
    gpt.iter().map(|(_, entry)| entry.clone()).collect()
}
