//! The report as text.

use super::boot::{Boot, BootFile};
use super::system::{FirstBoot, System};
use super::{PartitionReport, Report};
use crate::base::size::size;
use crate::images::image::packages::Package;
use crate::images::image::stream::Form;
use crate::images::printable::printable;
use std::fmt::Write as _;

/// The whole text, ending with a newline.
pub(super) fn show(report: &Report, with_packages: bool) -> String {
    let mut text = show_image(report);
    text.push('\n');
    text.push_str(&partitions(&report.table.partitions));
    if let Some(boot) = &report.boot {
        text.push_str(&show_boot(boot));
    }
    if let Some(system) = &report.system {
        text.push_str(&show_system(system));
    }
    if let Some(first_boot) = &report.first_boot {
        text.push_str(&show_first_boot(first_boot));
    }
    for note in &report.notes {
        let _ = writeln!(text, "\nnote: {}", printable(note));
    }
    let packages = report.system.as_ref().and_then(|s| s.packages.as_ref());
    let list = packages.and_then(|packages| packages.list.as_ref());
    if let (true, Some(list)) = (with_packages, list) {
        text.push('\n');
        text.push_str(&show_packages(list));
    }
    text
}

fn show_image(report: &Report) -> String {
    let bytes = match report.form {
        Form::Raw => size(report.raw_size),
        form => format!(
            "{} raw, {} as {}",
            size(report.raw_size),
            size(report.file_size),
            format!("{form:?}").to_lowercase()
        ),
    };
    let mut lines = vec![("image", report.image.clone()), ("size", bytes)];
    for sum in &report.recorded_sums {
        let value = format!("{} ({}, in {})", sum.sha256, sum.of, sum.recorded_in);
        lines.push(("sha256", value));
    }
    let id = report.table.id.as_deref().unwrap_or_default();
    let table = format!("{} {id}", report.table.kind);
    lines.push(("table", table.trim().to_owned()));
    pairs(&lines)
}

fn show_packages(list: &[Package]) -> String {
    let rows = list.iter().map(|p| {
        [
            p.name.clone(),
            p.version.clone(),
            p.architecture.clone(),
            size(p.installed_size),
        ]
    });
    table(&["package", "version", "arch", "size"], rows.collect())
}

fn partitions(partitions: &[PartitionReport]) -> String {
    let rows = partitions.iter().map(|report| {
        let (p, fs) = (&report.partition, &report.file_system);
        let known = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), size);
        let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        [
            p.number.to_string(),
            size(p.start),
            size(p.size),
            p.type_name.map_or_else(|| p.type_id.clone(), str::to_owned),
            fs.kind.to_owned(),
            word(if fs.label.is_some() {
                &fs.label
            } else {
                &p.name
            }),
            known(fs.used),
            known(fs.free),
            word(&fs.uuid),
        ]
    });
    let head = [
        "nr", "start", "size", "type", "holds", "label", "used", "free", "uuid",
    ];
    table(&head, rows.collect())
}

fn show_boot(boot: &Boot) -> String {
    let files = |files: &[BootFile]| {
        let all: Vec<String> = files
            .iter()
            .map(|f| format!("{} ({})", f.path, size(f.size)))
            .collect();
        all.join(", ")
    };
    let trees: Vec<&str> = boot.device_trees.iter().map(|f| f.path.as_str()).collect();
    let mut text = format!("\nboot partition ({})\n", boot.partition);
    text.push_str(&pairs(&[
        ("  kernel", files(&boot.kernels)),
        ("  initramfs", files(&boot.initramfs)),
        ("  device trees", trees.join(" ")),
        ("  overlays", boot.overlays.to_string()),
        ("  customised by", boot.customisation.join(" ")),
    ]));
    for (name, content) in [
        ("cmdline.txt", &boot.cmdline_txt),
        ("config.txt", &boot.config_txt),
    ] {
        let _ = writeln!(text, "  {name}");
        for line in content.as_deref().unwrap_or_default().lines() {
            if !line.trim().is_empty() && !line.trim_start().starts_with('#') {
                let _ = writeln!(text, "    {}", printable(line.trim_end()));
            }
        }
    }
    text
}

fn show_system(system: &System) -> String {
    let name = system
        .os_release
        .get("PRETTY_NAME")
        .cloned()
        .unwrap_or_default();
    let packages = system.packages.as_ref().map_or_else(
        || "no dpkg database".to_owned(),
        |p| format!("{}, {} installed", p.count, size(p.installed_size)),
    );
    format!("\nsystem ({})\n", system.partition)
        + &pairs(&[
            ("  name", name),
            (
                "  architecture",
                system.architecture.clone().unwrap_or_default(),
            ),
            ("  host name", system.hostname.clone().unwrap_or_default()),
            ("  kernel modules", system.kernels.join(" ")),
            ("  packages", packages),
        ])
}

fn show_first_boot(state: &FirstBoot) -> String {
    let or = |list: String, none: &str| {
        if list.is_empty() {
            none.to_owned()
        } else {
            list
        }
    };
    let mut lines = vec![
        ("  machine id", state.machine_id.to_owned()),
        (
            "  ssh host keys",
            or(state.ssh_host_keys.join(" "), "none, made at first boot"),
        ),
        ("  growing", or(state.growing.join(" "), "nothing")),
        ("  asks for a user", yes(state.asks_for_user)),
        ("  Imager's settings", yes(state.imager_customisation)),
    ];
    for user in &state.users {
        let keys = if user.authorized_keys {
            ", ssh key"
        } else {
            ""
        };
        lines.push((
            "  user",
            format!(
                "{} ({}), password {}{keys}",
                user.name, user.uid, user.password
            ),
        ));
    }
    format!("\nfirst boot\n{}", pairs(&lines))
}

fn yes(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

/// `name  value` lines, aligned; those without a value are left out.
fn pairs(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(text, "{name:width$}  {}", printable(value));
    }
    text
}

/// A table with aligned columns.
pub(crate) fn table<const N: usize>(head: &[&str; N], rows: Vec<[String; N]>) -> String {
    let mut all = vec![head.map(str::to_owned)];
    all.extend(rows.into_iter().map(|row| row.map(|cell| printable(&cell))));
    let widths: Vec<usize> = (0..N)
        .map(|column| {
            all.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in &all {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:width$}"))
            .collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}
