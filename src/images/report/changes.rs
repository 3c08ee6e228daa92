//! What differs from an earlier image.

use super::Before;
use super::shown::Shown;
use crate::base::size::size;
use crate::images::diff::Report;
use crate::images::size::Change;
use maud::{Markup, html};

/// Rows of a list.
const MOST: usize = 200;

/// The section about differences.
pub(super) fn section(before: &Before) -> Markup {
    let report = &before.differences;
    let grown = i128::from(before.sizes.now) - i128::from(before.sizes.before);
    html! {
        section id="changes" aria-labelledby="changes-title" {
            h2 id="changes-title" { "What differs from " (Shown(&before.name)) }
            @if report.same {
                p { "Nothing differs." }
            } @else {
                p {
                    "Its files took " (size(before.sizes.before)) ", and take " (size(before.sizes.now)) " now: "
                    (signed(i64::try_from(grown).unwrap_or(i64::MAX))) "."
                }
                (sizes("Packages by how much they grew or shrank", &before.sizes.packages))
                (sizes("Files of no package, by directory", &before.sizes.no_package))
                (versions(report))
                (partitions(report))
                (boot(report))
                (files(report))
            }
            @for note in &report.notes { p.note { "note: " (Shown(note)) } }
        }
    }
}

/// A number of bytes with its sign.
fn signed(bytes: i64) -> String {
    let sign = if bytes < 0 { '−' } else { '+' };
    format!("{sign}{}", size(bytes.unsigned_abs()))
}

fn sizes(caption: &str, changes: &[Change]) -> Markup {
    let known = |bytes: Option<u64>| bytes.map_or_else(|| "–".to_owned(), size);
    html! {
        @if !changes.is_empty() {
            div.scroll tabindex="0" role="region" aria-label=(caption) {
                table.sortable {
                    caption { (caption) }
                    thead { tr { th scope="col" { "What" } th.number scope="col" { "Change" } th.number scope="col" { "Before" } th.number scope="col" { "Now" } } }
                    tbody {
                        @for change in changes.iter().take(MOST) {
                            tr {
                                th scope="row" { (Shown(&change.name)) }
                                td.number data-v=(change.by()) { (signed(change.by())) }
                                td.number data-v=(change.before.unwrap_or(0)) { (known(change.before)) }
                                td.number data-v=(change.now.unwrap_or(0)) { (known(change.now)) }
                            }
                        }
                    }
                }
            }
            (more(changes.len()))
        }
    }
}

fn more(number: usize) -> Markup {
    html! { @if number > MOST { p.muted { "and " (number - MOST) " more" } } }
}

fn versions(report: &Report) -> Markup {
    let packages = &report.packages;
    let (added, removed, changed) = (&packages.added, &packages.removed, &packages.changed);
    let heading = counted("Packages", added.len(), removed.len(), changed.len());
    html! {
        @if !packages.is_empty() {
            details open {
                summary { (heading) }
                ul.diff {
                    @for p in added.iter().take(MOST) { li.added { (Shown(&p.name)) " " (Shown(&p.version)) } }
                    @for p in removed.iter().take(MOST) { li.removed { (Shown(&p.name)) " " (Shown(&p.version)) } }
                    @for p in changed.iter().take(MOST) {
                        li.changed { (Shown(&p.name)) " " (Shown(&p.a)) " → " (Shown(&p.b)) }
                    }
                }
                (more(added.len().max(removed.len()).max(changed.len())))
            }
        }
    }
}

fn counted(what: &str, added: usize, removed: usize, changed: usize) -> String {
    format!("{what}: {added} added, {removed} removed, {changed} changed")
}

fn partitions(report: &Report) -> Markup {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    html! {
        @if !report.partitions.is_empty() {
            details {
                summary { "Partitions: " (report.partitions.len()) " properties differ" }
                ul.diff {
                    @for change in report.partitions.iter().take(MOST) {
                        li.changed {
                            @if change.partition == 0 { "disk" } @else { "partition " (change.partition) }
                            ", " (change.what)
                            @if change.a.is_some() || change.b.is_some() {
                                ": " (Shown(&value(&change.a))) " → " (Shown(&value(&change.b)))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn boot(report: &Report) -> Markup {
    let boot = &report.boot;
    html! {
        @if !boot.is_empty() {
            details {
                summary { (counted("Boot partition", boot.added.len(), boot.removed.len(), boot.changed.len())) }
                ul.diff {
                    @for path in boot.added.iter().take(MOST) { li.added { (Shown(path)) } }
                    @for path in boot.removed.iter().take(MOST) { li.removed { (Shown(path)) } }
                    @for path in boot.changed.iter().take(MOST) { li.changed { (Shown(path)) } }
                }
                @for text in &boot.configuration {
                    p { (Shown(&text.file)) }
                    ul.diff {
                        @for line in text.lines.iter().take(MOST) {
                            li class=(if line.only_in == 'a' { "removed" } else { "added" }) { (Shown(&line.text)) }
                        }
                    }
                }
            }
        }
    }
}

fn files(report: &Report) -> Markup {
    let files = &report.files;
    html! {
        @if !files.is_empty() {
            details {
                summary { (counted("Files", files.added.len(), files.removed.len(), files.changed.len())) }
                ul.diff {
                    @for node in files.added.iter().take(MOST) { li.added { (Shown(&node.path)) " " span.muted { (size(node.size)) } } }
                    @for node in files.removed.iter().take(MOST) { li.removed { (Shown(&node.path)) " " span.muted { (size(node.size)) } } }
                    @for change in files.changed.iter().take(MOST) {
                        @let what: Vec<String> = change.what.iter().map(|what| what.words()).collect();
                        li.changed { (Shown(&change.path)) " " span.muted { (Shown(&what.join(", "))) } }
                    }
                }
                (more(files.added.len().max(files.removed.len()).max(files.changed.len())))
            }
        }
    }
}
