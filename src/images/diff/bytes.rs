//! Whether two partitions have the same bytes, whatever they hold.

use crate::base::sparse::{CHUNK, data_in};
use crate::images::image::Image;
use crate::images::image::table::Partition;
use anyhow::{Context, Result};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Compares what the images have of two partitions; where both have holes, nothing is read.
pub(super) fn same(a: (&Image, &Partition), b: (&Image, &Partition)) -> Result<bool> {
    let size = a.0.there(a.1);
    if size != b.0.there(b.1) {
        return Ok(false);
    }
    let mut parts = data(a.0.file(), a.1.start, size);
    parts.extend(data(b.0.file(), b.1.start, size));
    parts.sort_unstable_by_key(|part| part.start);
    let mut buffers = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut at = 0;
    for part in parts {
        at = at.max(part.start);
        while at < part.end {
            let length = usize::try_from((part.end - at).min(CHUNK as u64))?;
            let (one, two) = (&mut buffers.0[..length], &mut buffers.1[..length]);
            let read = |file: &File, bytes: &mut [u8], start: u64| {
                let read = file.read_exact_at(bytes, start + at);
                read.context("reading a partition")
            };
            read(a.0.file(), one, a.1.start)?;
            read(b.0.file(), two, b.1.start)?;
            if one != two {
                return Ok(false);
            }
            at += length as u64;
        }
    }
    Ok(true)
}

/// The parts of a partition that are no holes, from its beginning on; a disk has none.
fn data(file: &File, start: u64, size: u64) -> Vec<Range<u64>> {
    let whole = start..start.saturating_add(size);
    let parts = data_in(file, &whole).unwrap_or_else(|_| vec![whole]);
    parts
        .into_iter()
        .map(|part| part.start - start..part.end - start)
        .collect()
}
