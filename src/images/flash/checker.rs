//! An image against the checksums of its block map.

use super::bmap::Range;
use super::sums::Kind;
use anyhow::{Result, bail};
use sha2::digest::DynDigest;

/// Compares the image with the checksums of its map while it is read.
pub(crate) struct Checker<'a> {
    ranges: &'a [Range],
    hash: Option<Box<dyn DynDigest>>,
}

impl<'a> Checker<'a> {
    /// For a map with checksums of this kind; without one nothing is compared.
    pub(crate) fn new(ranges: &'a [Range], kind: Option<Kind>) -> Self {
        Self {
            ranges,
            hash: kind.map(Kind::start),
        }
    }

    /// Takes the image's next bytes, which begin at `at`.
    pub(crate) fn feed(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let Some(hash) = &mut self.hash else {
            return Ok(());
        };
        let end = at + bytes.len() as u64;
        while let Some(range) = self.ranges.first().filter(|range| range.start < end) {
            let part = usize::try_from(range.start.max(at) - at)?
                ..usize::try_from(range.end.min(end) - at)?;
            hash.update(&bytes[part]);
            if range.end > end {
                break;
            }
            let sum = hex::encode(hash.finalize_reset());
            let wanted = range.sum.as_ref();
            if wanted.is_some_and(|wanted| !wanted.eq_ignore_ascii_case(&sum)) {
                bail!(
                    "bytes {} to {} of the image are not those of its block map; one of the two is damaged or not of this build",
                    range.start,
                    range.end
                );
            }
            self.ranges = &self.ranges[1..];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_over_two_chunks_is_checked_as_one() {
        for name in ["md5", "sha1", "SHA224", "sha256", "sha384", "sha512"] {
            let kind = Kind::named(name).unwrap();
            let ranges = [Range {
                start: 2,
                end: 8,
                sum: Some(kind.of(b"abcdef").to_uppercase()),
            }];
            let mut checker = Checker::new(&ranges, Some(kind));
            checker.feed(0, b"xxabc").unwrap();
            checker.feed(5, b"defyy").unwrap();
            let mut checker = Checker::new(&ranges, Some(kind));
            checker.feed(0, b"xxabc").unwrap();
            assert!(checker.feed(5, b"deeyy").is_err(), "{name}");
        }
    }
}
