//! Which file system a partition holds, by its magic number.
//!
//! ext4: super.rst; squashfs, btrfs, erofs: the kernel's fs/squashfs/squashfs_fs.h,
//! include/uapi/linux/btrfs_tree.h, fs/erofs/erofs_fs.h; swap: mkswap(8).

use super::disk::Slice;
use super::ext4::{Ext4, text};
use super::fat::Fat;
use super::table::uuid;
use crate::base::bytes::{u16_at, u32_at};
use anyhow::Result;
use serde::Serialize;

/// A file system's facts; sizes in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct FileSystem {
    /// As `mount -t` calls it; `unknown` if nothing was recognised.
    pub(crate) kind: &'static str,
    pub(crate) label: Option<String>,
    pub(crate) uuid: Option<String>,
    pub(crate) size: Option<u64>,
    pub(crate) used: Option<u64>,
    pub(crate) free: Option<u64>,
    /// Why something cannot be said.
    pub(crate) note: Option<String>,
}

/// Looks at the beginning of a partition.
pub(crate) fn probe(slice: Slice) -> Result<FileSystem> {
    let mut b = vec![0; usize::try_from(slice.size.min(68 << 10))?];
    slice.read_at(&mut b, 0)?;
    b.resize(68 << 10, 0);
    let named = |label: String| Some(label).filter(|label| !label.is_empty());
    Ok(if u16_at(&b, 0x438) == 0xef53 {
        ext4(slice)
    } else if &b[0..4] == b"hsqs" {
        let used = u64_at(&b, 40);
        FileSystem {
            kind: "squashfs",
            size: Some(used),
            used: Some(used),
            free: Some(0),
            ..FileSystem::default()
        }
    } else if u32_at(&b, 1024) == 0xe0f5_e1e2 {
        let used = u64::from(u32_at(&b, 1024 + 36)) << (b[1024 + 12] & 31);
        FileSystem {
            kind: "erofs",
            label: named(text(&b[1024 + 64..1024 + 80])),
            uuid: Some(uuid(&b[1024 + 48..])),
            size: Some(used),
            used: Some(used),
            free: Some(0),
            note: None,
        }
    } else if &b[0x1_0040..0x1_0048] == b"_BHRfS_M" {
        let (size, used) = (u64_at(&b, 0x1_0070), u64_at(&b, 0x1_0078));
        FileSystem {
            kind: "btrfs",
            label: named(text(&b[0x1_012b..0x1_022b])),
            uuid: Some(uuid(&b[0x1_0020..])),
            size: Some(size),
            used: Some(used),
            free: Some(size.saturating_sub(used)),
            note: None,
        }
    } else if &b[4086..4096] == b"SWAPSPACE2" {
        FileSystem {
            kind: "swap",
            label: named(text(&b[1052..1068])),
            uuid: Some(uuid(&b[1036..])),
            ..FileSystem::default()
        }
    } else if b[510..512] == [0x55, 0xaa] && (b[54..57] == *b"FAT" || b[82..87] == *b"FAT32") {
        fat(slice)
    } else {
        FileSystem {
            kind: "unknown",
            ..FileSystem::default()
        }
    })
}

fn ext4(slice: Slice) -> FileSystem {
    match Ext4::open(slice) {
        Ok(fs) => FileSystem {
            kind: "ext4",
            label: Some(fs.label.clone()).filter(|label| !label.is_empty()),
            uuid: Some(fs.uuid.clone()),
            size: Some(fs.size()),
            used: Some(fs.size().saturating_sub(fs.free())),
            free: Some(fs.free()),
            note: None,
        },
        Err(error) => FileSystem {
            kind: "ext4",
            note: Some(format!("{error:#}")),
            ..FileSystem::default()
        },
    }
}

fn fat(slice: Slice) -> FileSystem {
    let facts = || -> Result<FileSystem> {
        let fat = Fat::open(slice)?;
        let (size, free) = fat.space()?;
        let (label, serial) = fat.identity();
        Ok(FileSystem {
            kind: "vfat",
            label: Some(label.trim().to_owned()).filter(|label| !label.is_empty()),
            uuid: Some(serial),
            size: Some(size),
            used: Some(size - free),
            free: Some(free),
            note: None,
        })
    };
    facts().unwrap_or_else(|error| FileSystem {
        kind: "vfat",
        note: Some(format!("{error:#}")),
        ..FileSystem::default()
    })
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
