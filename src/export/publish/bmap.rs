//! The block map that `bmaptool copy` reads: which blocks of the image hold data, and
//! their checksums. Format: version 2.0, as in bmap-tools' BmapCreate.

use super::piece::Piece;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::sync::mpsc::Receiver;

/// Bytes of a block.
pub(super) const BLOCK: u64 = 4096;

/// Consecutive blocks with data.
struct Stretch {
    /// First and last block.
    first: u64,
    last: u64,
    /// SHA-256 of their bytes, in hex.
    sha256: String,
}

/// The map of one image.
pub(super) struct Bmap {
    /// Bytes of the image.
    size: u64,
    stretches: Vec<Stretch>,
}

/// Makes the map of an image of `size` bytes from all its pieces.
pub(super) fn map(pieces: Receiver<Piece>, size: u64) -> Bmap {
    let mut stretches = Vec::new();
    let mut open: Option<(u64, Sha256)> = None;
    let mut at = 0;
    let mut close = |open: &mut Option<(u64, Sha256)>, end: u64| {
        if let Some((start, hash)) = open.take() {
            stretches.push(Stretch {
                first: start / BLOCK,
                last: end.div_ceil(BLOCK) - 1,
                sha256: hex::encode(hash.finalize()),
            });
        }
    };
    for piece in pieces {
        if piece.hole {
            close(&mut open, at);
        } else {
            let (_, hash) = open.get_or_insert_with(|| (at, Sha256::new()));
            hash.update(&*piece);
        }
        at += piece.len() as u64;
    }
    close(&mut open, at);
    Bmap { size, stretches }
}

impl Bmap {
    /// Number of blocks with data.
    pub(super) fn mapped(&self) -> u64 {
        self.stretches.iter().map(|s| s.last - s.first + 1).sum()
    }

    /// The file's text. Its own checksum is that of the text with zeros in its place.
    pub(super) fn to_xml(&self) -> String {
        let none = "0".repeat(64);
        let text = self.xml(&none);
        self.xml(&hex::encode(Sha256::digest(&text)))
    }

    fn xml(&self, checksum: &str) -> String {
        let mut text = format!(
            "<?xml version=\"1.0\" ?>\n\
             <bmap version=\"2.0\">\n\
             \x20   <ImageSize> {} </ImageSize>\n\
             \x20   <BlockSize> {BLOCK} </BlockSize>\n\
             \x20   <BlocksCount> {} </BlocksCount>\n\
             \x20   <MappedBlocksCount> {} </MappedBlocksCount>\n\
             \x20   <ChecksumType> sha256 </ChecksumType>\n\
             \x20   <BmapFileChecksum> {checksum} </BmapFileChecksum>\n\
             \x20   <BlockMap>\n",
            self.size,
            self.size.div_ceil(BLOCK),
            self.mapped()
        );
        for Stretch {
            first,
            last,
            sha256,
        } in &self.stretches
        {
            let range = if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            };
            let _ = writeln!(text, "        <Range chksum=\"{sha256}\"> {range} </Range>");
        }
        text.push_str("    </BlockMap>\n</bmap>\n");
        text
    }
}
