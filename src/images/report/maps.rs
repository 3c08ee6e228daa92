//! What the treemaps show: packages, and directories in directories.

use super::shown::share;
use super::treemap::Cell;
use crate::base::size::size;
use crate::images::size::Sizes;
use std::collections::HashMap;

/// Packages that are marked.
pub(super) const BIGGEST: usize = 5;

/// The identifier of the row of the package at `place` in the list by size.
pub(super) fn anchor(place: usize) -> String {
    format!("p{place}")
}

/// Packages that have an area of their own, and what has one in a directory.
const MOST: usize = 120;
const MOST_PARTS: usize = 12;

/// What is smaller than this part of all is put together with its like.
const LEAST: u64 = 400;

/// Levels of directories.
const DEEPEST: usize = 4;

/// Colours for the directories at the second level.
const COLOURS: usize = 8;

fn cell(name: String, bytes: u64, of: u64, class: &str) -> Cell {
    Cell {
        title: format!("{name}: {}, {}", size(bytes), share(bytes, of)),
        name,
        size: bytes,
        class: class.to_owned(),
        ..Cell::default()
    }
}

/// The packages, the largest first; the rest and what is in no package are one area each.
pub(super) fn packages(sizes: &Sizes) -> Vec<Cell> {
    let all = sizes.size;
    let mut cells = Vec::new();
    let (mut rest, mut number) = (0, 0);
    for (place, package) in sizes.packages.iter().enumerate() {
        if place >= MOST || package.size < all / LEAST {
            rest += package.size;
            number += 1;
            continue;
        }
        let (name, class) = if place < BIGGEST {
            (
                format!("{}. {}", place + 1, package.name),
                format!("b{}", place + 1),
            )
        } else {
            (package.name.clone(), "n".to_owned())
        };
        cells.push(Cell {
            link: Some(format!("#{}", anchor(place))),
            ..cell(name, package.size, all, &class)
        });
    }
    if rest > 0 {
        cells.push(cell(
            format!("{number} smaller packages"),
            rest,
            all,
            "rest",
        ));
    }
    let nobodys: u64 = sizes.no_package.iter().map(|group| group.size).sum();
    if nobodys > 0 {
        cells.push(Cell {
            link: Some("#no-package".to_owned()),
            ..cell("no package".to_owned(), nobodys, all, "none")
        });
    }
    cells.sort_by_key(|cell| std::cmp::Reverse(cell.size));
    cells
}

/// What a directory has in it: a path, bytes, and how many files it is if it is a directory.
struct Entry<'a> {
    path: &'a str,
    size: u64,
    count: Option<u64>,
}

/// What is large enough to be drawn, by the directory it is in.
struct Drawing<'a> {
    all: u64,
    entries: HashMap<&'a str, Vec<Entry<'a>>>,
    /// Colours that were given.
    colours: usize,
}

/// The directories, each divided into its own directories and files.
pub(super) fn directories(sizes: &Sizes) -> Vec<Cell> {
    let groups = sizes.directories.iter().filter(|group| group.path != "/");
    let groups = groups.map(|group| Entry {
        path: &group.path,
        size: group.size,
        count: Some(group.count),
    });
    let files = sizes.files.iter().map(|file| Entry {
        path: &file.path,
        size: file.size,
        count: None,
    });
    let large = |entry: &Entry<'_>| entry.size > 0 && entry.size >= sizes.size / LEAST;
    let mut entries: HashMap<&str, Vec<Entry<'_>>> = HashMap::new();
    for entry in groups.chain(files).filter(large) {
        entries.entry(above(entry.path)).or_default().push(entry);
    }
    for list in entries.values_mut() {
        list.sort_by(|a, b| (b.size, a.path).cmp(&(a.size, b.path)));
        list.truncate(MOST_PARTS);
    }
    let mut drawing = Drawing {
        all: sizes.size,
        entries,
        colours: 0,
    };
    drawing.parts("/", sizes.size, 1, "d0")
}

impl Drawing<'_> {
    /// What a directory of so many bytes is divided into.
    fn parts(&mut self, path: &str, bytes: u64, level: usize, class: &str) -> Vec<Cell> {
        let mut cells = Vec::new();
        let mut left = bytes;
        for entry in self.entries.remove(path).unwrap_or_default() {
            left = left.saturating_sub(entry.size);
            let mut own = class.to_owned();
            if level <= 2 && entry.count.is_some() {
                own = format!("d{}", self.colours % COLOURS);
                self.colours += 1;
            }
            let name = entry.path.rsplit('/').next().unwrap_or_default();
            let mut title = self.title(entry.path, entry.size);
            if let Some(count) = entry.count {
                title = format!("{title}, {count} files");
            }
            let parts = match entry.count {
                Some(_) if level < DEEPEST => self.parts(entry.path, entry.size, level + 1, &own),
                _ => Vec::new(),
            };
            cells.push(Cell {
                name: name.to_owned(),
                title,
                size: entry.size,
                class: own,
                link: None,
                parts,
            });
        }
        if !cells.is_empty() && left > 0 {
            cells.push(Cell {
                name: "smaller ones".to_owned(),
                title: self.title(&format!("the rest of {path}"), left),
                size: left,
                class: "rest".to_owned(),
                ..Cell::default()
            });
        }
        cells.sort_by_key(|cell| std::cmp::Reverse(cell.size));
        cells
    }

    fn title(&self, what: &str, bytes: u64) -> String {
        format!("{what}: {}, {}", size(bytes), share(bytes, self.all))
    }
}

fn above(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((above, _)) => above,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::size::{Group, PackageSize};

    fn total(cells: &[Cell]) -> u64 {
        cells.iter().map(|cell| cell.size).sum()
    }

    #[test]
    fn nothing_is_left_out_and_the_five_biggest_are_named() {
        let package = |n: u64| PackageSize {
            name: format!("package{n}"),
            architecture: "all".to_owned(),
            version: "1".to_owned(),
            size: 10_000 / (n + 1),
            count: 1,
        };
        let packages_: Vec<PackageSize> = (0..1300).map(package).collect();
        let own: u64 = packages_.iter().map(|p| p.size).sum();
        let group = |path: &str, size: u64| Group {
            path: path.to_owned(),
            size,
            count: 1,
        };
        let all = own + 5000;
        let sizes = Sizes {
            size: all,
            packages: packages_,
            no_package: vec![group("/var", 5000)],
            directories: vec![
                group("/", all),
                group("/usr", all - 5000),
                group("/usr/lib", 9000),
                group("/var", 5000),
            ],
            ..Sizes::default()
        };
        let cells = packages(&sizes);
        assert_eq!(total(&cells), all);
        assert!(cells.len() <= MOST + 2);
        let biggest: Vec<&str> = cells
            .iter()
            .filter(|cell| cell.class.starts_with('b'))
            .map(|cell| cell.name.as_str())
            .collect();
        let expected = [
            "1. package0",
            "2. package1",
            "3. package2",
            "4. package3",
            "5. package4",
        ];
        assert_eq!(biggest, expected);
        let cells = directories(&sizes);
        assert_eq!(total(&cells), all);
        assert_eq!(total(&cells[0].parts), cells[0].size);
    }
}
