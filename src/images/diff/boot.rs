//! Differences of the boot partitions: files, and configuration line by line.

use crate::images::image::fat::Fat;
use anyhow::Result;
use serde::Serialize;
use similar::{ChangeTag, TextDiff};
use std::time::Duration;

#[derive(Debug, Default, Serialize)]
pub(crate) struct Changes {
    pub(crate) added: Vec<String>,
    pub(crate) removed: Vec<String>,
    /// Files whose content differs.
    pub(crate) changed: Vec<String>,
    /// Of the changed ones, those ending in `.txt`, line by line (`cmdline.txt`: word by
    /// word).
    pub(crate) configuration: Vec<Text>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Text {
    pub(crate) file: String,
    /// In A only, and in B only, in the order of the files.
    pub(crate) lines: Vec<Line>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Line {
    /// `a` or `b`.
    pub(crate) only_in: char,
    pub(crate) text: String,
}

/// Bytes of a text that is compared line by line, and how long that may take: two texts with
/// nothing in common take the square of their length.
const LARGEST_TEXT: u64 = 256 << 10;
const LONGEST: Duration = Duration::from_secs(5);

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

pub(super) fn compare(a: &Fat, b: &Fat) -> Result<Changes> {
    let (before, after) = (a.files()?, b.files()?);
    let missing =
        |from: &std::collections::BTreeMap<String, u64>, path: &&String| !from.contains_key(*path);
    let mut changes = Changes {
        added: after
            .keys()
            .filter(|path| missing(&before, path))
            .cloned()
            .collect(),
        removed: before
            .keys()
            .filter(|path| missing(&after, path))
            .cloned()
            .collect(),
        ..Changes::default()
    };
    for (path, size) in &before {
        let Some(size_b) = after.get(path) else {
            continue;
        };
        // What the firmware reads is some kilobytes.
        let text = path.ends_with(".txt") && *size.max(size_b) <= LARGEST_TEXT;
        if !text {
            if size != size_b || !a.same(path, b)? {
                changes.changed.push(path.clone());
            }
            continue;
        }
        let read =
            |fat: &Fat| Ok::<_, anyhow::Error>(fat.read(path, LARGEST_TEXT)?.unwrap_or_default());
        let (old, new) = (read(a)?, read(b)?);
        if old == new {
            continue;
        }
        changes.changed.push(path.clone());
        changes.configuration.push(Text {
            file: path.clone(),
            lines: lines(
                path,
                &String::from_utf8_lossy(&old),
                &String::from_utf8_lossy(&new),
            ),
        });
    }
    Ok(changes)
}

fn lines(path: &str, a: &str, b: &str) -> Vec<Line> {
    let diff = if path.ends_with("cmdline.txt") {
        let words = |text: &'_ str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        (words(a), words(b))
    } else {
        let lines = |text: &'_ str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        (lines(a), lines(b))
    };
    let (a, b): (Vec<&str>, Vec<&str>) = (
        diff.0.iter().map(String::as_str).collect(),
        diff.1.iter().map(String::as_str).collect(),
    );
    TextDiff::configure()
        .timeout(LONGEST)
        .diff_slices(&a, &b)
        .iter_all_changes()
        .filter_map(|change| {
            let only_in = match change.tag() {
                ChangeTag::Delete => 'a',
                ChangeTag::Insert => 'b',
                ChangeTag::Equal => return None,
            };
            Some(Line {
                only_in,
                text: change.value().to_owned(),
            })
        })
        .collect()
}
