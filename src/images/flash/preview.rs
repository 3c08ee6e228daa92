//! What can be seen of an image before any of it is written.
//!
//! A raw image is looked at where it lies. A packed one whose size nobody tells has to be
//! unpacked once to be measured anyway: what the table and the file systems begin with is kept
//! on the way. One whose size is known (by its block map, or by its zip) is unpacked as far as
//! the partitions' beginnings lie in its first part; the rest of it is judged only while it is
//! written, which leaves a card without a partition table if it was wrong.

use crate::images::image::Image;
use crate::images::image::probe::LOOKED_AT;
use crate::images::image::stream::{Packed, fill};
use crate::images::image::table::{self, Table};
use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Bytes that are always kept: the partition table, and a first file system of a small image.
const HEAD: u64 = 1 << 20;

/// How much is unpacked when the size is known.
const ENOUGH: u64 = 64 << 20;

/// Bytes unpacked at once.
const CHUNK: usize = 1 << 20;

/// A size that no image has.
const UNKNOWN: u64 = 1 << 62;

/// An image of which some parts are known.
pub(super) struct Preview {
    pub(super) image: Image,
    /// The parts; everything else reads as zero.
    known: Vec<Range<u64>>,
}

impl Preview {
    /// An image that is all there.
    pub(super) fn whole(image: Image) -> Self {
        let known = std::iter::once(0..image.size).collect();
        Self { image, known }
    }

    /// Unpacks as much as is needed. `size` is that of the raw image, if it is known.
    pub(super) fn unpack(packed: &Packed, size: Option<u64>) -> Result<Self> {
        let file = tempfile::tempfile().context("making a file for the image's beginning")?;
        let mut windows = Windows {
            file,
            wanted: std::iter::once(0..HEAD).collect(),
            at: 0,
        };
        packed.with(|reader| {
            let mut chunk = vec![0; CHUNK];
            loop {
                let n = fill(reader, &mut chunk).context("unpacking the image")?;
                if n == 0 || (size.is_some() && windows.are_seen()) {
                    return Ok(());
                }
                windows.take(&chunk[..n])?;
            }
        })?;
        let size = size.unwrap_or(windows.at);
        ensure!(size > 0, "there is nothing in it");
        windows.file.set_len(size).context("sizing the beginning")?;
        let seen = windows.at.min(size);
        let known = windows.wanted.into_iter();
        let known = known.map(|window| window.start..window.end.min(size));
        Ok(Self {
            image: Image::of_raw(windows.file)?,
            known: known.filter(|window| window.end <= seen).collect(),
        })
    }

    /// Whether all that lies in `range`, as far as the image goes, is known.
    pub(super) fn knows(&self, range: &Range<u64>) -> bool {
        let end = range.end.min(self.image.size);
        self.known
            .iter()
            .any(|known| known.start <= range.start && end <= known.end)
    }
}

/// The parts of an image that are kept while it goes by.
struct Windows {
    file: File,
    wanted: Vec<Range<u64>>,
    /// Bytes that have gone by.
    at: u64,
}

impl Windows {
    /// Takes the image's next bytes.
    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let (start, end) = (self.at, self.at + bytes.len() as u64);
        self.at = end;
        let mut kept = 0;
        // What is kept may tell of more that lies in the same bytes.
        while kept < self.wanted.len() {
            for window in &self.wanted[kept..] {
                let (from, to) = (window.start.max(start), window.end.min(end));
                if from < to {
                    let part = usize::try_from(from - start)?..usize::try_from(to - start)?;
                    self.file
                        .write_all_at(&bytes[part], from)
                        .context("keeping the image's beginning")?;
                }
            }
            kept = self.wanted.len();
            if end >= HEAD {
                self.look(start)?;
            }
        }
        Ok(())
    }

    /// Adds what the table tells of, from byte `from` on.
    fn look(&mut self, from: u64) -> Result<()> {
        let Ok(Table {
            partitions, unread, ..
        }) = table::read(&self.file, UNKNOWN)
        else {
            return Ok(());
        };
        let starts = partitions
            .iter()
            .map(|p| p.start..p.start.saturating_add(LOOKED_AT));
        let link = unread.map(|at| at..at.saturating_add(512));
        for window in starts.chain(link) {
            if window.start >= from && !self.wanted.contains(&window) {
                self.wanted.push(window);
            }
        }
        Ok(())
    }

    /// Whether nothing more is to come, or not soon.
    fn are_seen(&self) -> bool {
        let last = self.wanted.iter().map(|window| window.end).max();
        self.at >= ENOUGH || last.is_none_or(|end| end <= self.at)
    }
}
