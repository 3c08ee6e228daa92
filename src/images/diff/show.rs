//! The differences as text.

use super::Report;
use super::files::Node;
use crate::base::size::size;
use crate::images::printable::printable;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

/// The whole text; empty if nothing differs.
pub(super) fn show(report: &Report) -> String {
    let mut text = String::new();
    if !report.partitions.is_empty() {
        text.push_str("partitions\n");
        for change in &report.partitions {
            let place = match change.partition {
                0 => "disk".to_owned(),
                number => number.to_string(),
            };
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
            if change.a.is_none() && change.b.is_none() {
                let _ = writeln!(text, "  ~ {place}  {}", change.what);
                continue;
            }
            let _ = writeln!(
                text,
                "  ~ {place}  {} {} -> {}",
                change.what,
                printable(&value(&change.a)),
                printable(&value(&change.b))
            );
        }
    }
    boot(report, &mut text);
    packages(report, &mut text);
    let files = &report.files;
    if !files.is_empty() {
        heading(
            &mut text,
            "files",
            files.added.len(),
            files.removed.len(),
            files.changed.len(),
        );
        paths(&mut text, '+', &files.added);
        paths(&mut text, '-', &files.removed);
        for change in &files.changed {
            let what: Vec<String> = change
                .what
                .iter()
                .map(|what| printable(&what.words()))
                .collect();
            let _ = writeln!(text, "  ~ {}  {}", printable(&change.path), what.join(", "));
        }
    }
    for note in &report.notes {
        let _ = writeln!(text, "note: {}", printable(note));
    }
    text
}

fn boot(report: &Report, text: &mut String) {
    let boot = &report.boot;
    if boot.is_empty() {
        return;
    }
    heading(
        text,
        "boot partition",
        boot.added.len(),
        boot.removed.len(),
        boot.changed.len(),
    );
    for (sign, paths) in [
        ('+', &boot.added),
        ('-', &boot.removed),
        ('~', &boot.changed),
    ] {
        for path in paths {
            let _ = writeln!(text, "  {sign} {}", printable(path));
            let lines = boot
                .configuration
                .iter()
                .filter(|text| sign == '~' && text.file == *path);
            for line in lines.flat_map(|text| &text.lines) {
                let sign = if line.only_in == 'a' { '-' } else { '+' };
                let _ = writeln!(text, "      {sign}{}", printable(&line.text));
            }
        }
    }
}

fn packages(report: &Report, text: &mut String) {
    let packages = &report.packages;
    if packages.is_empty() {
        return;
    }
    heading(
        text,
        "packages",
        packages.added.len(),
        packages.removed.len(),
        packages.changed.len(),
    );
    for (sign, list) in [('+', &packages.added), ('-', &packages.removed)] {
        for p in list {
            let _ = writeln!(
                text,
                "  {sign} {} {} ({})",
                printable(&p.name),
                printable(&p.version),
                size(p.installed_size)
            );
        }
    }
    for change in &packages.changed {
        let _ = writeln!(
            text,
            "  ~ {} {} -> {}",
            printable(&change.name),
            printable(&change.a),
            printable(&change.b)
        );
    }
}

fn heading(text: &mut String, what: &str, added: usize, removed: usize, changed: usize) {
    let _ = writeln!(
        text,
        "{what}: {added} added, {removed} removed, {changed} changed"
    );
}

/// Paths; a whole directory on one line.
fn paths(text: &mut String, sign: char, entries: &[Node]) {
    let directories: HashSet<&str> = entries
        .iter()
        .filter(|entry| entry.kind == "directory")
        .map(|entry| entry.path.as_str())
        .collect();
    // The first directory on the way to a path that is listed itself.
    let above = |path: &'_ str| -> Option<usize> {
        let mut ends = path.match_indices('/').map(|(at, _)| at);
        ends.find(|end| directories.contains(&path[..*end]))
    };
    let mut below: HashMap<&str, (usize, u64)> = HashMap::new();
    for entry in entries {
        if let Some(end) = above(&entry.path) {
            let (number, bytes) = below.entry(&entry.path[..end]).or_default();
            *number += 1;
            *bytes = bytes.saturating_add(entry.size);
        }
    }
    for entry in entries.iter().filter(|entry| above(&entry.path).is_none()) {
        let path = printable(&entry.path);
        if entry.kind == "directory" {
            let (number, bytes) = below.get(&*entry.path).copied().unwrap_or_default();
            let _ = writeln!(text, "  {sign} {path}/  {number} entries, {}", size(bytes));
        } else {
            let _ = writeln!(text, "  {sign} {path}  {}", size(entry.size));
        }
    }
}
