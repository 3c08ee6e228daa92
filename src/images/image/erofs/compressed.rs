//! The extents of compressed files.

use super::Erofs;
use super::content::File;
use super::index::{End, Extent, Map};
use crate::images::image::unpack::Method;
use anyhow::{Context, Result, bail, ensure};
use std::rc::Rc;

/// Bytes of an extent on the disk, and unpacked (`Z_EROFS_PCLUSTER_MAX_SIZE` and `…_DSIZE`).
const LARGEST: u64 = 1 << 20;
const LARGEST_UNPACKED: u64 = 12 << 20;

impl Erofs {
    /// Fills `buffer` with the content of a compressed file from byte `at` on.
    pub(super) fn fill_compressed(
        &self,
        file: &File,
        map: &Map,
        buffer: &mut [u8],
        at: u64,
    ) -> Result<()> {
        let first = map.extents.partition_point(|extent| extent.start <= at);
        let mut index = first.saturating_sub(1);
        let (mut at, mut rest) = (at, buffer);
        while !rest.is_empty() {
            let extent = map.extents.get(index).context("it has no such part")?;
            let next = map.extents.get(index + 1);
            let end = next.map_or(file.own.size, |next| next.start);
            let length = usize::try_from((end - at).min(rest.len() as u64))?;
            let (part, left) = rest.split_at_mut(length);
            let last = next.is_none();
            self.fill_part(file, map, (extent, end, last), part, at - extent.start)
                .with_context(|| format!("reading the part at byte {}", extent.start))?;
            at += length as u64;
            rest = left;
            index += 1;
        }
        Ok(())
    }

    /// Fills `out` from byte `from` of an extent on. With the extent go its end in the file, and
    /// whether it is the last one.
    fn fill_part(
        &self,
        file: &File,
        map: &Map,
        (extent, end, last): (&Extent, u64, bool),
        out: &mut [u8],
        from: u64,
    ) -> Result<()> {
        let (mut at, mut size) = (
            self.block_at(extent.block),
            u64::from(extent.blocks) * self.sb.block,
        );
        match map.end {
            End::Packed(offset) if last => {
                ensure!(
                    self.sb.packed != Some(file.own.number),
                    "the ends of files lead in a circle"
                );
                let offset = offset.checked_add(from).context("finding its end")?;
                return self.fill(&*self.packed()?, out, offset);
            }
            End::Inline(begin, length) if last => (at, size) = (begin, u64::from(length)),
            _ => {}
        }
        let length = end - extent.start;
        let Some(method) = extent.method(map) else {
            ensure!(length <= size, "it is longer than its blocks");
            let turned = map.interlaced.then_some(extent.start % self.sb.block);
            return self.fill_plain((at, size), turned.unwrap_or(0), out, from);
        };
        ensure!(
            size <= LARGEST && length <= LARGEST_UNPACKED,
            "it is too large"
        );
        let unpack = || self.unpack(method, (at, size), length, extent.partial);
        let unpacked = self.unpacked((at, length), unpack)?;
        let from = usize::try_from(from)?;
        let part = unpacked.get(from..from + out.len());
        out.copy_from_slice(part.context("it is shorter than it should be")?);
        Ok(self.disk.work(out.len())?)
    }

    /// The unpacked extent from the cache, or what `unpack` makes.
    fn unpacked(
        &self,
        key: (u64, u64),
        unpack: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Rc<Vec<u8>>> {
        self.data.get(key, || {
            let bytes = unpack()?;
            let length = bytes.len();
            Ok((bytes, length))
        })
    }

    /// Fills `out` from byte `from` on of the plain extent at `place`, whose first byte is the
    /// byte `turned` of its block; what does not fit behind it is at the block's beginning.
    fn fill_plain(
        &self,
        (at, size): (u64, u64),
        turned: u64,
        out: &mut [u8],
        from: u64,
    ) -> Result<()> {
        let first = (turned + from) % size;
        let length = usize::try_from((size - first).min(out.len() as u64))?;
        let (before, after) = out.split_at_mut(length);
        self.read(at + first, before)?;
        if !after.is_empty() {
            self.read(at, after)?;
        }
        Ok(())
    }

    /// Unpacks `length` bytes from an extent at `place`; a partial one has more.
    fn unpack(
        &self,
        method: u8,
        (at, size): (u64, u64),
        length: u64,
        partial: bool,
    ) -> Result<Vec<u8>> {
        let method = match method {
            0 => Method::Lz4,
            1 => Method::MicroLzma,
            2 => Method::Deflate,
            3 => Method::Zstd,
            _ => bail!("it is compressed in an unknown way, {method}"),
        };
        ensure!(
            method != Method::Lz4 || self.sb.padded,
            "it has lz4 blocks of the legacy kind, which this command cannot read"
        );
        let mut packed = vec![0; usize::try_from(size)?];
        self.read(at, &mut packed)?;
        // Zeros go before, up to a block of them.
        let most = packed.len().min(usize::try_from(self.sb.block)?);
        let zeros = packed[..most].iter().take_while(|byte| **byte == 0).count();
        let room = if partial { LARGEST_UNPACKED } else { length };
        let mut bytes = vec![0; usize::try_from(room)?];
        self.disk.work(bytes.len())?;
        let unpacked = method.unpack(&packed[zeros..], &mut bytes)?;
        ensure!(
            unpacked as u64 >= length,
            "it has {unpacked} bytes instead of {length}"
        );
        bytes.truncate(usize::try_from(length)?);
        Ok(bytes)
    }
}
