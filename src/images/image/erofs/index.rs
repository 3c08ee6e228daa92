//! Where the parts of a compressed file are: an index with an entry for each of its blocks.
//!
//! A *head* entry says where in its block an extent begins, and at which block of the disk it is,
//! compressed or plain. The others lie within an extent; the first of them may say how many blocks
//! of the disk the extent takes.

use super::Erofs;
use super::inode::{Layout, Own};
use crate::base::bytes::{u16_at, u32_at, u64_at};
use anyhow::{Context, Result, bail, ensure};

/// Extents of a file; of the smallest ones, 16 GiB that cannot be compressed.
const MOST_EXTENTS: usize = 1 << 22;

/// Flags of a file (`Z_EROFS_ADVISE_…`).
const SHORT_INDEXES: u16 = 0x1;
const LARGE_CLUSTERS: u16 = 0x6;
const INLINE_END: u16 = 0x8;
const INTERLACED: u16 = 0x10;
const FRAGMENT: u16 = 0x20;

/// Types of entries.
const PLAIN: u8 = 0;
const INSIDE: u8 = 2;

/// A full index: only a part of the extent's data is this file's.
const PARTIAL: u16 = 0x8000;

/// An entry inside of an extent has the extent's blocks instead of a distance.
const HAS_BLOCKS: u32 = 0x800;

/// Bytes of an index that are read at once; a multiple of all kinds of packs.
const PIECE: u64 = 32 << 10;

/// A part of a file that was compressed as one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// Its first byte in the file.
    pub(super) start: u64,
    /// Its first block on the disk, and how many there are.
    pub(super) block: u32,
    pub(super) blocks: u16,
    kind: u8,
    pub(super) partial: bool,
}

impl Extent {
    /// The number of its method; `None` if it is not compressed.
    pub(super) fn method(&self, map: &Map) -> Option<u8> {
        match self.kind {
            PLAIN => None,
            1 => Some(map.methods & 0xf),
            _ => Some(map.methods >> 4),
        }
    }
}

/// Where the last extent is.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// Where it says.
    Own,
    /// Right behind the index: the byte of the disk, and how many.
    Inline(u64, u16),
    /// In the inode with the ends of files, from this byte on.
    Packed(u64),
}

/// The extents of a file.
#[derive(Debug)]
pub(super) struct Map {
    pub(super) extents: Vec<Extent>,
    pub(super) end: End,
    methods: u8,
    /// Whether plain extents begin in their block where they do in the file's.
    pub(super) interlaced: bool,
}

/// An index of packs: groups of entries that share a block number.
struct Packs {
    at: u64,
    entries: u64,
    /// Bytes and entries of a pack.
    bytes: usize,
    group: usize,
}

impl Packs {
    fn new(at: u64, entries: u64, short: bool) -> Self {
        let (bytes, group) = if short { (32, 16) } else { (8, 2) };
        Self {
            at,
            entries,
            bytes,
            group,
        }
    }

    fn end(&self) -> u64 {
        self.at + self.entries.div_ceil(self.group as u64) * self.bytes as u64
    }
}

/// A map in the making.
struct Walk<'a> {
    fs: &'a Erofs,
    size: u64,
    large: bool,
    extents: Vec<Extent>,
    /// Block of the file to which the next entry belongs.
    next: u64,
    /// Whether the last entry was a head.
    after_head: bool,
}

impl Erofs {
    /// Where the parts of the compressed file `own` are.
    pub(super) fn map(&self, own: &Own) -> Result<Map> {
        let at = own.end().next_multiple_of(8);
        let mut h = [0; 8];
        self.read(at, &mut h)?;
        let (advise, index) = (u16_at(&h, 4), at + 8);
        let mut map = Map {
            extents: Vec::new(),
            end: End::Own,
            methods: h[6],
            interlaced: advise & INTERLACED != 0,
        };
        if h[7] & 0x80 != 0 {
            // All of the file is an end.
            map.end = End::Packed(u64_at(&h, 0) & !(1 << 63));
            map.extents.push(Extent {
                start: 0,
                block: 0,
                blocks: 0,
                kind: PLAIN,
                partial: false,
            });
            return Ok(map);
        }
        ensure!(
            h[7] & 0x7f == 0,
            "its index counts units that this command does not know"
        );
        let mut walk = Walk {
            fs: self,
            size: own.size,
            large: advise & LARGE_CLUSTERS != 0,
            extents: Vec::new(),
            next: 0,
            after_head: false,
        };
        let end = if own.layout == Layout::Full {
            walk.full(index + 8)?
        } else {
            walk.compact(index, advise & SHORT_INDEXES != 0)?
        };
        map.extents = walk.extents;
        let first = map.extents.first().is_none_or(|extent| extent.start == 0);
        ensure!(
            first && map.extents.is_empty() == (own.size == 0),
            "its index is damaged"
        );
        if advise & INLINE_END != 0 {
            map.end = End::Inline(end, u16_at(&h, 2));
        } else if advise & FRAGMENT != 0 {
            let last = map.extents.last().filter(|_| own.layout == Layout::Full);
            let high = last.map_or(0, |last| u64::from(last.block) << 32);
            map.end = End::Packed(high | u64::from(u32_at(&h, 0)));
        }
        Ok(map)
    }
}

impl Walk<'_> {
    fn entries(&self) -> u64 {
        self.size.div_ceil(self.fs.sb.block)
    }

    /// Takes an index of eight bytes an entry at byte `at`; returns where it ends.
    fn full(&mut self, at: u64) -> Result<u64> {
        let end = self.entries().checked_mul(8);
        let end = end.and_then(|bytes| at.checked_add(bytes));
        let end = end.context("its index is damaged")?;
        self.pieces(at, end, |walk, piece| {
            for entry in piece.chunks_exact(8) {
                let advise = u16_at(entry, 0);
                match u8::try_from(advise & 3)? {
                    INSIDE => walk.inside(u32::from(u16_at(entry, 4)))?,
                    kind => {
                        let offset = u32::from(u16_at(entry, 2));
                        walk.head(kind, offset, u32_at(entry, 4), advise & PARTIAL != 0)?;
                    }
                }
            }
            Ok(())
        })?;
        Ok(end)
    }

    /// Takes an index of packs at byte `at`: `short` ones with two bytes an entry as far as they
    /// are whole, and begin at multiples of their size; the others have four. Returns where
    /// it ends.
    fn compact(&mut self, at: u64, short: bool) -> Result<u64> {
        let all = self.entries();
        ensure!(
            self.fs.sb.block_log <= if short { 12 } else { 14 },
            "its index does not go with its blocks"
        );
        let before = (at.next_multiple_of(32) - at) / 4;
        let shorts = match all.checked_sub(before) {
            Some(rest) if short => rest - rest % 16,
            _ => 0,
        };
        let before = if shorts > 0 { before } else { 0 };
        let first = Packs::new(at, before, false);
        let second = Packs::new(first.end(), shorts, true);
        let third = Packs::new(second.end(), all - before - shorts, false);
        for packs in [&first, &second, &third] {
            self.pieces(packs.at, packs.end(), |walk, piece| {
                for pack in piece.chunks_exact(packs.bytes) {
                    walk.pack(pack, packs.group)?;
                }
                Ok(())
            })?;
        }
        Ok(third.end())
    }

    /// Gives the bytes from `at` to `end` to `take` in pieces.
    fn pieces(
        &mut self,
        mut at: u64,
        end: u64,
        take: impl Fn(&mut Self, &[u8]) -> Result<()>,
    ) -> Result<()> {
        ensure!(end <= self.fs.disk.size, "its index is damaged");
        let mut buffer = vec![0; usize::try_from((end - at).min(PIECE))?];
        while at < end {
            let piece = &mut buffer[..usize::try_from((end - at).min(PIECE))?];
            self.fs.read(at, piece)?;
            self.fs.disk.work(piece.len() * 8)?;
            take(self, piece)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Takes a pack of `group` entries; behind them, it has a block of the disk, from which the
    /// blocks of the entries are counted.
    fn pack(&mut self, pack: &[u8], group: usize) -> Result<()> {
        let bits = (pack.len() - 4) * 8 / group;
        let value_bits = self.fs.sb.block_log.max(12);
        let base = u32_at(pack, pack.len() - 4);
        // Blocks of the extents so far. Without large ones, counting begins one too low.
        let mut count = u32::from(!self.large);
        let mut head_here = false;
        for index in 0..group {
            if self.next >= self.entries() {
                break;
            }
            let bit = index * bits;
            let word = u32_at(pack, bit / 8) >> (bit % 8);
            let value = word & ((1 << value_bits) - 1);
            match u8::try_from(word >> value_bits & 3)? {
                INSIDE => {
                    let last = index + 1 == group;
                    if self.large && value & HAS_BLOCKS != 0 {
                        // Instead of the one that was counted with the head.
                        count += value & !HAS_BLOCKS;
                        count -= u32::from(head_here);
                        self.inside(value)?;
                    } else {
                        // The last one has another distance, in which no bit means anything.
                        self.inside(if last { 0 } else { value })?;
                    }
                    head_here = false;
                }
                kind => {
                    let block = base.checked_add(count);
                    self.head(kind, value, block.context("its index is damaged")?, false)?;
                    count += 1;
                    head_here = true;
                }
            }
        }
        Ok(())
    }

    /// Takes an entry in whose block an extent begins, at byte `offset`.
    fn head(&mut self, kind: u8, offset: u32, block: u32, partial: bool) -> Result<()> {
        let size = self.fs.sb.block;
        ensure!(
            u64::from(offset) < size && self.extents.len() < MOST_EXTENTS,
            "its index is damaged"
        );
        let start = self.next * size + u64::from(offset);
        self.next += 1;
        self.after_head = true;
        // The last one may begin behind the file's end.
        if start < self.size {
            self.extents.push(Extent {
                start,
                block,
                blocks: 1,
                kind,
                partial,
            });
        }
        Ok(())
    }

    /// Takes an entry within an extent.
    fn inside(&mut self, value: u32) -> Result<()> {
        let Some(last) = self.extents.last_mut() else {
            bail!("its index is damaged");
        };
        if value & HAS_BLOCKS != 0 {
            ensure!(self.large && self.after_head, "its index is damaged");
            // None if it is an end that is elsewhere.
            last.blocks = u16::try_from(value & !HAS_BLOCKS)?;
        }
        self.after_head = false;
        self.next += 1;
        Ok(())
    }
}
