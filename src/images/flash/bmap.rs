//! Reading block maps: bmap-tools' format, versions 1.0 to 2.0 (BmapCopy.py reads the same).

use super::sums::Kind;
use anyhow::{Context, Result, bail, ensure};
use roxmltree::{Document, Node, ParsingOptions};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes of a map, and elements in it, that are read; a large image has some thousand ranges.
const LARGEST: u64 = 32 << 20;
const MOST_NODES: u32 = 1_000_000;

/// Bytes `start..end` of an image that hold data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Checksum in hex, if the map has it.
    pub(crate) sum: Option<String>,
}

/// Which parts of an image have to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bmap {
    /// Bytes of the raw image.
    pub(crate) size: u64,
    /// The kind of the checksums.
    pub(crate) sums: Option<Kind>,
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

    /// Whether every range has a checksum.
    pub(crate) fn is_summed(&self) -> bool {
        self.sums.is_some() && self.ranges.iter().all(|range| range.sum.is_some())
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
///
/// # Errors
/// When it is damaged, or of a version or with checksums that are not known here.
pub(crate) fn load(path: &Path) -> Result<Bmap> {
    let read = || {
        let mut text = String::new();
        File::open(path)?
            .take(LARGEST + 1)
            .read_to_string(&mut text)?;
        ensure!(text.len() as u64 <= LARGEST, "it is too large for one");
        parse(&text)
    };
    read().with_context(|| format!("reading the block map {}", path.display()))
}

/// What a version calls its checksums.
struct Dialect {
    kind: Option<Kind>,
    /// The element with the map's own one.
    own: &'static str,
    /// The attribute with a range's.
    of_range: &'static str,
}

/// Reads a map's text.
pub(super) fn parse(text: &str) -> Result<Bmap> {
    let options = ParsingOptions {
        nodes_limit: MOST_NODES,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(text, options)?;
    let root = document.root_element();
    ensure!(root.has_tag_name("bmap"), "it is not a block map");
    let dialect = dialect(root)?;
    let (size, block) = (number(root, "ImageSize")?, number(root, "BlockSize")?);
    ensure!(block > 0, "its BlockSize is 0");
    if let (Some(kind), Some(sum)) = (dialect.kind, field(root, dialect.own)) {
        let zeroed = text.replacen(sum, &"0".repeat(sum.len()), 1);
        ensure!(
            kind.of(zeroed.as_bytes()).eq_ignore_ascii_case(sum),
            "its own checksum is wrong; it was changed or damaged"
        );
    }
    let ranges = ranges(root, &dialect, block, size)?;
    check_counts(root, &ranges, block)?;
    Ok(Bmap {
        size,
        sums: dialect.kind,
        ranges,
    })
}

fn field<'a>(root: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let found = root.children().find(|node| node.has_tag_name(name));
    found.and_then(|node| node.text()).map(str::trim)
}

fn number(root: Node<'_, '_>, name: &str) -> Result<u64> {
    let text = field(root, name).with_context(|| format!("it has no {name}"))?;
    text.parse()
        .with_context(|| format!("its {name} is {}", text.escape_debug()))
}

fn dialect(root: Node<'_, '_>) -> Result<Dialect> {
    let version = root.attribute("version").unwrap_or_default();
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    let parsed = (major.parse::<u32>(), minor.parse::<u32>());
    match parsed {
        // Until then there was SHA-1 and nothing else.
        (Ok(1), Ok(0..=3)) => Ok(Dialect {
            kind: Some(Kind::Sha1),
            own: "BmapFileSHA1",
            of_range: "sha1",
        }),
        (Ok(1 | 2), Ok(_)) => {
            let kind = field(root, "ChecksumType");
            let known = kind.map(|kind| {
                let known = Kind::named(kind);
                known.with_context(|| {
                    format!(
                        "its checksums are of the kind {}, which is not known here; remove the map to write without it",
                        kind.escape_debug()
                    )
                })
            });
            Ok(Dialect {
                kind: known.transpose()?,
                own: "BmapFileChecksum",
                of_range: "chksum",
            })
        }
        _ => bail!(
            "its version is {}, and 1.0 to 2.0 are known here; remove the map to write without it",
            version.escape_debug()
        ),
    }
}

fn ranges(root: Node<'_, '_>, dialect: &Dialect, block: u64, size: u64) -> Result<Vec<Range>> {
    let map = root.children().find(|node| node.has_tag_name("BlockMap"));
    let mut ranges: Vec<Range> = Vec::new();
    for node in map.context("it has no BlockMap")?.children() {
        if !node.has_tag_name("Range") {
            continue;
        }
        let (start, end) = blocks(node.text().unwrap_or_default().trim(), block, size)?;
        if ranges.last().is_some_and(|last| last.end > start) {
            bail!("its ranges are not in order");
        }
        let sum = node.attribute(dialect.of_range).map(str::to_owned);
        ranges.push(Range { start, end, sum });
    }
    Ok(ranges)
}

/// A map without a checksum of its own may at least have lost no range.
fn check_counts(root: Node<'_, '_>, ranges: &[Range], block: u64) -> Result<()> {
    if field(root, "MappedBlocksCount").is_none() {
        return Ok(());
    }
    let claimed = number(root, "MappedBlocksCount")?;
    let found: u64 = ranges
        .iter()
        .map(|range| (range.end - range.start).div_ceil(block))
        .sum();
    ensure!(
        claimed <= found,
        "it should have {claimed} blocks and has {found}; it was changed or damaged"
    );
    Ok(())
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
        let sum = Kind::Sha256.of(text.as_bytes());
        text.replacen(&"0".repeat(64), &sum, 1)
    }

    #[test]
    fn ranges_end_with_the_image() {
        let bmap = parse(&map("<Range chksum=\"ab\"> 0 </Range><Range> 2-2 </Range>")).unwrap();
        assert_eq!((bmap.ranges[0].start, bmap.ranges[0].end), (0, 4096));
        assert_eq!(bmap.ranges[0].sum.as_deref(), Some("ab"));
        assert_eq!((bmap.ranges[1].start, bmap.ranges[1].end), (8192, 10000));
        assert_eq!(bmap.mapped(), 4096 + 1808);
        assert!(!bmap.is_summed());
    }

    #[test]
    fn a_changed_or_senseless_map_is_refused() {
        let good = map("<Range> 0 </Range>");
        assert!(parse(&good).is_ok());
        assert!(parse(&good.replace("10000", "10001")).is_err());
        assert!(parse(&map("<Range> 3 </Range>")).is_err());
        assert!(parse(&map("<Range> 1 </Range><Range> 0 </Range>")).is_err());
        let counted =
            "<Range> 0 </Range></BlockMap><MappedBlocksCount>2</MappedBlocksCount><BlockMap>";
        let error = parse(&map(counted)).unwrap_err().to_string();
        assert!(error.contains("should have 2 blocks"), "{error}");
    }

    #[test]
    fn old_versions_have_sha1_and_unknown_ones_are_refused() {
        let old = |version: &str| {
            format!(
                "<bmap version=\"{version}\"><ImageSize>4096</ImageSize><BlockSize>4096</BlockSize>\
                 <BlockMap><Range sha1=\"ab\">0</Range></BlockMap></bmap>"
            )
        };
        for version in ["1.2", "1.3"] {
            let bmap = parse(&old(version)).unwrap();
            assert_eq!(bmap.sums, Some(Kind::Sha1));
            assert!(bmap.is_summed());
        }
        for version in ["3.0", "", "x", "-1"] {
            assert!(parse(&old(version)).is_err(), "{version}");
        }
        let kind = map("<Range> 0 </Range>").replace("sha256", "blake2b");
        let error = parse(&kind).unwrap_err().to_string();
        assert!(error.contains("blake2b"), "{error}");
    }
}
