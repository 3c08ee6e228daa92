//! `westwork-gen diff`: in what two images differ. Times are not compared.

pub mod args;
mod boot;
mod files;
mod packages;
mod partitions;
mod show;

use crate::images::image::Image;
use crate::images::image::ext4::Ext4;
use crate::images::image::fat::Fat;
use crate::images::image::probe::{FileSystem, probe};
use anyhow::{Context, Result};
use args::DiffArgs;
use serde::Serialize;
use std::path::Path;

/// Every difference; `--json` prints exactly this. Sizes are in bytes.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Nothing differs.
    same: bool,
    partitions: Vec<partitions::Change>,
    boot: boot::Changes,
    packages: packages::Changes,
    files: files::Changes,
    /// What could not be compared, and why.
    notes: Vec<String>,
}

/// Carries out `westwork-gen diff`. Returns 0 if nothing differs, 1 if something does, and
/// 2, with a printed error, if that cannot be said.
pub fn run(args: &DiffArgs) -> u8 {
    let report = compare(&args.a, &args.b).and_then(|report| {
        if args.json {
            println!(
                "{}",
                serde_json::to_string_pretty(&report).context("writing JSON")?
            );
        } else {
            print!("{}", show::show(&report));
        }
        Ok(report)
    });
    match report {
        Ok(report) if !report.notes.is_empty() && report.nothing_found() => 2,
        Ok(report) => u8::from(!report.same),
        Err(error) => {
            eprintln!("westwork-gen: {error:#}");
            2
        }
    }
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
    systems: Vec<FileSystem>,
}

impl Side {
    fn open(path: &Path) -> Result<Self> {
        let image = Image::open(path)?;
        let systems = image
            .table
            .partitions
            .iter()
            .map(|p| probe(image.slice(p)?));
        let systems = systems
            .collect::<Result<_>>()
            .with_context(|| format!("reading {}", path.display()))?;
        Ok(Self { image, systems })
    }

    /// Index of the first partition that holds a file system of this kind.
    fn first(&self, kind: &str) -> Option<usize> {
        self.systems
            .iter()
            .position(|fs| fs.kind == kind && fs.note.is_none())
    }

    fn slice(&self, index: usize) -> Result<crate::images::image::disk::Slice> {
        self.image.slice(&self.image.table.partitions[index])
    }
}

fn compare(a: &Path, b: &Path) -> Result<Report> {
    let (a, b) = (Side::open(a)?, Side::open(b)?);
    let mut report = Report {
        partitions: partitions::compare(&a, &b),
        ..Report::default()
    };
    let fat = |side: &Side| {
        side.first("vfat")
            .map(|at| Fat::open(side.slice(at)?))
            .transpose()
    };
    match (fat(&a)?, fat(&b)?) {
        (None, None) => {}
        (Some(a), Some(b)) => report.boot = boot::compare(&a, &b)?,
        _ => report
            .notes
            .push("only one of the images has a boot partition".to_owned()),
    }
    // Every ext4 with the same number on both sides; the first one is the root.
    let mut compared = 0;
    for (index, (fs_a, fs_b)) in a.systems.iter().zip(&b.systems).enumerate() {
        let number = a.image.table.partitions[index].number;
        match (fs_a.kind, fs_b.kind) {
            ("ext4", "ext4") if fs_a.note.is_none() && fs_b.note.is_none() => {
                let roots = (Ext4::open(a.slice(index)?)?, Ext4::open(b.slice(index)?)?);
                if compared == 0 {
                    report.packages = packages::compare(&roots.0, &roots.1)?;
                }
                report.files.add(files::compare(
                    &roots.0,
                    &roots.1,
                    (compared > 0).then_some(number),
                )?);
                compared += 1;
            }
            ("vfat" | "swap", _) => {}
            _ => report.notes.push(format!(
                "the files of partition {number} are not compared: {}",
                reason(fs_a, fs_b)
            )),
        }
    }
    report.same = report.nothing_found() && report.notes.is_empty();
    Ok(report)
}

/// Why two file systems cannot be compared.
fn reason(a: &FileSystem, b: &FileSystem) -> String {
    if let Some(note) = a.note.as_ref().or(b.note.as_ref()) {
        note.clone()
    } else if a.kind == b.kind {
        format!("this command cannot read {}", a.kind)
    } else {
        format!("one is {}, the other {}", a.kind, b.kind)
    }
}
