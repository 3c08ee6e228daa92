//! `westwork backup` and `westwork restore`: all of /data in one file.
//!
//! The file is encrypted by age for the owner's key (see `cipher`), which also notices every change and
//! every cut; in it is a tar archive compressed by gzip, in this order: `westwork-backup.json`
//! (format, domain); `directory.ldif` (the directory as text: its database depends on the
//! processor); `data/…`, everything else. Owners by name and extended attributes are in PAX
//! records (`uname`, `gname`, `SCHILY.xattr.NAME`), as GNU tar and others write them. Services are
//! stopped while it is written.
//!
//! One reader, `read`, judges every member before anything is done with it. `backup` reads with it
//! what it has written, before the file gets its name; `restore` reads with it twice, to judge and
//! to unpack, on /data's file system, and exchanges the two: see `exchange`. No member is kept in
//! memory, and neither side follows a link.

mod cipher;
mod exchange;
mod judge;
mod read;
mod restore;
mod write;

pub use cipher::{make_key, use_key};
pub use restore::{finish_restore, restore};
pub use write::backup;

use serde::{Deserialize, Serialize};

/// Other formats are refused.
const FORMAT: u32 = 2;
const HEAD: &str = "westwork-backup.json";
const DIRECTORY: &str = "directory.ldif";
const DATA: &str = "data";
/// What PAX records of extended attributes begin with.
const ATTRIBUTE: &str = "SCHILY.xattr.";
/// The directory as text has at most this many bytes: some fifty thousand people.
const DIRECTORY_LIMIT: u64 = 32 << 20;

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: u32,
    domain: String,
}
