//! Inodes: compact ones of 32 bytes, and extended ones of 64.

use super::Erofs;
use crate::base::bytes::{u16_at, u32_at, u64_at};
use crate::images::image::tree::Kind;
use anyhow::{Context, Result, bail, ensure};

/// Inodes are at multiples of this, which their numbers count.
const SLOT: u64 = 32;

/// How the content of an inode is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// One stretch of blocks.
    Plain,
    /// The same, and the last block right behind the inode.
    Inline,
    Chunks,
    /// Compressed, with an index of eight bytes for each block of the content.
    Full,
    /// The same with indexes of two or four bytes.
    Compact,
}

/// One inode.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub(super) number: u64,
    pub(super) kind: Kind,
    pub(super) layout: Layout,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds.
    pub(super) mtime: i64,
    pub(super) size: u64,
    /// The first block, the form of chunks, or a device.
    pub(super) value: u32,
    /// The bytes of the disk at which attributes begin and end; the content follows.
    pub(super) attributes: (u64, u64),
}

impl Own {
    /// Major and minor number of a device.
    pub(super) fn device(&self) -> (u32, u32) {
        match self.kind {
            Kind::CharDevice | Kind::BlockDevice => (
                self.value >> 8 & 0xfff,
                self.value & 0xff | self.value >> 12 & 0xf_ff00,
            ),
            _ => (0, 0),
        }
    }

    /// The byte of the disk behind the inode and its attributes.
    pub(super) fn end(&self) -> u64 {
        self.attributes.1
    }
}

impl Erofs {
    /// The inode `number`.
    pub(super) fn own(&self, number: u64) -> Result<Own> {
        self.parse(number)
            .with_context(|| format!("reading inode {number}"))
    }

    fn parse(&self, number: u64) -> Result<Own> {
        let at = number.checked_mul(SLOT);
        let at = at.and_then(|at| at.checked_add(self.sb.inodes));
        let at = at.context("its number is out of range")?;
        let mut i = [0; 64];
        self.read(at, &mut i[..32])?;
        let format = u16_at(&i, 0);
        let extended = format & 1 != 0;
        if extended {
            self.read(at + 32, &mut i[32..])?;
        }
        ensure!(format >> 4 == 0, "it is of the unknown form {format:#x}");
        let layout = match format >> 1 {
            0 => Layout::Plain,
            1 => Layout::Full,
            2 => Layout::Inline,
            3 => Layout::Compact,
            4 => Layout::Chunks,
            other => bail!("its content is kept in the unknown way {other}"),
        };
        let mode = u16_at(&i, 4);
        let kind = Kind::of_mode(mode);
        let count = u64::from(u16_at(&i, 2));
        let begin = at + if extended { 64 } else { 32 };
        // Twelve bytes of a header, which counts as one, and four bytes for each one more.
        let length = if count == 0 { 0 } else { 12 + 4 * (count - 1) };
        let mut own = Own {
            number,
            kind: kind.with_context(|| format!("it is of the unknown type {:#x}", mode >> 12))?,
            layout,
            mode: mode & 0o7777,
            uid: u32::from(u16_at(&i, 24)),
            gid: u32::from(u16_at(&i, 26)),
            mtime: signed(self.sb.built),
            size: u64::from(u32_at(&i, 8)),
            value: u32_at(&i, 16),
            attributes: (begin, begin + length),
        };
        if extended {
            own.size = u64_at(&i, 8);
            own.uid = u32_at(&i, 24);
            own.gid = u32_at(&i, 28);
            own.mtime = signed(u64_at(&i, 32));
        }
        Ok(own)
    }
}

/// A time stamp, which may be before 1970.
fn signed(seconds: u64) -> i64 {
    i64::from_le_bytes(seconds.to_le_bytes())
}
