//! The facts of a file system.

use crate::base::bytes::{u16_at, u32_at, u64_at};
use crate::images::image::disk::Slice;
use crate::images::image::unpack::Method;
use anyhow::{Context, Result, bail, ensure};

/// Blocks with fragments; more would be many terabytes.
const MOST_FRAGMENTS: u32 = 1 << 24;

/// What the superblock says.
pub(super) struct Superblock {
    /// Bytes of a block of data.
    pub(super) block: usize,
    pub(super) method: Method,
    /// Blocks with fragments, and users and groups.
    pub(super) fragments: u32,
    pub(super) ids: u16,
    /// The number of `/`.
    pub(super) root: u64,
    /// First byte after the file system.
    pub(super) end: u64,
    /// First bytes of the tables.
    pub(super) id_table: u64,
    pub(super) attribute_table: Option<u64>,
    pub(super) inode_table: u64,
    pub(super) directory_table: u64,
    pub(super) fragment_table: u64,
}

impl Superblock {
    /// The superblock of `disk`, whose mark was seen.
    ///
    /// # Errors
    /// When no file system can have these numbers, or it is of a kind that is not read.
    pub(super) fn read(disk: &Slice) -> Result<Self> {
        let mut s = [0; 96];
        disk.read_at(&mut s, 0).context("reading the superblock")?;
        let (major, minor) = (u16_at(&s, 28), u16_at(&s, 30));
        ensure!(
            (major, minor) == (4, 0),
            "it has version {major}.{minor}, and this command reads 4.0"
        );
        let log = u16_at(&s, 22);
        let block = u32_at(&s, 12);
        ensure!(
            (12..=20).contains(&log) && block == 1 << log,
            "its block size is out of range"
        );
        let found = Self {
            block: usize::try_from(block)?,
            method: method(u16_at(&s, 20))?,
            fragments: u32_at(&s, 16),
            ids: u16_at(&s, 26),
            root: u64_at(&s, 32),
            end: u64_at(&s, 40),
            id_table: u64_at(&s, 48),
            attribute_table: Some(u64_at(&s, 56)).filter(|at| *at != u64::MAX),
            inode_table: u64_at(&s, 64),
            directory_table: u64_at(&s, 72),
            fragment_table: u64_at(&s, 80),
        };
        ensure!(
            found.end <= disk.size,
            "it claims {} bytes, and {} are there",
            found.end,
            disk.size
        );
        ensure!(
            found.inode_table < found.directory_table
                && found.directory_table < found.end
                && found.fragments <= MOST_FRAGMENTS,
            "its superblock is damaged"
        );
        Ok(found)
    }
}

fn method(number: u16) -> Result<Method> {
    Ok(match number {
        1 => Method::Zlib,
        4 => Method::Xz,
        5 => Method::Lz4,
        6 => Method::Zstd,
        2 => bail!("it is compressed by lzma, which this command cannot read"),
        3 => bail!("it is compressed by lzo, which this command cannot read"),
        _ => bail!("it is compressed in an unknown way, {number}"),
    })
}
