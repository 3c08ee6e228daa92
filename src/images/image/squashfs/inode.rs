//! Inodes: fourteen types, the upper seven of which have more fields than the lower ones.

use super::Squashfs;
use super::metadata::Place;
use crate::base::bytes::{u16_at, u32_at, u64_at};
use crate::images::image::tree::Kind;
use anyhow::{Context, Result, bail, ensure};

/// Bytes of the fields that all inodes have.
const COMMON: usize = 16;

/// "None" where the number of a fragment or of attributes would be.
const NONE: u32 = u32::MAX;

/// One inode.
pub(super) struct Own {
    pub(super) kind: Kind,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: i64,
    pub(super) size: u64,
    pub(super) device: (u32, u32),
    /// Index into the table of attributes.
    pub(super) attributes: Option<u32>,
    /// What a file's first block, or a directory's block of metadata, is; from the beginning of
    /// the disk or of the table.
    pub(super) start: u64,
    /// A file's fragment: its index, and the byte at which it begins.
    pub(super) fragment: Option<(u32, u32)>,
    /// Where a directory begins in its block.
    pub(super) offset: u16,
    /// Behind the fields: the sizes of blocks, the target.
    pub(super) rest: Place,
}

impl Squashfs {
    /// The inode `number`.
    pub(super) fn own(&self, number: u64) -> Result<Own> {
        self.parse(number)
            .with_context(|| format!("reading inode {number:#x}"))
    }

    fn parse(&self, number: u64) -> Result<Own> {
        let mut rest = Place::of(self.sb.inode_table, number)?;
        ensure!(
            rest.block < self.sb.directory_table,
            "it lies beyond the inodes"
        );
        let mut common = [0; COMMON];
        self.fill_metadata(&mut rest, &mut common)?;
        let kind_number = u16_at(&common, 0);
        let (kind, fields) = kind(kind_number)?;
        let mut f = vec![0; fields];
        self.fill_metadata(&mut rest, &mut f)?;
        let id = |at| {
            let index = u16_at(&common, at);
            let id = self.ids.get(usize::from(index));
            id.copied()
                .with_context(|| format!("there is no user or group {index}"))
        };
        let mut own = Own {
            kind,
            mode: u16_at(&common, 2) & 0o7777,
            uid: id(4)?,
            gid: id(6)?,
            mtime: i64::from(u32_at(&common, 8)),
            size: 0,
            device: (0, 0),
            attributes: None,
            start: 0,
            fragment: None,
            offset: 0,
            rest,
        };
        own.fill(kind_number, &f);
        if kind_number == 10 {
            // The number follows the target.
            let mut place = own.rest.clone();
            ensure!(own.size <= super::LONGEST_TARGET, "its target is too long");
            let mut skipped = vec![0; usize::try_from(own.size)?];
            self.fill_metadata(&mut place, &mut skipped)?;
            let mut index = [0; 4];
            self.fill_metadata(&mut place, &mut index)?;
            own.attributes = Some(u32::from_le_bytes(index));
        }
        own.attributes = own.attributes.filter(|index| *index != NONE);
        Ok(own)
    }
}

impl Own {
    /// Takes the fields of an inode of this type from the bytes that have them.
    fn fill(&mut self, kind: u16, f: &[u8]) {
        let fragment = |at| Some((u32_at(f, at), u32_at(f, at + 4))).filter(|f| f.0 != NONE);
        match kind {
            1 => {
                self.start = u64::from(u32_at(f, 0));
                self.size = u64::from(u16_at(f, 8));
                self.offset = u16_at(f, 10);
            }
            8 => {
                self.size = u64::from(u32_at(f, 4));
                self.start = u64::from(u32_at(f, 8));
                self.offset = u16_at(f, 18);
                self.attributes = Some(u32_at(f, 20));
            }
            2 => {
                self.start = u64::from(u32_at(f, 0));
                self.fragment = fragment(4);
                self.size = u64::from(u32_at(f, 12));
            }
            9 => {
                self.start = u64_at(f, 0);
                self.size = u64_at(f, 8);
                self.fragment = fragment(28);
                self.attributes = Some(u32_at(f, 36));
            }
            3 | 10 => self.size = u64::from(u32_at(f, 4)),
            4 | 5 | 11 | 12 => {
                let device = u32_at(f, 4);
                self.device = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00);
                if kind > 7 {
                    self.attributes = Some(u32_at(f, 8));
                }
            }
            13 | 14 => self.attributes = Some(u32_at(f, 4)),
            _ => {}
        }
    }
}

/// The kind of a type, and the bytes of its fields after the common ones.
fn kind(number: u16) -> Result<(Kind, usize)> {
    Ok(match number {
        1 => (Kind::Directory, 16),
        2 => (Kind::File, 16),
        3 | 10 => (Kind::Symlink, 8),
        4 => (Kind::BlockDevice, 8),
        5 => (Kind::CharDevice, 8),
        6 => (Kind::Fifo, 4),
        7 => (Kind::Socket, 4),
        8 => (Kind::Directory, 24),
        9 => (Kind::File, 40),
        11 => (Kind::BlockDevice, 12),
        12 => (Kind::CharDevice, 12),
        13 => (Kind::Fifo, 8),
        14 => (Kind::Socket, 8),
        _ => bail!("it is of the unknown type {number}"),
    })
}
