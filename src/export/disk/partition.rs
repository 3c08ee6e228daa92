//! Reading and writing the partition table.

use super::layout::{FileSystem, Layout, Partition, SECTOR, Table};
use anyhow::{Context, Result, ensure};
use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::{GptConfig, partition_types};
use std::collections::BTreeMap;
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

/// A GPT with its copy at the end of the image, and the MBR that protects it.
fn write_gpt(guid: &str, layout: &Layout, image: &File) -> Result<()> {
    let sectors = u32::try_from(layout.size() / SECTOR - 1).unwrap_or(u32::MAX);
    let mut device = image;
    ProtectiveMBR::with_lb_size(sectors).overwrite_lba0(&mut device)?;
    let mut disk = GptConfig::new()
        .writable(true)
        .logical_block_size(LogicalBlockSize::Lb512)
        .create_from_device(device, Some(guid.parse()?))?;
    let mut entries = BTreeMap::new();
    for (number, partition) in (1..).zip(&layout.partitions) {
        let kind = match partition.file_system {
            // The type the boot ROM and its bootloader look for; systemd mounts
            // nothing of this type by itself.
            FileSystem::Fat32 { .. } => partition_types::BASIC,
            _ => partition_types::LINUX_FS,
        };
        let entry = gpt::partition::Partition {
            part_type_guid: kind,
            part_guid: partition.guid.parse()?,
            first_lba: partition.start / SECTOR,
            last_lba: (partition.start + partition.size) / SECTOR - 1,
            flags: 0,
            name: partition.name.clone(),
        };
        entries.insert(number, entry);
    }
    disk.update_partitions(entries)?;
    disk.write()?;
    Ok(())
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

    #[test]
    fn a_grown_image_is_still_read() {
        let (file, layout) = written(TableKind::Gpt);
        file.set_len(layout.size() * 2).unwrap();
        let found = read(&file, layout.size() * 2).unwrap();
        assert_eq!(found.partitions.len(), 2);
    }
}
