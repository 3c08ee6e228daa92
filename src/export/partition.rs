//! Writing the partition table.

use super::layout::{FileSystem, Layout, Partition, SECTOR, Table};
use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Writes the table of `layout` into `image`, which has its full size already.
pub(crate) fn write(layout: &Layout, image: &File) -> Result<()> {
    let Table::Mbr { signature } = layout.table;
    let sector = mbr(signature, &layout.partitions)?;
    image
        .write_all_at(&sector, 0)
        .context("writing the partition table")
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
            FileSystem::Ext4 { .. } => 0x83,
        };
        entry[5..8].copy_from_slice(&[0xfe, 0xff, 0xff]);
        entry[8..12].copy_from_slice(&start.to_le_bytes());
        entry[12..16].copy_from_slice(&sectors.to_le_bytes());
    }
    sector[510] = 0x55;
    sector[511] = 0xaa;
    Ok(sector)
}

/// A partition found in an image: MBR type byte, start and size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: u8,
    pub(crate) start: u64,
    pub(crate) size: u64,
}

/// Reads the used entries of an MBR from the first sector of an image.
pub(crate) fn read(image: &File) -> Result<Vec<Entry>> {
    let mut sector = [0; 512];
    image
        .read_exact_at(&mut sector, 0)
        .context("reading the partition table")?;
    ensure!(
        sector[510..] == [0x55, 0xaa],
        "the image has no MBR partition table"
    );
    let number = |b: &[u8]| u64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]])) * SECTOR;
    Ok(sector[446..510]
        .chunks(16)
        .filter(|e| e[4] != 0)
        .map(|e| Entry {
            kind: e[4],
            start: number(&e[8..12]),
            size: number(&e[12..16]),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::layout::Identity;

    #[test]
    fn written_table_reads_back() {
        let layout = Layout::boot_and_root(&Identity::new(1, "a"), 4 << 20, 8 << 20, 100);
        let file = tempfile::tempfile().unwrap();
        write(&layout, &file).unwrap();
        let entries = read(&file).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(
            (entries[0].kind, entries[0].start, entries[0].size),
            (0x0c, 4 << 20, 4 << 20)
        );
        assert_eq!(
            (entries[1].kind, entries[1].start, entries[1].size),
            (0x83, 8 << 20, 8 << 20)
        );
    }
}
