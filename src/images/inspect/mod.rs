//! `westwork-gen inspect`: what is in an image, for people and as JSON.

pub mod args;
mod boot;
mod show;
mod sums;
mod system;

use crate::images::image::probe::{FileSystem, probe};
use crate::images::image::stream::Form;
use crate::images::image::table::Partition;
use crate::images::image::{Image, ext4::Ext4, fat::Fat};
use anyhow::{Context, Result};
use args::InspectArgs;
use serde::Serialize;
use std::fs;
use std::path::Path;

pub(crate) use show::table;

/// Everything found; `--json` prints exactly this. Sizes are in bytes.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The file's name as it was given.
    image: String,
    form: Form,
    /// Bytes of the file, and of the raw image in it.
    file_size: u64,
    raw_size: u64,
    /// SHA-256 sums that files beside the image record; they are not compared here.
    recorded_sums: Vec<sums::Sum>,
    table: TableReport,
    /// The first FAT with a `config.txt` or `cmdline.txt`.
    boot: Option<boot::Boot>,
    /// The first readable file system with an `etc/os-release`.
    system: Option<system::System>,
    first_boot: Option<system::FirstBoot>,
    /// What could not be read, and why.
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct TableReport {
    /// `mbr`, `gpt` or `none`.
    kind: &'static str,
    id: Option<String>,
    partitions: Vec<PartitionReport>,
}

#[derive(Debug, Serialize)]
struct PartitionReport {
    #[serde(flatten)]
    partition: Partition,
    file_system: FileSystem,
}

/// Carries out `westwork-gen inspect`. Returns 0.
pub fn run(args: &InspectArgs) -> Result<u8> {
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
    let mut report = Report {
        image: path.display().to_string(),
        form: image.form,
        // A card in a reader is no file with a length.
        file_size: match image.form {
            Form::Raw => image.size,
            _ => fs::metadata(path)?.len(),
        },
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
    for partition in &image.table.partitions {
        let file_system = probe(image.slice(partition)?)
            .with_context(|| format!("reading partition {}", partition.number))?;
        look_into(&mut report, &image, partition, &file_system, with_packages)
            .with_context(|| format!("reading partition {}", partition.number))?;
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
    Ok(report)
}

/// Adds what the files of one partition say.
fn look_into(
    report: &mut Report,
    image: &Image,
    partition: &Partition,
    file_system: &FileSystem,
    with_packages: bool,
) -> Result<()> {
    let number = partition.number;
    match (file_system.kind, &file_system.note) {
        (kind, Some(note)) => report.notes.push(format!(
            "partition {number} ({kind}) cannot be read: {note}"
        )),
        ("vfat", None) if report.boot.is_none() => {
            report.boot = boot::read(&Fat::open(image.slice(partition)?)?, number)?;
        }
        ("ext4", None) if report.system.is_none() => {
            let root = Ext4::open(image.slice(partition)?)?;
            report.system = system::system(&root, number, with_packages)?;
            if report.system.is_some() {
                let cmdline = report
                    .boot
                    .as_ref()
                    .and_then(|boot| boot.cmdline_txt.clone());
                report.first_boot = Some(system::first_boot(&root, &cmdline.unwrap_or_default())?);
            }
        }
        ("btrfs" | "squashfs" | "erofs", None) => report.notes.push(format!(
            "partition {number} is {}, whose files this command cannot read",
            file_system.kind
        )),
        _ => {}
    }
    Ok(())
}
