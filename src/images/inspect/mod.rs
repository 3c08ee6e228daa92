//! `westwork-gen inspect`: what is in an image, for people and as JSON.

pub mod args;
pub(crate) mod boot;
mod show;
mod size;
pub(crate) mod sums;
pub(crate) mod system;

use crate::images::image::Image;
use crate::images::image::probe::{FileSystem, Files};
use crate::images::image::stream::Form;
use crate::images::image::table::Partition;
use crate::images::image::tree::Tree;
use anyhow::{Context, Result};
use args::InspectArgs;
use serde::Serialize;
use std::fs;
use std::path::Path;

pub(crate) use show::table;
pub(crate) use size::telling;

/// Everything found; `--json` prints exactly this. Sizes are in bytes.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The file's name as it was given.
    pub(crate) image: String,
    pub(crate) form: Form,
    /// Bytes of the file, and of the raw image in it.
    pub(crate) file_size: u64,
    pub(crate) raw_size: u64,
    /// SHA-256 sums that files beside the image record; they are not compared here.
    pub(crate) recorded_sums: Vec<sums::Sum>,
    pub(crate) table: TableReport,
    /// The first FAT with a `config.txt` or `cmdline.txt`.
    pub(crate) boot: Option<boot::Boot>,
    /// The first readable file system with an `etc/os-release`.
    pub(crate) system: Option<system::System>,
    pub(crate) first_boot: Option<system::FirstBoot>,
    /// What could not be read, and why.
    pub(crate) notes: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct TableReport {
    /// `mbr`, `gpt` or `none`.
    pub(crate) kind: &'static str,
    pub(crate) id: Option<String>,
    pub(crate) partitions: Vec<PartitionReport>,
}

#[derive(Debug, Serialize)]
pub(crate) struct PartitionReport {
    #[serde(flatten)]
    pub(crate) partition: Partition,
    pub(crate) file_system: FileSystem,
}

/// Carries out `westwork-gen inspect`. Returns 0.
pub fn run(args: &InspectArgs) -> Result<u8> {
    if args.size {
        return size::run(args);
    }
    let report = inspect(&args.image, args.packages)?;
    if args.json {
        let json = serde_json::to_string_pretty(&report).context("writing JSON")?;
        println!("{json}");
    } else {
        print!("{}", show::show(&report, args.packages));
    }
    Ok(0)
}

/// Reads the image at `path`.
fn inspect(path: &Path, with_packages: bool) -> Result<Report> {
    let image = Image::open(path)?;
    let file_size = file_size(&image, path)?;
    Ok(describe(&image, path, file_size, with_packages))
}

/// Bytes of the file at `path`, which holds `image`.
pub(crate) fn file_size(image: &Image, path: &Path) -> Result<u64> {
    Ok(match image.form {
        // A card in a reader is no file with a length.
        Form::Raw => image.size,
        _ => fs::metadata(path)?.len(),
    })
}

/// What is in `image`, whose file at `path` has `file_size` bytes.
pub(crate) fn describe(image: &Image, path: &Path, file_size: u64, with_packages: bool) -> Report {
    let mut report = Report {
        image: path.display().to_string(),
        form: image.form,
        file_size,
        raw_size: image.size,
        recorded_sums: sums::recorded(path),
        table: TableReport {
            kind: image.table.kind,
            id: image.table.id.clone(),
            partitions: Vec::new(),
        },
        boot: None,
        system: None,
        first_boot: None,
        notes: Vec::new(),
    };
    report.notes.extend(image.table.note.clone());
    for partition in &image.table.partitions {
        let (file_system, files) = image.probe(partition);
        if let Err(error) = look_into(&mut report, partition.number, files, with_packages) {
            let number = partition.number;
            report.notes.push(format!("partition {number}: {error:#}"));
        }
        report.notes.extend(file_system.unread(partition.number));
        report.table.partitions.push(PartitionReport {
            partition: partition.clone(),
            file_system,
        });
    }
    if report.system.is_none() {
        report.notes.push(
            "no root file system could be read, so packages and first-boot state are not shown"
                .to_owned(),
        );
    }
    report
}

/// The text that is shown of `image`.
#[cfg(any(fuzzing, test))]
pub(super) fn text_of(image: &Image) -> String {
    show::show(&describe(image, Path::new("fuzz"), 0, true), true)
}

/// Adds what the files of partition `number` say.
fn look_into(report: &mut Report, number: u32, files: Files, with_packages: bool) -> Result<()> {
    match files {
        Files::Fat(fat) if report.boot.is_none() => {
            report.boot = boot::read(&fat, number, &mut report.notes)?;
        }
        Files::Tree(root) if report.system.is_none() => {
            report.system = system::system(&root, number, with_packages)?;
            if report.system.is_some() {
                report.first_boot = Some(first_boot(report, &root)?);
            }
        }
        _ => {}
    }
    Ok(())
}

fn first_boot(report: &Report, root: &Tree) -> Result<system::FirstBoot> {
    let boot = report.boot.as_ref();
    let cmdline = boot.and_then(|boot| boot.cmdline_txt.as_deref());
    system::first_boot(root, cmdline.unwrap_or_default())
}
