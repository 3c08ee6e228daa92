//! What takes the room: partitions to scale, treemaps, and the largest directories and files.

use super::shown::{Shown, number, or_dash, share};
use super::{Facts, maps, treemap};
use crate::base::size::size;
use crate::images::inspect::{PartitionReport, telling};
use crate::images::size::Group;
use maud::{Markup, html};

/// Rows of each table, and partitions that are drawn.
const MOST: usize = 100;
const MOST_PARTITIONS: usize = 128;

/// Units that the bar of partitions is wide.
const WIDTH: f64 = 1000.0;

/// The section about partitions.
pub(super) fn partitions(facts: &Facts) -> Markup {
    let table = &facts.inspected.table;
    let partitions = &table.partitions[..table.partitions.len().min(MOST_PARTITIONS)];
    html! {
        section id="partitions" aria-labelledby="partitions-title" {
            h2 id="partitions-title" { "Partitions" }
            p { "The whole image of " (size(facts.inspected.raw_size)) ", to scale. The darker part of a partition is used." }
            (bar(partitions, facts.inspected.raw_size))
            div.scroll tabindex="0" role="region" aria-label="Partitions" {
                table {
                    caption { "Partition table: " (Shown(table.kind)) " " (Shown(table.id.as_deref().unwrap_or_default())) }
                    thead { tr {
                        th scope="col" { "Nr" }
                        th scope="col" { "Holds" }
                        th scope="col" { "Label" }
                        th scope="col" { "Mounted at" }
                        th.number scope="col" { "Begin" }
                        th.number scope="col" { "Size" }
                        th.number scope="col" { "Used" }
                        th.number scope="col" { "Free" }
                        th.number scope="col" { "In files" }
                    } }
                    tbody { @for report in partitions { (partition(facts, report)) } }
                }
            }
        }
    }
}

fn partition(facts: &Facts, report: &PartitionReport) -> Markup {
    let (p, fs) = (&report.partition, &report.file_system);
    let known = |value: Option<u64>| value.map_or_else(|| "–".to_owned(), size);
    let mut measured = facts.sizes.file_systems.iter();
    let measured = measured.find(|system| system.partition == p.number);
    html! {
        tr {
            th scope="row" { span class={"swatch part" (p.number % 4)} {} (p.number) }
            td { (Shown(fs.kind)) }
            td { (or_dash(fs.label.as_deref().or(p.name.as_deref()))) }
            td { (or_dash(measured.map(|system| system.mount_point.as_str()))) }
            td.number { (size(p.start)) }
            td.number { (size(p.size)) }
            td.number { (known(fs.used)) }
            td.number { (known(fs.free)) }
            td.number { (known(measured.map(|system| system.size))) }
        }
    }
}

/// The image as one bar. Partitions of no width at all are still seen.
fn bar(partitions: &[PartitionReport], of: u64) -> Markup {
    let scale = WIDTH / of.max(1) as f64;
    let parts = partitions
        .iter()
        .filter(|report| !report.partition.is_extended());
    html! {
        svg.disk viewBox={"0 0 " (WIDTH) " 40"} preserveAspectRatio="none" role="img"
            aria-label="Partitions to scale; the table below has the numbers" {
            rect.track x="0" y="0" width=(WIDTH) height="40" {}
            @for report in parts {
                @let p = &report.partition;
                @let x = (p.start as f64 * scale).min(WIDTH);
                @let w = (p.size as f64 * scale).min(WIDTH - x).max(1.0);
                @let used = report.file_system.used.unwrap_or(0) as f64 * scale;
                g {
                    title { "partition " (p.number) ", " (Shown(report.file_system.kind)) ": " (size(p.size)) }
                    rect class={"part part" (p.number % 4)} x=(number(x)) y="0" width=(number(w)) height="40" {}
                    rect class={"used part" (p.number % 4)} x=(number(x)) y="0" width=(number(used.min(w))) height="40" {}
                }
            }
        }
    }
}

/// The section with the pictures, and the tables of directories and files.
pub(super) fn room(facts: &Facts) -> Markup {
    let sizes = &facts.sizes;
    let biggest = sizes
        .packages
        .iter()
        .take(maps::BIGGEST)
        .filter(|p| p.size > 0);
    html! {
        section id="room" aria-labelledby="room-title" {
            h2 id="room-title" { "What takes the room" }
            @if !sizes.packages.is_empty() {
                h3 { "By package" }
                p { "The five biggest packages:" }
                ol.biggest {
                    @for (place, package) in biggest.enumerate() {
                        li {
                            span class={"swatch b" (place + 1)} {}
                            a href={"#" (maps::anchor(place))} { (Shown(&package.name)) }
                            " " span.muted { (size(package.size)) ", " (share(package.size, sizes.size)) }
                        }
                    }
                }
                figure {
                    (treemap::pictures("Packages by size; the table of packages has the numbers", &maps::packages(sizes)))
                    figcaption { "An area for each package, as large as its files are. An area leads to the package's row below." }
                }
            }
            h3 { "By directory" }
            figure {
                (treemap::pictures("Directories by size; the table of directories has the numbers", &maps::directories(sizes)))
                figcaption { "Directories within directories, as large as the files below them." }
            }
            (directories(facts))
            (files(facts))
            (no_package(facts))
        }
    }
}

fn directories(facts: &Facts) -> Markup {
    html! {
        details {
            summary { "The largest directories" }
            (groups("Directories with everything below them", facts.sizes.size, &telling(&facts.sizes.directories)))
        }
    }
}

fn no_package(facts: &Facts) -> Markup {
    let list: Vec<&Group> = facts.sizes.no_package.iter().take(MOST).collect();
    html! {
        details id="no-package" {
            summary { "Files of no package" }
            (groups("Files that dpkg does not know, by directory", facts.sizes.size, &list))
        }
    }
}

fn groups(caption: &str, of: u64, list: &[&Group]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table.sortable {
                caption { (caption) }
                thead { tr { th scope="col" { "Directory" } th.number scope="col" { "Size" } th.number scope="col" { "Share" } th.number scope="col" { "Files" } } }
                tbody {
                    @for group in list {
                        tr {
                            th scope="row" { (Shown(&group.path)) }
                            td.number data-v=(group.size) { (size(group.size)) }
                            td.number data-v=(group.size) { (share(group.size, of)) }
                            td.number data-v=(group.count) { (group.count) }
                        }
                    }
                }
            }
        }
    }
}

fn files(facts: &Facts) -> Markup {
    let list = &facts.sizes.files[..facts.sizes.files.len().min(MOST)];
    html! {
        details {
            summary { "The largest files" }
            div.scroll tabindex="0" role="region" aria-label="The largest files" {
                table.sortable {
                    caption { "The " (list.len()) " largest files of " (facts.sizes.count) }
                    thead { tr { th scope="col" { "File" } th.number scope="col" { "Size" } th scope="col" { "Package" } } }
                    tbody {
                        @for file in list {
                            tr {
                                th scope="row" { (Shown(&file.path)) }
                                td.number data-v=(file.size) { (size(file.size)) }
                                td { (or_dash(file.package.as_deref())) }
                            }
                        }
                    }
                }
            }
        }
    }
}
