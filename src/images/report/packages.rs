//! The installed packages: versions, sizes, and where they come from.

use super::Facts;
use super::maps::{BIGGEST, anchor};
use super::shown::{Shown, or_dash};
use crate::base::size::size;
use crate::images::image::Image;
use crate::images::image::probe::Files;
use crate::images::size::PackageSize;
use anyhow::Result;
use maud::{Markup, html};
use std::collections::HashMap;

/// Where dpkg's database is, and bytes of it that are looked at.
const STATUS: &str = "/var/lib/dpkg/status";
const LARGEST: u64 = 16 << 20;

/// Packages that are shown.
const MOST: usize = 10_000;

/// What dpkg's database says of a package's origin, by name and architecture.
pub(super) type Origins = HashMap<(String, String), Origin>;

pub(super) struct Origin {
    /// The source package, if it has another name.
    source: Option<String>,
    /// Who made it: the field `Origin`, otherwise the maintainer's name.
    who: Option<String>,
}

/// The origins of all packages, and why they cannot be said.
pub(super) fn origins(image: &Image) -> (Origins, Option<String>) {
    for partition in &image.table.partitions {
        let (_, files) = image.probe(partition);
        let Files::Tree(tree) = files else {
            continue;
        };
        let status: Result<Option<Vec<u8>>> = tree.file(STATUS, LARGEST);
        match status {
            Ok(Some(status)) => return (parse(&String::from_utf8_lossy(&status)), None),
            Ok(None) => {}
            Err(error) => return (Origins::new(), Some(format!("{error:#}"))),
        }
    }
    (Origins::new(), None)
}

fn parse(status: &str) -> Origins {
    let stanzas = status.split("\n\n").take(5 * MOST);
    let origins = stanzas.filter_map(|stanza| {
        let field = |name: &str| {
            let of = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned());
            stanza.lines().find_map(of)
        };
        let key = (field("Package")?, field("Architecture").unwrap_or_default());
        let without = |text: String, end: &str| {
            let short = text.split(end).next().unwrap_or_default();
            short.trim().trim_matches('"').to_owned()
        };
        let who = field("Origin").or_else(|| Some(without(field("Maintainer")?, "<")));
        let source = field("Source").map(|source| without(source, "("));
        Some((key, Origin { source, who }))
    });
    origins.collect()
}

/// The section about packages.
pub(super) fn section(facts: &Facts) -> Markup {
    let packages = &facts.sizes.packages;
    let more = packages.len().saturating_sub(MOST);
    html! {
        section id="packages" aria-labelledby="packages-title" {
            h2 id="packages-title" { "Packages" }
            p { (packages.len()) " packages. The size is what their files take in the image; the five biggest are marked." }
            div.scroll tabindex="0" role="region" aria-label="Packages" {
                table.sortable.filtered {
                    caption { "Packages, the largest first" }
                    thead { tr {
                        th scope="col" { "Package" }
                        th scope="col" { "Version" }
                        th.number scope="col" { "Size" }
                        th.number scope="col" { "Files" }
                        th scope="col" { "Source" }
                        th scope="col" { "Origin" }
                    } }
                    tbody {
                        @for (place, package) in packages.iter().take(MOST).enumerate() {
                            (row(facts, place, package))
                        }
                    }
                }
            }
            @if more > 0 { p { "and " (more) " more" } }
        }
    }
}

fn row(facts: &Facts, place: usize, package: &PackageSize) -> Markup {
    let key = (package.name.clone(), package.architecture.clone());
    let origin = facts.origins.get(&key);
    let version = if package.version.is_empty() {
        "removed, settings kept"
    } else {
        &package.version
    };
    html! {
        tr id=(anchor(place)) class=[(place < BIGGEST && package.size > 0).then_some("big")] {
            th scope="row" { (Shown(&package.name)) }
            td { (Shown(version)) }
            td.number data-v=(package.size) { (size(package.size)) }
            td.number data-v=(package.count) { (package.count) }
            td { (or_dash(origin.and_then(|origin| origin.source.as_deref()))) }
            td { (or_dash(origin.and_then(|origin| origin.who.as_deref()))) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maintainer_is_the_origin_unless_there_is_one() {
        let origins = parse(
            "Package: a\nArchitecture: all\nSource: b (1.0)\nMaintainer: Somebody Else <x@y>\n\n\
             Package: c\nArchitecture: arm64\nOrigin: Elsewhere\nMaintainer: N <x@y>\n",
        );
        let of = |name: &str, arch: &str| &origins[&(name.to_owned(), arch.to_owned())];
        assert_eq!(of("a", "all").source.as_deref(), Some("b"));
        assert_eq!(of("a", "all").who.as_deref(), Some("Somebody Else"));
        assert_eq!(of("c", "arm64").who.as_deref(), Some("Elsewhere"));
    }
}
