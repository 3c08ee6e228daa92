//! The facts of a file system.

use crate::base::bytes::{u16_at, u32_at, u64_at};
use crate::images::image::disk::Slice;
use anyhow::{Context, Result, ensure};

const ZERO_PADDING: u32 = 0x1;
const SEVERAL_DEVICES: u32 = 0x8;
const FRAGMENTS: u32 = 0x20;

/// Zero padding, large physical clusters, chunks, devices or second heads, inline ends, fragments
/// or shared data, prefixes of attributes.
const KNOWN: u32 = 0x7f;

/// What the superblock says.
pub(super) struct Superblock {
    /// Bytes of a block, and their logarithm.
    pub(super) block: u64,
    pub(super) block_log: u32,
    /// The number of `/`.
    pub(super) root: u64,
    /// The time stamp of compact inodes, seconds.
    pub(super) built: u64,
    /// First bytes of the inodes and of the shared attributes.
    pub(super) inodes: u64,
    pub(super) attributes: u64,
    /// Whether compressed blocks end where their data does.
    pub(super) padded: bool,
    /// The inode with the ends of files.
    pub(super) packed: Option<u64>,
    /// How many long prefixes of attributes there are, and the byte at which they begin.
    pub(super) prefixes: (u8, u64),
}

impl Superblock {
    /// The superblock of `disk`, whose mark was seen.
    ///
    /// # Errors
    /// When no file system can have these numbers, or it is of a kind that is not read.
    pub(super) fn read(disk: &Slice) -> Result<Self> {
        let mut s = [0; 128];
        disk.read_at(&mut s, 1024)
            .context("reading the superblock")?;
        let block_log = u32::from(s[12]);
        ensure!(
            (9..=16).contains(&block_log),
            "its block size is out of range"
        );
        let features = u32_at(&s, 80);
        let unknown = features & !KNOWN;
        ensure!(unknown == 0, "it has unknown features {unknown:#x}");
        // The bit has two meanings; only one of them has devices.
        ensure!(
            features & SEVERAL_DEVICES == 0 || u16_at(&s, 86) == 0,
            "a part of it is on another device"
        );
        // Directories can have larger blocks in the format, but nobody makes such.
        ensure!(
            s[90] == 0,
            "its directories have blocks that this command does not know"
        );
        let size = u64::from(u32_at(&s, 36)) << block_log;
        ensure!(
            size <= disk.size,
            "it claims {size} bytes, and {} are there",
            disk.size
        );
        let packed = u64_at(&s, 96);
        Ok(Self {
            block: 1 << block_log,
            block_log,
            root: u64::from(u16_at(&s, 14)),
            built: u64_at(&s, 24),
            inodes: u64::from(u32_at(&s, 40)) << block_log,
            attributes: u64::from(u32_at(&s, 44)) << block_log,
            padded: features & ZERO_PADDING != 0,
            packed: Some(packed).filter(|packed| features & FRAGMENTS != 0 && *packed != 0),
            prefixes: (s[91], u64::from(u32_at(&s, 92)) * 4),
        })
    }
}
