//! What is to be written: the image, judged before anything is.

use super::args::FlashArgs;
use super::bmap::{self, Bmap};
use super::checker::Checker;
use super::customise;
use super::firstrun::Settings;
use super::holds;
use super::preview::Preview;
use crate::base::problem::{Problem, Problems};
use crate::images::image::Image;
use crate::images::image::stream::{Form, Packed, fill, unpacking};
use crate::images::image::table::Partition;
use anyhow::{Context, Result};
use std::path::Path;

/// Bytes of an image that are compared with its block map beforehand.
const COMPARED: usize = 4 << 20;

/// An image that may be written.
pub(super) struct Job {
    pub(super) packed: Packed,
    /// Bytes of the raw image.
    pub(super) size: u64,
    pub(super) bmap: Option<Bmap>,
    /// The unpacked image and its boot partition, when there are settings.
    pub(super) custom: Option<(Image, Partition)>,
    /// What the user should know.
    pub(super) notes: Vec<String>,
}

impl Job {
    /// Judges the image. `sector` is the size of the target's sectors, if it is a disk.
    ///
    /// # Errors
    /// [`Problems`] when it must not be written, or cannot be with these settings.
    pub(super) fn prepare(
        args: &FlashArgs,
        settings: &Settings,
        sector: Option<u64>,
    ) -> Result<Self> {
        let path = args.image.as_path();
        let packed = Packed::open(path, args.force_raw)?;
        let map = bmap::beside(path);
        let bmap = map.as_deref().map(bmap::load).transpose()?;
        let mut notes = Vec::new();
        if let (Some(bmap), Some(map)) = (&bmap, &map) {
            check_map(path, &packed, bmap, map)?;
            if !bmap.is_summed() {
                notes.push(format!(
                    "the block map {} has no checksums of all its parts, so the image is not compared with it",
                    map.display()
                ));
            }
        }
        let mut custom = None;
        let size = if settings.is_empty() {
            let seen = look(path, &packed, bmap.as_ref())?;
            if !args.force_raw {
                notes.extend(holds::must_be_image(&seen, path, sector)?);
            }
            seen.image.size
        } else {
            // Whether it takes them can only be seen inside.
            let seen = Preview::whole(Image::unpack(path, &packed)?);
            if !args.force_raw {
                notes.extend(holds::must_be_image(&seen, path, sector)?);
            }
            let by_key = args.settings.password_file.is_none() && !args.settings.password;
            let place = customise::place(&seen.image, path, settings, by_key)?;
            notes.extend(place.notes);
            let size = seen.image.size;
            custom = Some((seen.image, place.boot));
            size
        };
        if let (Some(bmap), Some(map)) = (&bmap, &map) {
            check_size(path, size, bmap, map)?;
        }
        Ok(Self {
            packed,
            size,
            bmap,
            custom,
            notes,
        })
    }
}

/// Looks at as much of an image as the question needs.
fn look(path: &Path, packed: &Packed, bmap: Option<&Bmap>) -> Result<Preview> {
    if packed.form == Form::Raw {
        return Ok(Preview::whole(Image::unpack(path, packed)?));
    }
    let size = packed.raw_size()?.or(bmap.map(|bmap| bmap.size));
    if size.is_none() {
        eprintln!("measuring {}, which has no block map", path.display());
    }
    unpacking(Preview::unpack(packed, size), path)
}

/// An error unless the map is of the image as it is once unpacked.
fn check_size(path: &Path, size: u64, bmap: &Bmap, map: &Path) -> Result<()> {
    if size == bmap.size {
        return Ok(());
    }
    refuse(
        path,
        format!(
            "the image has {size} bytes, its block map {} says {}",
            map.display(),
            bmap.size
        ),
        "remove the block map, it is of another image",
    )
}

/// What can be said of a map by the file and its beginning.
fn check_map(path: &Path, packed: &Packed, bmap: &Bmap, map: &Path) -> Result<()> {
    if let Some(size) = packed.raw_size()? {
        check_size(path, size, bmap, map)?;
    }
    let length = std::fs::metadata(path).map(|facts| facts.len());
    if packed.form != Form::Raw && length.is_ok_and(|length| length == bmap.size) {
        return refuse(
            path,
            format!(
                "the block map {} was made of the packed file",
                map.display()
            ),
            "remove it; a map has to be made of the raw image",
        );
    }
    let mut head = vec![0; COMPARED];
    let n = packed.with(|reader| fill(reader, &mut head).context("unpacking the image"))?;
    let mut checker = Checker::new(&bmap.ranges, bmap.sums);
    checker.feed(0, &head[..n]).or_else(|error| {
        refuse(
            path,
            format!("{error:#}"),
            "download both again, or remove the block map",
        )
    })
}

fn refuse<T>(path: &Path, what: String, remedy: &str) -> Result<T> {
    Err(Problems(vec![Problem::new(what, remedy).at(path)]).into())
}
