//! The known vulnerabilities, from what `audit --json` printed.

use super::shown::{Shown, or_dash};
use crate::base::problem::{Problem, Problems};
use crate::images::audit::{Audit, Finding, fix, word};
use anyhow::{Context, Result};
use maud::{Markup, html};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes of such a file, and rows that are shown.
const LARGEST: u64 = 256 << 20;
const MOST: usize = 5000;

/// Reads the audit in the file at `path`.
///
/// # Errors
/// [`Problems`] if it is none.
pub(super) fn read(path: &Path) -> Result<Audit> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST).read_to_string(&mut text))
        .with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| {
        let what = format!("this is no audit: {error}");
        let remedy = "write one: westwork-gen audit --json IMAGE > FILE";
        Problems(vec![Problem::new(what, remedy).at(path)]).into()
    })
}

/// The section about vulnerabilities.
pub(super) fn section(audit: &Audit) -> Markup {
    let all = &audit.findings;
    let fixed = all.iter().filter(|it| it.fixed_version.is_some()).count();
    let more = all.len().saturating_sub(MOST);
    html! {
        section id="vulnerabilities" aria-labelledby="vulnerabilities-title" {
            h2 id="vulnerabilities-title" { "Known vulnerabilities" }
            p {
                (all.len()) " found in " (Shown(&audit.subject.name)) ", " (fixed) " with a fix."
                @for data in &audit.data { " Data: " (Shown(&data.from)) " of " (Shown(&data.date)) "." }
            }
            @if !all.is_empty() {
                div.scroll tabindex="0" role="region" aria-label="Known vulnerabilities" {
                    table.sortable.filtered {
                        caption { "Vulnerabilities, those that fail first" }
                        thead { tr {
                            th scope="col" { "Identifier" }
                            th scope="col" { "Severity" }
                            th scope="col" { "Package" }
                            th scope="col" { "Version" }
                            th scope="col" { "Fixed in" }
                            th scope="col" { "What" }
                        } }
                        tbody { @for finding in all.iter().take(MOST) { (row(finding)) } }
                    }
                }
            }
            @if more > 0 { p { "and " (more) " more" } }
            @for note in audit.notes.iter().take(200) { p.note { "note: " (Shown(note)) } }
        }
    }
}

fn row(finding: &Finding) -> Markup {
    // Nobody's word stands between high and medium, as in the audit.
    let level = finding.severity.map_or(5, |level| 2 * level as u8);
    html! {
        tr class=[finding.fails.then_some("big")] {
            th scope="row" { (Shown(&finding.id)) }
            td data-v=(level) { (or_dash(finding.severity.map(|it| it.word()))) }
            td { (Shown(&finding.name)) }
            td { (Shown(&finding.version)) }
            td { (Shown(&fix(finding))) }
            td {
                (Shown(&finding.description))
                @if let Some(said) = &finding.statement {
                    p.muted {
                        @if said.expired { "expired: " }
                        (word(said.status)) ": " (Shown(&said.reason)) " (" (Shown(&said.author)) ", until " (Shown(&said.expires)) ")"
                    }
                }
            }
        }
    }
}
