//! Whether what is to be written is an image: it has a partition table whose partitions lie
//! inside it, or a file system.

use super::preview::Preview;
use crate::base::problem::{Problem, Problems};
use crate::images::image::probe::LOOKED_AT;
use crate::images::image::table::Partition;
use anyhow::Result;
use std::path::Path;

const INSIST: &str = "download it again, or write it as it is with --force-raw";

/// Judges the image at `path`, whose target has sectors of `sector` bytes if it is a disk.
/// Returns notes.
///
/// # Errors
/// [`Problems`] with everything that speaks against it.
pub(super) fn must_be_image(
    seen: &Preview,
    path: &Path,
    sector: Option<u64>,
) -> Result<Vec<String>> {
    let mut found = Found::default();
    let table = &seen.image.table;
    let partitions: Vec<&Partition> = table
        .partitions
        .iter()
        .filter(|partition| !partition.is_extended())
        .collect();
    if table.kind == "none" {
        found.file_system(seen, &table.partitions[0]);
    } else {
        if partitions.is_empty() {
            found.say("its partition table has no partition", INSIST);
        }
        for partition in &partitions {
            found.inside(seen, partition, &partitions);
        }
        found.chain(seen);
        if let Some(sector) = sector.filter(|sector| *sector != table.sector) {
            found.say(
                format!(
                    "its partition table counts sectors of {} bytes, and the disk's have {sector}: the partitions would be elsewhere",
                    table.sector
                ),
                "use another disk, or write it all the same with --force-raw",
            );
        }
    }
    let problems = found.problems.into_iter().map(|p| p.at(path)).collect();
    Problems(problems).into_result()?;
    Ok(found.notes)
}

#[derive(Default)]
struct Found {
    problems: Vec<Problem>,
    notes: Vec<String>,
}

impl Found {
    fn say(&mut self, what: impl Into<String>, remedy: &str) {
        self.problems.push(Problem::new(what, remedy));
    }

    /// Without a table, there must be a file system, and all of it.
    fn file_system(&mut self, seen: &Preview, whole: &Partition) {
        let (facts, _) = seen.image.probe(whole);
        if facts.kind == "unknown" {
            self.say(
                "it has neither a partition table nor a file system that is known here",
                INSIST,
            );
        } else if facts.size.is_some_and(|size| size > whole.size) {
            self.say(
                format!(
                    "its {} is larger than the image, which was cut short",
                    facts.kind
                ),
                INSIST,
            );
        }
    }

    /// A partition must lie inside the image, but for what never was in it.
    fn inside(&mut self, seen: &Preview, partition: &Partition, all: &[&Partition]) {
        let (size, number) = (seen.image.size, partition.number);
        if partition.end() <= size {
            return;
        }
        let begins = partition.start..partition.start.saturating_add(LOOKED_AT);
        if partition.start < size && seen.knows(&begins) {
            let (facts, _) = seen.image.probe(partition);
            if facts.note.is_none() && facts.size.is_some() {
                self.notes.push(format!(
                    "partition {number} is larger than what the image has of it; its {} is whole",
                    facts.kind
                ));
                return;
            }
        }
        // Makers of images leave out the end of a disk when nothing is in it. The image then
        // ends where something else does, which a broken download hardly hits.
        let last = all.iter().all(|other| other.start <= partition.start);
        let ends = |other: &&Partition| other.end() == size || other.start == size;
        let sector = seen.image.table.sector;
        let before = partition.start.checked_sub(size);
        let right_behind = all.iter().any(ends) || before.is_some_and(|gap| gap < sector * 64);
        if last && partition.start >= size && right_behind {
            self.notes.push(format!(
                "partition {number}, the last one, is not in the image; it stays empty"
            ));
            return;
        }
        self.say(
            format!(
                "partition {number} ends at byte {}, and the image at byte {size}: it was cut short",
                partition.end()
            ),
            INSIST,
        );
    }

    /// The chain of logical partitions must be whole, where it can be seen.
    fn chain(&mut self, seen: &Preview) {
        let table = &seen.image.table;
        let Some((note, at)) = table.note.as_ref().zip(table.unread) else {
            return;
        };
        let sector = at..at.saturating_add(512);
        if at >= seen.image.size || seen.knows(&sector) {
            self.say(note.clone(), INSIST);
        }
    }
}
