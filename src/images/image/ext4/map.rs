//! Where a file's bytes are: ifork.rst in the kernel's Documentation/filesystems/ext4.
//!
//! A map is bounded by what a file can have: its pieces come in order, each block at most
//! once, and none beyond the file system.

use super::{Ext4, Own};
use crate::base::bytes::{u16_at, u32_at};
use anyhow::{Context, Result, ensure};
use std::collections::HashSet;

/// Pieces of a file; more would need a file that is broken into single blocks throughout.
const MOST_EXTENTS: usize = 1 << 19;

/// Blocks of a map that are read for one file.
const MOST_NODES: usize = 1 << 16;

/// A stretch of a file's blocks: the first one in the file, how many, the first one on the
/// disk; `None` if allocated but never written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) logical: u64,
    pub(super) count: u64,
    pub(super) physical: Option<u64>,
}

/// A map in the making.
pub(super) struct Walk<'a> {
    fs: &'a Ext4,
    extents: Vec<Extent>,
    /// Blocks of the map that were read.
    seen: HashSet<u64>,
    /// Blocks that the file has by now.
    mapped: u64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(fs: &'a Ext4) -> Self {
        Self {
            fs,
            extents: Vec::new(),
            seen: HashSet::new(),
            mapped: 0,
        }
    }

    /// The pieces of a file made of extents.
    pub(super) fn extents(mut self, inode: &Own) -> Result<Vec<Extent>> {
        self.tree(inode.inside(), 5)?;
        Ok(self.extents)
    }

    /// The pieces of a file of ext2 or ext3: twelve blocks, and three trees of block numbers.
    pub(super) fn blocks(mut self, inode: &Own) -> Result<Vec<Extent>> {
        let end = inode.size.div_ceil(self.fs.sb.block);
        let per_block = self.fs.sb.block / 4;
        for index in 0..12_u64.min(end) {
            let number = u64::from(u32_at(inode.inside(), usize::try_from(index * 4)?));
            self.one(index, number)?;
        }
        let mut first = 12;
        for level in 1..=3_u32 {
            if first >= end {
                break;
            }
            let root = u64::from(u32_at(inode.inside(), 44 + 4 * level as usize));
            self.indirect(root, level, first, end)?;
            first += per_block.pow(level);
        }
        Ok(self.extents)
    }

    /// Adds the blocks below one block of numbers, of `level` levels, that begins at the
    /// file's block `first`.
    fn indirect(&mut self, block: u64, level: u32, first: u64, end: u64) -> Result<()> {
        if block == 0 {
            return Ok(());
        }
        let numbers = self.node(block)?;
        let span = (self.fs.sb.block / 4).pow(level - 1);
        for (index, number) in (0_u64..).zip(numbers.chunks_exact(4)) {
            let at = first + index * span;
            if at >= end {
                break;
            }
            let number = u64::from(u32_at(number, 0));
            if level == 1 {
                self.one(at, number)?;
            } else {
                self.indirect(number, level - 1, at, end)?;
            }
        }
        Ok(())
    }

    /// Adds one block; 0 is a hole.
    fn one(&mut self, logical: u64, physical: u64) -> Result<()> {
        if physical == 0 {
            return Ok(());
        }
        if let Some(last) = self.extents.last_mut() {
            let next = last.physical.map(|physical| physical + last.count);
            if last.logical + last.count == logical && next == Some(physical) {
                last.count += 1;
                self.mapped += 1;
                return self.check(physical, 1);
            }
        }
        self.add(Extent {
            logical,
            count: 1,
            physical: Some(physical),
        })
    }

    /// Adds the extents below one node of a tree of at most `levels` levels.
    fn tree(&mut self, node: &[u8], levels: u16) -> Result<()> {
        ensure!(u16_at(node, 0) == 0xf30a, "an extent tree is damaged");
        let (entries, depth) = (usize::from(u16_at(node, 2)), u16_at(node, 6));
        ensure!(
            depth <= levels && 12 + entries * 12 <= node.len(),
            "an extent tree is damaged"
        );
        for entry in node[12..].chunks_exact(12).take(entries) {
            if depth == 0 {
                let count = u64::from(u16_at(entry, 4));
                let physical = u64::from(u32_at(entry, 8)) | u64::from(u16_at(entry, 6)) << 32;
                // Counts above 32 768 mark what was allocated but never written.
                let written = count <= 0x8000;
                self.add(Extent {
                    logical: u64::from(u32_at(entry, 0)),
                    count: if written { count } else { count - 0x8000 },
                    physical: written.then_some(physical),
                })?;
            } else {
                let child = u64::from(u32_at(entry, 4)) | u64::from(u16_at(entry, 8)) << 32;
                let block = self.node(child)?;
                self.tree(&block, depth - 1)?;
            }
        }
        Ok(())
    }

    /// Reads a block of the map, each one once.
    fn node(&mut self, block: u64) -> Result<Vec<u8>> {
        ensure!(
            self.seen.insert(block) && self.seen.len() <= MOST_NODES,
            "its map leads in a circle"
        );
        self.check(block, 1)?;
        self.fs.block(block)
    }

    fn add(&mut self, extent: Extent) -> Result<()> {
        let end = self.extents.last().map_or(0, |e| e.logical + e.count);
        ensure!(
            extent.logical >= end && self.extents.len() < MOST_EXTENTS,
            "its map is damaged"
        );
        if let Some(physical) = extent.physical {
            self.mapped += extent.count;
            self.check(physical, extent.count)?;
        }
        if extent.count > 0 {
            self.extents.push(extent);
        }
        Ok(())
    }

    /// Whether blocks are in the file system, and the file has not more than that.
    fn check(&self, physical: u64, count: u64) -> Result<()> {
        let blocks = self.fs.sb.blocks;
        let end = physical
            .checked_add(count)
            .context("following a file's map")?;
        ensure!(
            end <= blocks && self.mapped <= blocks,
            "its map leads out of the file system"
        );
        Ok(())
    }
}
