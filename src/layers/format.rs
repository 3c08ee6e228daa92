//! Whose ids the owners of files in a store of layers are.

use std::fs;
use std::path::Path;

/// Name of the file in the store that says so.
pub(super) const FORMAT: &str = "format";

/// What is written down of whose ids the owners in a store are.
pub(super) enum Format {
    Known(String),
    /// Nothing, as by earlier versions.
    Unknown,
}

impl Format {
    /// Whether layers of this format are of use with `ids`. Earlier versions kept the image's own
    /// ids, or those of a user; a range of root's own is later.
    pub(super) fn is(&self, ids: &str) -> bool {
        match self {
            Self::Known(known) => known == ids,
            Self::Unknown => !ids.starts_with("range "),
        }
    }
}

/// What is written down in the store `dir`.
pub(super) fn format_of(dir: &Path) -> Format {
    match fs::read_to_string(dir.join(FORMAT)) {
        Ok(text) => Format::Known(text.trim_end().to_owned()),
        Err(_) => Format::Unknown,
    }
}
