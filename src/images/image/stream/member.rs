//! The image in a zip.

use crate::base::problem::{Problem, Problems};
use crate::base::size::size;
use crate::images::printable::printable;
use anyhow::{Context, Result};
use std::fs::File;
use std::path::Path;
use zip::ZipArchive;
use zip::read::ZipFile;

/// Extensions of images, packed or not.
const IMAGES: [&str; 8] = [
    ".img",
    ".raw",
    ".wic",
    ".sdimg",
    ".rpi-sdimg",
    ".sdcard",
    ".hddimg",
    ".iso",
];

/// One that other files have as well; it counts where there is no better one.
const PERHAPS: [&str; 1] = [".bin"];

const PACKED: [&str; 4] = [".zst", ".xz", ".gz", ".zip"];

/// Members that a refusal lists.
const LISTED: usize = 12;

/// The place of the one image in the zip `file`: the only member whose name is one of an image,
/// else the only member.
///
/// # Errors
/// [`Problems`] with the members' names when it cannot be told.
pub(super) fn choose(path: &Path, file: &File) -> Result<usize> {
    let mut archive = open(path, file)?;
    let mut members = Vec::new();
    for index in 0..archive.len() {
        let member = archive
            .by_index_raw(index)
            .with_context(|| format!("reading the zip {}", path.display()))?;
        if member.is_file() && !is_leftover(member.name()) {
            members.push((index, member.name().to_owned(), member.size()));
        }
    }
    let named = |ends: &[&str]| -> Vec<&(usize, String, u64)> {
        let images = members.iter().filter(|(_, name, _)| is_named(name, ends));
        images.collect()
    };
    let mut images = named(&IMAGES);
    if images.is_empty() {
        images = named(&PERHAPS);
    }
    let what = match (images.as_slice(), members.as_slice()) {
        ([(index, ..)], _) | ([], [(index, ..)]) => return Ok(*index),
        ([], []) => "the zip is empty".to_owned(),
        ([], _) => format!("the zip has no image in it, but {}", list(members.iter())),
        _ => format!(
            "the zip has several images: {}",
            list(images.iter().copied())
        ),
    };
    let problem = Problem::new(what, "unpack it, and name the image").at(path);
    Err(Problems(vec![problem]).into())
}

/// A reader of one member.
///
/// # Errors
/// [`Problems`] when it is encrypted, or packed in a way that is not known here.
pub(super) fn unpack<'a, 'f>(
    path: &Path,
    archive: &'a mut ZipArchive<&'f File>,
    index: usize,
) -> Result<ZipFile<'a, &'f File>> {
    archive.by_index(index).map_err(|error| {
        let what = format!("the zip cannot be unpacked here: {error}");
        let problem = Problem::new(what, "unpack it by hand, and name the image").at(path);
        Problems(vec![problem]).into()
    })
}

pub(super) fn open<'a>(path: &Path, file: &'a File) -> Result<ZipArchive<&'a File>> {
    ZipArchive::new(file).with_context(|| format!("reading the zip {}", path.display()))
}

/// What macOS puts beside every file.
fn is_leftover(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    name.starts_with("__MACOSX/") || last.starts_with("._") || last == ".DS_Store"
}

/// Whether a name has one of these extensions, perhaps before that of a packed file.
fn is_named(name: &str, ends: &[&str]) -> bool {
    let name = name.to_lowercase();
    let name = PACKED
        .iter()
        .find_map(|end| name.strip_suffix(end))
        .unwrap_or(&name);
    ends.iter().any(|end| name.ends_with(end))
}

fn list<'a>(members: impl Iterator<Item = &'a (usize, String, u64)>) -> String {
    let mut shown: Vec<String> = members
        .map(|(_, name, bytes)| format!("{} ({})", printable(name), size(*bytes)))
        .collect();
    if shown.len() > LISTED {
        let more = shown.len() - LISTED;
        shown.truncate(LISTED);
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}
