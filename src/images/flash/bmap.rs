//! Reading block maps: bmap-tools' format, versions 1.3 to 2.0 (BmapCopy.py reads the same).

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// Bytes `start..end` of an image that hold data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// SHA-256 in hex, if the map has it.
    pub(crate) sha256: Option<String>,
}

/// Which parts of an image have to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bmap {
    /// Bytes of the raw image.
    pub(crate) size: u64,
    /// In order, not overlapping.
    pub(crate) ranges: Vec<Range>,
}

impl Bmap {
    /// Bytes that hold data.
    pub(crate) fn mapped(&self) -> u64 {
        self.ranges
            .iter()
            .map(|range| range.end - range.start)
            .sum()
    }
}

/// The block map beside an image: its name, or its stem, with `.bmap`.
pub(crate) fn beside(image: &Path) -> Option<PathBuf> {
    let name = image.file_name()?.to_string_lossy().into_owned();
    let stem = crate::images::image::stem(image);
    [
        format!("{name}.bmap"),
        format!("{stem}.img.bmap"),
        format!("{stem}.bmap"),
    ]
    .into_iter()
    .map(|name| image.with_file_name(name))
    .find(|path| path.is_file())
}

/// Reads the block map at `path`, and checks its own checksum.
pub(crate) fn load(path: &Path) -> Result<Bmap> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    parse(&text).with_context(|| format!("reading the block map {}", path.display()))
}

fn parse(text: &str) -> Result<Bmap> {
    let document = roxmltree::Document::parse(text)?;
    let root = document.root_element();
    ensure!(root.has_tag_name("bmap"), "it is not a block map");
    let field = |name: &str| {
        let found = root.children().find(|node| node.has_tag_name(name));
        found.and_then(|node| node.text()).map(str::trim)
    };
    let number = |name: &str| -> Result<u64> {
        let text = field(name).with_context(|| format!("it has no {name}"))?;
        text.parse()
            .with_context(|| format!("its {name} is {text}"))
    };
    let (size, block) = (number("ImageSize")?, number("BlockSize")?);
    ensure!(block > 0, "its BlockSize is 0");
    let sha256 = matches!(field("ChecksumType"), Some("sha256"));
    if let (true, Some(sum)) = (sha256, field("BmapFileChecksum")) {
        let zeroed = text.replacen(sum, &"0".repeat(sum.len()), 1);
        ensure!(
            hex::encode(Sha256::digest(zeroed)) == sum,
            "its own checksum is wrong; it was changed or damaged"
        );
    }
    let map = root.children().find(|node| node.has_tag_name("BlockMap"));
    let mut ranges: Vec<Range> = Vec::new();
    for node in map.context("it has no BlockMap")?.children() {
        if !node.has_tag_name("Range") {
            continue;
        }
        let range = blocks(node.text().unwrap_or_default().trim(), block, size)?;
        if ranges.last().is_some_and(|last| last.end > range.0) {
            bail!("its ranges are not in order");
        }
        ranges.push(Range {
            start: range.0,
            end: range.1,
            sha256: node
                .attribute("chksum")
                .filter(|_| sha256)
                .map(str::to_owned),
        });
    }
    Ok(Bmap { size, ranges })
}

/// `FIRST-LAST` or `ONLY` block as bytes, the last block perhaps cut by the image's end.
fn blocks(text: &str, block: u64, size: u64) -> Result<(u64, u64)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| {
        text.trim()
            .parse::<u64>()
            .with_context(|| format!("block {text}"))
    };
    let (first, last) = (number(first)?, number(last)?);
    let start = first.checked_mul(block);
    let end = last.checked_add(1).and_then(|last| last.checked_mul(block));
    match (start, end) {
        (Some(start), Some(end)) if first <= last && start < size => Ok((start, end.min(size))),
        _ => bail!("blocks {text} are not in the image"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(ranges: &str) -> String {
        let text = format!(
            "<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\"><ImageSize> 10000 </ImageSize>\
             <BlockSize> 4096 </BlockSize><ChecksumType> sha256 </ChecksumType>\
             <BmapFileChecksum> {} </BmapFileChecksum><BlockMap>{ranges}</BlockMap></bmap>",
            "0".repeat(64)
        );
        let sum = hex::encode(Sha256::digest(&text));
        text.replacen(&"0".repeat(64), &sum, 1)
    }

    #[test]
    fn ranges_end_with_the_image() {
        let bmap = parse(&map("<Range chksum=\"ab\"> 0 </Range><Range> 2-2 </Range>")).unwrap();
        assert_eq!((bmap.ranges[0].start, bmap.ranges[0].end), (0, 4096));
        assert_eq!(bmap.ranges[0].sha256.as_deref(), Some("ab"));
        assert_eq!((bmap.ranges[1].start, bmap.ranges[1].end), (8192, 10000));
        assert_eq!(bmap.mapped(), 4096 + 1808);
    }

    #[test]
    fn a_changed_or_senseless_map_is_refused() {
        let good = map("<Range> 0 </Range>");
        assert!(parse(&good).is_ok());
        assert!(parse(&good.replace("10000", "10001")).is_err());
        assert!(parse(&map("<Range> 3 </Range>")).is_err());
        assert!(parse(&map("<Range> 1 </Range><Range> 0 </Range>")).is_err());
    }
}
