//! `westwork-gen diff`: in what two images differ. Times are not compared.

pub mod args;
pub(crate) mod boot;
mod bytes;
pub(crate) mod files;
pub(crate) mod packages;
pub(crate) mod partitions;
mod show;

use crate::base::problem;
use crate::images::image::Image;
use crate::images::image::fat::Fat;
use crate::images::image::probe::{FileSystem, Files};
use crate::images::image::table::Partition;
use anyhow::{Context, Result};
use args::DiffArgs;
use serde::Serialize;
use std::path::Path;

/// Every difference; `--json` prints exactly this. Sizes are in bytes.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Nothing differs.
    pub(crate) same: bool,
    pub(crate) partitions: Vec<partitions::Change>,
    pub(crate) boot: boot::Changes,
    pub(crate) packages: packages::Changes,
    pub(crate) files: files::Changes,
    /// What could not be compared, and why.
    pub(crate) notes: Vec<String>,
}

/// Carries out `westwork-gen diff`. Returns 0 if nothing differs, 1 if something does, and
/// 2, with a printed error, if that cannot be said.
pub fn run(args: &DiffArgs) -> u8 {
    let code = compare(&args.a, &args.b).and_then(|report| {
        if args.json {
            println!(
                "{}",
                serde_json::to_string_pretty(&report).context("writing JSON")?
            );
        } else {
            print!("{}", show::show(&report));
        }
        let unclear = !report.notes.is_empty() && report.nothing_found();
        Ok(if unclear { 2 } else { u8::from(!report.same) })
    });
    problem::told(code)
}

impl Report {
    fn nothing_found(&self) -> bool {
        self.partitions.is_empty()
            && self.boot.is_empty()
            && self.packages.is_empty()
            && self.files.is_empty()
    }
}

/// The parts of an image that are compared.
struct Side {
    image: Image,
    /// In the order of the table.
    systems: Vec<(FileSystem, Files)>,
}

impl Side {
    fn new(image: Image) -> Self {
        let partitions = image.table.partitions.iter();
        let systems = partitions.map(|partition| image.probe(partition)).collect();
        Self { image, systems }
    }

    /// The partition `number`, and what it holds.
    fn partition(&self, number: u32) -> Option<(&Partition, &FileSystem, &Files)> {
        let mut all = self.image.table.partitions.iter().zip(&self.systems);
        let (partition, (facts, files)) = all.find(|(partition, _)| partition.number == number)?;
        Some((partition, facts, files))
    }
}

/// What has been compared so far.
#[derive(Default)]
struct Done {
    roots: u32,
    boots: u32,
}

fn compare(a: &Path, b: &Path) -> Result<Report> {
    Ok(compare_images(Image::open(a)?, Image::open(b)?))
}

pub(crate) fn compare_images(a: Image, b: Image) -> Report {
    let (a, b) = (Side::new(a), Side::new(b));
    let mut report = Report {
        partitions: partitions::compare(&a, &b),
        ..Report::default()
    };
    for side in [&a, &b] {
        report.notes.extend(side.image.table.note.clone());
    }
    report.notes.dedup();
    let mut done = Done::default();
    for partition in &a.image.table.partitions {
        let number = partition.number;
        if let Err(error) = compare_partition(&mut report, &mut done, &a, &b, number) {
            report.notes.push(format!("partition {number}: {error:#}"));
        }
    }
    report.same = report.nothing_found() && report.notes.is_empty();
    report
}

/// The text that is shown of the differences.
#[cfg(any(fuzzing, test))]
pub(super) fn text_of(a: Image, b: Image) -> String {
    show::show(&compare_images(a, b))
}

/// Compares what the partitions `number` of both sides hold.
fn compare_partition(
    report: &mut Report,
    done: &mut Done,
    a: &Side,
    b: &Side,
    number: u32,
) -> Result<()> {
    let (Some(one), Some(two)) = (a.partition(number), b.partition(number)) else {
        // One has it only, as the tables say.
        return Ok(());
    };
    let same = || bytes::same((&a.image, one.0), (&b.image, two.0));
    match (one.2, two.2) {
        (Files::Tree(root), Files::Tree(root2)) => {
            // The first one is the root.
            if done.roots == 0 {
                report.packages = packages::compare(root, root2).or_else(|error| {
                    report.notes.push(format!("partition {number}: {error:#}"));
                    Ok::<_, anyhow::Error>(packages::Changes::default())
                })?;
            }
            let prefix = (done.roots > 0).then_some(number);
            done.roots += 1;
            let found = files::compare(root, root2, prefix);
            report.files.add(found.changes);
            // What cannot be read may be the same for all that.
            if !found.notes.is_empty() && !same()? {
                report.notes.extend(found.notes);
            }
        }
        (Files::Fat(fat), Files::Fat(fat2)) if done.boots == 0 => {
            done.boots += 1;
            report.boot = compare_boot(fat, fat2, same)?;
        }
        _ => other(report, (one.1, two.1), number, same)?,
    }
    Ok(())
}

/// Compares two FATs; if one cannot be listed, at least their bytes.
fn compare_boot(a: &Fat, b: &Fat, same: impl Fn() -> Result<bool>) -> Result<boot::Changes> {
    match boot::compare(a, b) {
        Err(_) if same()? => Ok(boot::Changes::default()),
        compared => compared,
    }
}

/// Compares what only bytes can be said of.
fn other(
    report: &mut Report,
    facts: (&FileSystem, &FileSystem),
    number: u32,
    same: impl Fn() -> Result<bool>,
) -> Result<()> {
    let kinds = (facts.0.kind, facts.1.kind);
    // Room for others, and what no start of the system reads again.
    if matches!(kinds, ("extended", "extended") | ("swap", "swap")) || same()? {
        return Ok(());
    }
    if kinds.0 == kinds.1 {
        report.partitions.push(partitions::Change {
            partition: number,
            what: "content",
            a: None,
            b: None,
        });
    }
    report.notes.push(format!(
        "the files of partition {number} are not compared: {}",
        reason(facts.0, facts.1)
    ));
    Ok(())
}

/// Why two file systems cannot be compared.
fn reason(a: &FileSystem, b: &FileSystem) -> String {
    if let Some(note) = a.note.as_ref().or(b.note.as_ref()) {
        note.clone()
    } else if a.kind != b.kind {
        format!("one is {}, the other {}", a.kind, b.kind)
    } else if a.kind == "vfat" {
        "only those of the first boot partition are".to_owned()
    } else {
        format!("this command cannot read {}", a.kind)
    }
}
