//! Reading and writing the partition table.

use super::layout::{FileSystem, Layout, Partition, SECTOR, Table};
use anyhow::{Context, Result, ensure};
use gptman::{GPT, GPTPartitionEntry};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Writes the table of `layout` into `image`, which has its full size already and
/// is open for reading, too.
pub(crate) fn write(layout: &Layout, image: &File) -> Result<()> {
    match &layout.table {
        Table::Mbr { signature } => {
            let sector = mbr(*signature, &layout.partitions)?;
            image.write_all_at(&sector, 0).map_err(Into::into)
        }
        Table::Gpt { guid } => write_gpt(guid, layout, image),
    }
    .context("writing the partition table")
}

/// Types of partitions in a GPT: what the boot ROM and its bootloader look for, which systemd
/// does not mount by itself, and what Linux calls its own.
const BASIC: &str = "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7";
const LINUX: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";

/// A GPT with its copy at the end of the image, and the MBR that protects it.
fn write_gpt(disk: &str, layout: &Layout, image: &File) -> Result<()> {
    let mut device = image;
    GPT::write_protective_mbr_into(&mut device, SECTOR)?;
    let mut gpt = GPT::new_from(&mut device, SECTOR, guid(disk)?)?;
    for (number, partition) in (1..).zip(&layout.partitions) {
        let kind = match partition.file_system {
            FileSystem::Fat32 { .. } => BASIC,
            _ => LINUX,
        };
        gpt[number] = GPTPartitionEntry {
            partition_type_guid: guid(kind)?,
            unique_partition_guid: guid(&partition.guid)?,
            starting_lba: partition.start / SECTOR,
            ending_lba: (partition.start + partition.size) / SECTOR - 1,
            attribute_bits: 0,
            partition_name: partition.name.as_str().into(),
        };
    }
    gpt.write_into(&mut device)?;
    Ok(())
}

/// A GUID's bytes on the disk: its first three fields are little-endian.
fn guid(text: &str) -> Result<[u8; 16]> {
    let bytes = hex::decode(text.replace('-', "")).ok();
    let bytes = bytes.and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    let mut guid = bytes.with_context(|| format!("{text} is no GUID"))?;
    guid[..4].reverse();
    guid[4..6].reverse();
    guid[6..8].reverse();
    Ok(guid)
}

/// A master boot record without boot code: signature at 440, four entries of 16
/// bytes from 446, the mark 0x55 0xaa. Entries are addressed by sector; their
/// cylinder fields hold the largest value, as is usual beyond 8 GB.
fn mbr(signature: u32, partitions: &[Partition]) -> Result<[u8; 512]> {
    ensure!(
        partitions.len() <= 4,
        "an MBR holds 4 partitions, the layout has {}",
        partitions.len()
    );
    let mut sector = [0; 512];
    sector[440..444].copy_from_slice(&signature.to_le_bytes());
    for (partition, entry) in partitions.iter().zip(sector[446..510].chunks_mut(16)) {
        let start = u32::try_from(partition.start / SECTOR)
            .context("placing a partition beyond 2 TiB of an MBR")?;
        let sectors = u32::try_from(partition.size / SECTOR)
            .context("sizing a partition beyond 2 TiB of an MBR")?;
        entry[1..4].copy_from_slice(&[0xfe, 0xff, 0xff]);
        entry[4] = match partition.file_system {
            FileSystem::Fat32 { .. } => 0x0c,
            _ => 0x83,
        };
        entry[5..8].copy_from_slice(&[0xfe, 0xff, 0xff]);
        entry[8..12].copy_from_slice(&start.to_le_bytes());
        entry[12..16].copy_from_slice(&sectors.to_le_bytes());
    }
    sector[510] = 0x55;
    sector[511] = 0xaa;
    Ok(sector)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Disk, TableKind};
    use crate::export::disk::layout::Identity;
    use crate::images::image::table::read;

    fn written(table: TableKind) -> (File, Layout) {
        let disk = Disk {
            table,
            ..Disk::default()
        };
        let mut layout = Layout::new(&Identity::new(1, "a"), &disk, 4 << 20);
        layout.partitions[1].size = 8 << 20;
        layout.place().unwrap();
        let file = tempfile::tempfile().unwrap();
        file.set_len(layout.size()).unwrap();
        write(&layout, &file).unwrap();
        (file, layout)
    }

    #[test]
    fn written_table_reads_back() {
        for table in [TableKind::Mbr, TableKind::Gpt] {
            let (file, layout) = written(table);
            let found = read(&file, layout.size()).unwrap().partitions;
            let found: Vec<_> = found.iter().map(|e| (e.start, e.size)).collect();
            assert_eq!(found, [(4 << 20, 4 << 20), (8 << 20, 8 << 20)], "{table:?}");
        }
    }

    /// Both tables to the byte, as `gpt` 4.1 wrote them.
    #[test]
    fn the_bytes_of_a_gpt_are_those_of_ever() {
        use sha2::{Digest, Sha256};
        let (file, layout) = written(TableKind::Gpt);
        let size = usize::try_from(layout.size()).unwrap();
        let mut bytes = vec![0; size];
        file.read_exact_at(&mut bytes, 0).unwrap();
        let sum = hex::encode(Sha256::digest(&bytes));
        assert_eq!(
            sum,
            "701f44d8afcdd620f9e6ad85e064e5f09558da618f315e1c9c2b2613a035ba38"
        );
    }

    #[test]
    fn a_grown_image_is_still_read() {
        let (file, layout) = written(TableKind::Gpt);
        file.set_len(layout.size() * 2).unwrap();
        let found = read(&file, layout.size() * 2).unwrap();
        assert_eq!(found.partitions.len(), 2);
    }
}
