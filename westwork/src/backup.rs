//! `westwork backup` and `westwork restore`: all of /data in one file.
//!
//! The file is a tar archive compressed by gzip, in this order: `westwork-backup.json` (format,
//! domain); `directory.ldif` (the directory as text: its database depends on the processor);
//! `data/…`, everything else; `manifest.json`. The manifest has each member's owner by name,
//! extended attributes and SHA-256, and the SHA-256 of all bytes of the archive before itself.
//! Services are stopped meanwhile.
//!
//! Restoring reads the file twice to the end before anything is touched, unpacks on /data's file
//! system and exchanges the two: see `exchange`.

mod exchange;
mod read;
mod write;

pub use read::{finish_restore, restore};
pub use write::backup;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Newer formats are refused.
const FORMAT: u32 = 1;
const HEAD: &str = "westwork-backup.json";
const DIRECTORY: &str = "directory.ldif";
const MANIFEST: &str = "manifest.json";
const DATA: &str = "data";

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: u32,
    domain: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    members: BTreeMap<String, Member>,
    /// Of all bytes before the manifest.
    sha256: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Member {
    user: Option<String>,
    group: Option<String>,
    /// Values in base64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, String>,
    /// Of a file's contents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}
