//! `inspect --size`: what takes the room, as text or as JSON.

use super::args::InspectArgs;
use super::show::table;
use crate::base::size::size;
use crate::images::image::Image;
use crate::images::printable::printable;
use crate::images::size::{self, Against, Change, Group, Sizes};
use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::HashMap;
use std::fmt::Write as _;

/// Lines of each table.
const TOP: usize = 20;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    /// The file's name as it was given.
    image: String,
    sizes: Sizes,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Other>,
}

#[derive(Debug, Serialize)]
struct Other {
    image: String,
    #[serde(flatten)]
    changes: Against,
    notes: Vec<String>,
}

/// Carries out `inspect --size`. Returns 0.
pub(super) fn run(args: &InspectArgs) -> Result<u8> {
    let sizes = size::measure(&Image::open(&args.image)?);
    let other = |path: &std::path::PathBuf| -> Result<Other> {
        let before = size::measure(&Image::open(path)?);
        Ok(Other {
            image: path.display().to_string(),
            changes: size::against(&before, &sizes),
            notes: before.notes,
        })
    };
    let against = args.against.as_ref().map(other).transpose()?;
    let report = Report {
        image: args.image.display().to_string(),
        sizes,
        against,
    };
    if args.json {
        let json = serde_json::to_string_pretty(&report).context("writing JSON")?;
        println!("{json}");
    } else {
        print!("{}", show(&report));
    }
    Ok(0)
}

/// The whole text, ending with a newline.
fn show(report: &Report) -> String {
    let sizes = &report.sizes;
    let mut text = format!(
        "{}: {} in {} files\n\n",
        printable(&report.image),
        size(sizes.size),
        sizes.count
    );
    text.push_str(&systems(sizes));
    text.push('\n');
    text.push_str(&packages(sizes));
    let share = |bytes: u64| share(bytes, sizes.size);
    let nobodys: Vec<&Group> = sizes.no_package.iter().take(TOP).collect();
    for (title, groups) in [
        ("files of no package", nobodys),
        ("directory", telling(&sizes.directories)),
    ] {
        let rows = groups.into_iter().map(|group| {
            [
                size(group.size),
                share(group.size),
                group.count.to_string(),
                group.path.clone(),
            ]
        });
        text.push('\n');
        text.push_str(&table(&["size", "share", "files", title], rows.collect()));
    }
    let rows = sizes.files.iter().take(TOP).map(|file| {
        let package = file.package.clone().unwrap_or_else(|| "-".to_owned());
        [
            size(file.size),
            share(file.size),
            package,
            file.path.clone(),
        ]
    });
    text.push('\n');
    text.push_str(&table(
        &["size", "share", "package", "file"],
        rows.collect(),
    ));
    let mut notes = sizes.notes.clone();
    if let Some(other) = &report.against {
        text.push_str(&changes(other));
        notes.extend(other.notes.iter().map(|n| format!("{}: {n}", other.image)));
    }
    for note in &notes {
        let _ = writeln!(text, "\nnote: {}", printable(note));
    }
    text
}

/// Directories that say something: not those that one of their own has nearly all of.
pub(crate) fn telling(directories: &[Group]) -> Vec<&Group> {
    let mut largest: HashMap<&str, u64> = HashMap::new();
    for group in directories {
        let above = match group.path.rsplit_once('/') {
            Some(("", _)) | None => "/",
            Some((above, _)) => above,
        };
        if group.path != "/" {
            let size = largest.entry(above).or_default();
            *size = (*size).max(group.size);
        }
    }
    let says = |group: &&Group| {
        let below = largest.get(group.path.as_str()).copied().unwrap_or(0);
        group.path != "/" && below < group.size - group.size / 20
    };
    directories.iter().filter(says).take(TOP).collect()
}

fn systems(sizes: &Sizes) -> String {
    let rows = sizes.file_systems.iter().map(|system| {
        [
            system.partition.to_string(),
            system.mount_point.clone(),
            system.kind.to_owned(),
            size(system.size),
            system.own.map_or_else(|| "packed".to_owned(), size),
        ]
    });
    let head = [
        "nr",
        "mounted at",
        "holds",
        "files",
        "tables and directories",
    ];
    table(&head, rows.collect())
}

fn packages(sizes: &Sizes) -> String {
    let nobodys: u64 = sizes.no_package.iter().map(|group| group.size).sum();
    let files: u64 = sizes.no_package.iter().map(|group| group.count).sum();
    let mut rows = vec![[
        size(nobodys),
        share(nobodys, sizes.size),
        files.to_string(),
        "(no package)".to_owned(),
        String::new(),
    ]];
    rows.extend(sizes.packages.iter().take(TOP).map(|package| {
        [
            size(package.size),
            share(package.size, sizes.size),
            package.count.to_string(),
            package.name.clone(),
            package.version.clone(),
        ]
    }));
    let more = sizes.packages.len().saturating_sub(TOP);
    let mut text = table(&["size", "share", "files", "package", "version"], rows);
    if more > 0 {
        let rest = sizes.packages.iter().skip(TOP).map(|package| package.size);
        let _ = writeln!(text, "{} in {more} more packages", size(rest.sum()));
    }
    text
}

fn share(bytes: u64, of: u64) -> String {
    format!("{:.1} %", bytes as f64 * 100.0 / of.max(1) as f64)
}

fn changes(other: &Other) -> String {
    let changes = &other.changes;
    let by = i128::from(changes.now) - i128::from(changes.before);
    let mut text = format!(
        "\nagainst {}: {}, from {} to {}\n",
        printable(&other.image),
        signed(i64::try_from(by).unwrap_or(i64::MAX)),
        size(changes.before),
        size(changes.now)
    );
    for (title, list) in [
        ("package", &changes.packages),
        ("files of no package", &changes.no_package),
        ("directory", &changes.directories),
        ("file", &changes.files),
    ] {
        if list.is_empty() {
            continue;
        }
        let rows = list.iter().take(TOP).map(|change: &Change| {
            let known = |size_: Option<u64>| size_.map_or_else(|| "-".to_owned(), size);
            [
                signed(change.by()),
                known(change.before),
                known(change.now),
                change.name.clone(),
            ]
        });
        text.push('\n');
        text.push_str(&table(&["change", "before", "now", title], rows.collect()));
        if list.len() > TOP {
            let _ = writeln!(text, "and {} more", list.len() - TOP);
        }
    }
    text
}

/// A number of bytes with its sign.
fn signed(bytes: i64) -> String {
    let sign = if bytes < 0 { '-' } else { '+' };
    format!("{sign}{}", size(bytes.unsigned_abs()))
}
