//! The whole page: head, contents, and the sections in their order.

use super::shown::Shown;
use super::{Facts, changes, packages, results, room, system, timeline, vulnerabilities};
use crate::base::size::size;
use crate::images::image::stream::Form;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// The page as text.
pub(super) fn page(facts: &Facts) -> String {
    let contents = contents(facts);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            (head(&facts.name))
            body {
                a.skip href="#main" { "Skip to the contents" }
                (header(facts))
                nav aria-label="Contents" {
                    ul { @for (anchor, title, _) in &contents { li { a href={"#" (anchor)} { (title) } } } }
                }
                main id="main" { @for (_, _, section) in &contents { (section) } }
                footer { p { "Made by westwork-gen " (env!("CARGO_PKG_VERSION")) " from the image alone, without a boot." } }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    let mut text = page.into_string();
    text.push('\n');
    text
}

/// Nothing but the style and the script that this program has is let in, whatever an image holds.
fn head(name: &str) -> Markup {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; img-src data:; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    html! {
        head {
            meta charset="utf-8";
            meta http-equiv="Content-Security-Policy" content=(policy);
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="referrer" content="no-referrer";
            link rel="icon" href="data:,";
            title { (Shown(name)) ": what is in it" }
            style { (PreEscaped(STYLE)) }
        }
    }
}

fn header(facts: &Facts) -> Markup {
    let (inspected, sizes) = (&facts.inspected, &facts.sizes);
    let system = inspected.system.as_ref();
    let os = system.and_then(|system| system.os_release.get("PRETTY_NAME"));
    let biggest = sizes.packages.first().filter(|package| package.size > 0);
    html! {
        header {
            h1 { (Shown(&facts.name)) }
            @if let (Some(os), Some(system)) = (os, system) {
                p.muted { (Shown(os)) ", " (Shown(system.architecture.as_deref().unwrap_or("unknown architecture"))) }
            }
            dl.figures {
                div { dt { "Image" } dd { (size(inspected.raw_size)) } }
                @if inspected.form != Form::Raw {
                    div { dt { "Packed" } dd { (size(inspected.file_size)) } }
                }
                div { dt { "Files" } dd { (size(sizes.size)) " " small { "in " (sizes.count) } } }
                div { dt { "Packages" } dd { (sizes.packages.len()) } }
                @if let Some(package) = biggest {
                    div { dt { "Biggest package" } dd { (Shown(&package.name)) " " small { (size(package.size)) } } }
                }
            }
        }
    }
}

/// Anchor, title and text of each section that there is.
fn contents(facts: &Facts) -> Vec<(&'static str, &'static str, Markup)> {
    let mut all = vec![
        ("room", "Room", room::room(facts)),
        ("partitions", "Partitions", room::partitions(facts)),
    ];
    if let Some(before) = &facts.before {
        all.push(("changes", "Changes", changes::section(before)));
    }
    if let Some(tests) = &facts.tests {
        all.push(("tests", "Tests", results::section(tests)));
    }
    if let Some(audit) = &facts.audit {
        let section = vulnerabilities::section(audit);
        all.push(("vulnerabilities", "Vulnerabilities", section));
    }
    all.push(("system", "System", system::section(facts)));
    if let Some(record) = &facts.record {
        all.push(("time", "Build time", timeline::section(record)));
    }
    if !facts.sizes.packages.is_empty() {
        all.push(("packages", "Packages", packages::section(facts)));
    }
    if !facts.inspected.recorded_sums.is_empty() {
        all.push(("checksums", "Checksums", checksums(facts)));
    }
    let notes = facts.inspected.notes.iter().chain(&facts.sizes.notes);
    let notes: Vec<&String> = notes.collect();
    if !notes.is_empty() {
        all.push(("notes", "Notes", notes_section(&notes)));
    }
    all
}

fn checksums(facts: &Facts) -> Markup {
    html! {
        section id="checksums" aria-labelledby="checksums-title" {
            h2 id="checksums-title" { "Checksums" }
            dl.facts {
                @for sum in &facts.inspected.recorded_sums {
                    dt { (Shown(&sum.recorded_in)) " " span.muted { "(" (sum.of) ", SHA-256)" } }
                    dd { code { (Shown(&sum.sha256)) } }
                }
            }
        }
    }
}

fn notes_section(notes: &[&String]) -> Markup {
    html! {
        section id="notes" aria-labelledby="notes-title" {
            h2 id="notes-title" { "Notes" }
            ul { @for note in notes.iter().take(200) { li { (Shown(note)) } } }
        }
    }
}
