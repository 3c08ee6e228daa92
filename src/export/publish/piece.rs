//! What travels from the reader of an image to those who make something of it.

use std::ops::Deref;
use std::sync::Arc;

/// Part of the image. Pieces come in order and do not cross a multiple of
/// [`CHUNK`](crate::base::sparse::CHUNK).
#[derive(Clone)]
pub(super) struct Piece {
    pub(super) bytes: Arc<Vec<u8>>,
    pub(super) length: usize,
    /// Not stored in the image, read as zeros.
    pub(super) hole: bool,
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}
