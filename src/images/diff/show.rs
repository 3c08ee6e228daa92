//! The differences as text.

use super::Report;
use super::files::Entry;
use crate::base::size::size;
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
            let _ = writeln!(
                text,
                "  ~ {place}  {} {} -> {}",
                change.what,
                value(&change.a),
                value(&change.b)
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
                .map(super::files::Difference::words)
                .collect();
            let _ = writeln!(text, "  ~ {}  {}", change.path, what.join(", "));
        }
    }
    for note in &report.notes {
        let _ = writeln!(text, "note: {note}");
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
            let _ = writeln!(text, "  {sign} {path}");
            let lines = boot
                .configuration
                .iter()
                .filter(|text| sign == '~' && text.file == *path);
            for line in lines.flat_map(|text| &text.lines) {
                let sign = if line.only_in == 'a' { '-' } else { '+' };
                let _ = writeln!(text, "      {sign}{}", line.text);
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
                p.name,
                p.version,
                size(p.installed_size)
            );
        }
    }
    for change in &packages.changed {
        let _ = writeln!(text, "  ~ {} {} -> {}", change.name, change.a, change.b);
    }
}

fn heading(text: &mut String, what: &str, added: usize, removed: usize, changed: usize) {
    let _ = writeln!(
        text,
        "{what}: {added} added, {removed} removed, {changed} changed"
    );
}

/// Paths; a whole directory on one line.
fn paths(text: &mut String, sign: char, entries: &[Entry]) {
    let mut covered: Vec<String> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        if covered
            .iter()
            .any(|dir| entry.path.starts_with(dir.as_str()))
        {
            continue;
        }
        if entry.kind == "directory" {
            let dir = format!("{}/", entry.path);
            let below: Vec<&Entry> = entries[index..]
                .iter()
                .filter(|e| e.path.starts_with(&dir))
                .collect();
            let bytes = below.iter().map(|e| e.size).sum();
            let _ = writeln!(
                text,
                "  {sign} {dir}  {} entries, {}",
                below.len(),
                size(bytes)
            );
            covered.push(dir);
        } else {
            let _ = writeln!(text, "  {sign} {}  {}", entry.path, size(entry.size));
        }
    }
}
