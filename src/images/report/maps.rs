//! What the treemaps show: packages, and directories in directories.

use super::packages::anchor;
use super::shown::share;
use super::treemap::Cell;
use crate::base::size::size;
use crate::images::size::{Group, Sizes};
use std::collections::HashMap;

/// Packages that are marked.
pub(super) const BIGGEST: usize = 5;

/// Packages that have an area of their own, and directories in one directory.
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

/// Directories by the one they are in, the largest first.
type Children<'a> = HashMap<&'a str, Vec<&'a Group>>;

/// The directories, each divided into its own.
pub(super) fn directories(sizes: &Sizes) -> Vec<Cell> {
    let mut children: Children<'_> = HashMap::new();
    for group in &sizes.directories {
        if group.path != "/" && group.size > 0 {
            children.entry(above(&group.path)).or_default().push(group);
        }
    }
    let mut colour = 0;
    parts("/", sizes.size, sizes, &children, 1, &mut colour, "d0")
}

/// What a directory of so many bytes is divided into.
fn parts(
    path: &str,
    bytes: u64,
    sizes: &Sizes,
    children: &Children<'_>,
    level: usize,
    colour: &mut usize,
    class: &str,
) -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut left = bytes;
    for group in children.get(path).into_iter().flatten() {
        if cells.len() >= MOST_PARTS || group.size < sizes.size / LEAST {
            break;
        }
        left -= group.size.min(left);
        let mut own = class.to_owned();
        if level <= 2 {
            own = format!("d{}", *colour % COLOURS);
            *colour += 1;
        }
        let name = group.path.rsplit('/').next().unwrap_or_default();
        let mut cell = Cell {
            title: format!(
                "{}: {}, {}, {} files",
                group.path,
                size(group.size),
                share(group.size, sizes.size),
                group.count
            ),
            ..cell(name.to_owned(), group.size, sizes.size, &own)
        };
        if level < DEEPEST {
            cell.parts = parts(
                &group.path,
                group.size,
                sizes,
                children,
                level + 1,
                colour,
                &own,
            );
        }
        cells.push(cell);
    }
    if !cells.is_empty() && left > 0 {
        let mut rest = cell("…".to_owned(), left, sizes.size, "rest");
        rest.title = format!(
            "the rest of {path}: {}, {}",
            size(left),
            share(left, sizes.size)
        );
        cells.push(rest);
    }
    cells.sort_by_key(|cell| std::cmp::Reverse(cell.size));
    cells
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
    use crate::images::size::PackageSize;

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
