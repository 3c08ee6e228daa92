//! Which file system a partition holds, by its magic number.
//!
//! ext4: super.rst; squashfs, btrfs, erofs, f2fs, xfs: the kernel's fs/squashfs/squashfs_fs.h,
//! include/uapi/linux/btrfs_tree.h, fs/erofs/erofs_fs.h, include/linux/f2fs_fs.h,
//! fs/xfs/libxfs/xfs_format.h; swap: mkswap(8); LUKS: its on-disk format, version 2; LVM:
//! lib/format_text/layout.h of lvm2; NTFS and exFAT: the name in the boot sector.

use super::disk::Slice;
use super::erofs::Erofs;
use super::ext4::{self, Ext4, text};
use super::fat::Fat;
use super::squashfs::Squashfs;
use super::table::uuid;
use super::tree::{Reader, Tree};
use crate::base::bytes::{u16_at, u32_at, u64_at};
use anyhow::Result;
use serde::Serialize;

/// A file system's facts; sizes in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct FileSystem {
    /// As `mount -t` or `blkid` calls it; `unknown` if nothing was recognised.
    pub(crate) kind: &'static str,
    pub(crate) label: Option<String>,
    pub(crate) uuid: Option<String>,
    pub(crate) size: Option<u64>,
    pub(crate) used: Option<u64>,
    pub(crate) free: Option<u64>,
    /// Why something cannot be said.
    pub(crate) note: Option<String>,
}

/// A file system whose files can be read.
pub(crate) enum Files {
    Tree(Tree),
    Fat(Box<Fat>),
    None,
}

impl FileSystem {
    fn new(kind: &'static str) -> Self {
        Self {
            kind,
            ..Self::default()
        }
    }

    fn named(mut self, label: String, uuid: String) -> Self {
        self.label = Some(label).filter(|label| !label.is_empty());
        self.uuid = Some(uuid).filter(|uuid| !uuid.is_empty());
        self
    }

    /// Why the files of partition `number` cannot be read; `None` if they can, or it has none.
    pub(crate) fn unread(&self, number: u32) -> Option<String> {
        match (self.kind, &self.note) {
            (kind, Some(note)) => Some(format!(
                "partition {number} ({kind}) cannot be read: {note}"
            )),
            (
                "vfat" | "ext2" | "ext3" | "ext4" | "squashfs" | "erofs" | "swap" | "extended"
                | "unknown",
                None,
            ) => None,
            (kind, None) => Some(format!(
                "partition {number} is {kind}, whose files this command cannot read"
            )),
        }
    }

    fn sized(mut self, size: u64, used: u64) -> Self {
        self.size = Some(size);
        self.used = Some(used.min(size));
        self.free = Some(size.saturating_sub(used));
        self
    }
}

/// Bytes from a partition's beginning in which its kind can be told.
pub(crate) const LOOKED_AT: u64 = 68 << 10;

/// Looks at the beginning of a partition. What is damaged is a note in the facts.
///
/// # Errors
/// When it cannot be read at all.
pub(crate) fn probe(slice: Slice) -> Result<(FileSystem, Files)> {
    let mut b = vec![0; usize::try_from(slice.size.min(LOOKED_AT))?];
    slice.read_at(&mut b, 0)?;
    b.resize(usize::try_from(LOOKED_AT)?, 0);
    if u16_at(&b, 0x438) == 0xef53 {
        return Ok(ext(slice));
    }
    if let Some(found) = by_magic(&b) {
        return Ok(match found.kind {
            "squashfs" => with(found, Squashfs::new(slice)),
            "erofs" => with(found, Erofs::new(slice)),
            _ => (found, Files::None),
        });
    }
    let name = b[54..57] == *b"FAT" || b[82..87] == *b"FAT32";
    if name && b[510..512] == [0x55, 0xaa] {
        return Ok(fat(slice));
    }
    Ok((FileSystem::new("unknown"), Files::None))
}

/// Those whose facts are in their first bytes.
fn by_magic(b: &[u8]) -> Option<FileSystem> {
    Some(if &b[0..4] == b"hsqs" {
        FileSystem::new("squashfs").sized(u64_at(b, 40), u64_at(b, 40))
    } else if u32_at(b, 1024) == 0xe0f5_e1e2 {
        let used = u64::from(u32_at(b, 1024 + 36)) << (b[1024 + 12] & 31);
        FileSystem::new("erofs")
            .named(text(&b[1024 + 64..1024 + 80]), uuid(&b[1024 + 48..]))
            .sized(used, used)
    } else if &b[0x1_0040..0x1_0048] == b"_BHRfS_M" {
        FileSystem::new("btrfs")
            .named(text(&b[0x1_012b..0x1_022b]), uuid(&b[0x1_0020..]))
            .sized(u64_at(b, 0x1_0070), u64_at(b, 0x1_0078))
    } else if u32_at(b, 1024) == 0xf2f5_2010 {
        let label: Vec<u16> = (0..512).map(|n| u16_at(b, 1024 + 124 + 2 * n)).collect();
        let label = label.split(|unit| *unit == 0).next().unwrap_or_default();
        FileSystem::new("f2fs").named(String::from_utf16_lossy(label), uuid(&b[1024 + 108..]))
    } else if &b[0..4] == b"XFSB" {
        FileSystem::new("xfs").named(text(&b[108..120]), uuid(&b[32..]))
    } else if &b[0..6] == b"LUKS\xba\xbe" {
        let label = if b[7] == 2 {
            text(&b[24..72])
        } else {
            String::new()
        };
        FileSystem::new("crypto_LUKS").named(label, text(&b[168..208]))
    } else if (0..4).any(|n| {
        &b[n * 512..n * 512 + 8] == b"LABELONE" && &b[n * 512 + 24..n * 512 + 32] == b"LVM2 001"
    }) {
        FileSystem::new("LVM2_member")
    } else if &b[3..11] == b"NTFS    " {
        FileSystem::new("ntfs")
    } else if &b[3..11] == b"EXFAT   " {
        FileSystem::new("exfat")
    } else if [4 << 10, 16 << 10, 64 << 10]
        .iter()
        .any(|page| &b[page - 10..*page] == b"SWAPSPACE2")
    {
        // The mark is at the end of the first page, whose size is the machine's.
        FileSystem::new("swap").named(text(&b[1052..1068]), uuid(&b[1036..]))
    } else {
        return None;
    })
}

fn ext(slice: Slice) -> (FileSystem, Files) {
    let sb = match ext4::superblock(&slice) {
        Ok(sb) => sb,
        Err(error) => return (noted("ext4", &error), Files::None),
    };
    let facts = FileSystem::new(sb.kind())
        .named(sb.label.clone(), sb.uuid.clone())
        .sized(sb.size(), sb.size().saturating_sub(sb.free()));
    with(facts, Ext4::new(slice, sb))
}

/// The facts with the files, or with why there are none.
fn with(facts: FileSystem, reader: Result<impl Reader + 'static>) -> (FileSystem, Files) {
    match reader {
        Ok(files) => (facts, Files::Tree(Tree::new(files))),
        Err(error) => {
            let note = Some(format!("{error:#}"));
            (FileSystem { note, ..facts }, Files::None)
        }
    }
}

fn fat(slice: Slice) -> (FileSystem, Files) {
    let facts = || -> Result<(FileSystem, Fat)> {
        let fat = Fat::open(slice)?;
        let (size, free) = fat.space()?;
        let (label, serial) = fat.identity();
        let mut facts = FileSystem::new("vfat").named(label.trim().to_owned(), serial);
        facts.size = Some(size);
        facts.free = free;
        facts.used = free.map(|free| size - free);
        Ok((facts, fat))
    };
    match facts() {
        Ok((facts, fat)) => (facts, Files::Fat(Box::new(fat))),
        Err(error) => (noted("vfat", &error), Files::None),
    }
}

fn noted(kind: &'static str, error: &anyhow::Error) -> FileSystem {
    FileSystem {
        note: Some(format!("{error:#}")),
        ..FileSystem::new(kind)
    }
}
