//! Areas in proportion to sizes: a squarified treemap (Bruls, Huizing, van Wijk, 2000), as SVG.

use super::shown::{Shown, number};
use crate::base::size::size;
use maud::{Markup, html};

/// A rectangle, in the picture's own units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) w: f64,
    pub(super) h: f64,
}

/// One area.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    pub(super) name: String,
    /// What it is, in full.
    pub(super) title: String,
    /// Bytes.
    pub(super) size: u64,
    /// A class of the style sheet: its colour.
    pub(super) class: String,
    /// A place in the page that says more.
    pub(super) link: Option<String>,
    /// What it is divided into; all of it.
    pub(super) parts: Vec<Cell>,
}

/// Units of the picture that a letter is wide, and a line of text is high.
const LETTER: f64 = 7.3;
const LINE: f64 = 17.0;

/// A picture for wide screens and paper, and one for narrow ones; the style sheet shows one.
pub(super) fn pictures(label: &str, cells: &[Cell]) -> Markup {
    html! {
        (picture(label, cells, "wide", 1100.0, 560.0))
        (picture(label, cells, "narrow", 360.0, 620.0))
    }
}

fn picture(label: &str, cells: &[Cell], class: &str, w: f64, h: f64) -> Markup {
    let all = Rect {
        x: 0.0,
        y: 0.0,
        w,
        h,
    };
    html! {
        svg class={"treemap " (class)} viewBox={"0 0 " (w) " " (h)} role="group" aria-label=(Shown(label)) {
            @for (cell, rect) in cells.iter().zip(squarify(&sizes(cells), all)) {
                (drawn(cell, rect))
            }
        }
    }
}

fn sizes(cells: &[Cell]) -> Vec<f64> {
    cells.iter().map(|cell| cell.size as f64).collect()
}

/// A cell with everything in it. What is smaller than a dot is left out.
fn drawn(cell: &Cell, rect: Rect) -> Markup {
    if rect.w < 1.0 || rect.h < 1.0 {
        return html! {};
    }
    let divided = !cell.parts.is_empty() && rect.w > 40.0 && rect.h > 2.0 * LINE;
    let own = html! {
        g {
            title { (Shown(&cell.title)) }
            rect class=(cell.class) x=(number(rect.x)) y=(number(rect.y)) width=(number(rect.w)) height=(number(rect.h)) {}
            (words(cell, rect, !divided))
        }
    };
    let inner = Rect {
        x: rect.x + 2.0,
        y: rect.y + LINE,
        w: rect.w - 4.0,
        h: rect.h - LINE - 2.0,
    };
    html! {
        @if let Some(link) = &cell.link {
            a href=(link) { (own) }
        } @else {
            (own)
        }
        @if divided {
            @for (part, rect) in cell.parts.iter().zip(squarify(&sizes(&cell.parts), inner)) {
                (drawn(part, rect))
            }
        }
    }
}

/// Its name and, where there is `room` below, its size.
fn words(cell: &Cell, rect: Rect, room: bool) -> Markup {
    let letters = ((rect.w - 8.0) / LETTER).floor();
    if letters < 3.0 || rect.h < LINE {
        return html! {};
    }
    let letters = letters as usize;
    let bytes = size(cell.size);
    let both = format!("{}  {bytes}", cell.name);
    let fits = both.chars().count() <= letters;
    let name = if !room && fits {
        both
    } else {
        shortened(&cell.name, letters)
    };
    let second = room && rect.h > 2.0 * LINE && bytes.len() <= letters;
    html! {
        text x=(number(rect.x + 4.0)) y=(number(rect.y + 13.0)) { (Shown(&name)) }
        @if second {
            text class="size" x=(number(rect.x + 4.0)) y=(number(rect.y + 28.0)) { (bytes) }
        }
    }
}

/// At most so many letters of `text`.
fn shortened(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.to_owned();
    }
    let begin: String = text.chars().take(letters.saturating_sub(1)).collect();
    format!("{begin}…")
}

/// Divides `all` among `sizes`, which begin with the largest: areas in proportion, as square as can
/// be. Each row is laid along the shorter side of what is left.
pub(super) fn squarify(sizes: &[f64], all: Rect) -> Vec<Rect> {
    let total: f64 = sizes.iter().sum();
    if total <= 0.0 || all.w <= 0.0 || all.h <= 0.0 {
        return vec![
            Rect {
                w: 0.0,
                h: 0.0,
                ..all
            };
            sizes.len()
        ];
    }
    let scale = all.w * all.h / total;
    let areas: Vec<f64> = sizes.iter().map(|size| size * scale).collect();
    let mut placed = Vec::new();
    let mut left = all;
    let mut rest = areas.as_slice();
    while !rest.is_empty() {
        let side = left.w.min(left.h).max(f64::EPSILON);
        let mut number = 1;
        while number < rest.len() && worst(&rest[..=number], side) <= worst(&rest[..number], side) {
            number += 1;
        }
        let (row, after) = rest.split_at(number);
        left = lay(row, left, after.is_empty(), &mut placed);
        rest = after;
    }
    placed
}

/// How far from a square the worst of a row is, along a side of this length.
fn worst(row: &[f64], side: f64) -> f64 {
    let sum: f64 = row.iter().sum();
    let thick = sum / side;
    row.iter().fold(1.0, |worst, area| {
        let length = area / thick.max(f64::EPSILON);
        let ratio = (length / thick).max(thick / length.max(f64::EPSILON));
        ratio.max(worst)
    })
}

/// Places one row at the beginning of `left`, whose rest is returned. The last row takes all.
fn lay(row: &[f64], left: Rect, last: bool, placed: &mut Vec<Rect>) -> Rect {
    let sum: f64 = row.iter().sum();
    let upright = left.w >= left.h;
    let (side, other) = if upright {
        (left.h, left.w)
    } else {
        (left.w, left.h)
    };
    let thick = if last {
        other
    } else {
        (sum / side.max(f64::EPSILON)).min(other)
    };
    let mut at = 0.0;
    for area in row {
        let length = (side * area / sum.max(f64::EPSILON))
            .min(side - at)
            .max(0.0);
        placed.push(if upright {
            Rect {
                x: left.x,
                y: left.y + at,
                w: thick,
                h: length,
            }
        } else {
            Rect {
                x: left.x + at,
                y: left.y,
                w: length,
                h: thick,
            }
        });
        at += length;
    }
    if upright {
        Rect {
            x: left.x + thick,
            w: left.w - thick,
            ..left
        }
    } else {
        Rect {
            y: left.y + thick,
            h: left.h - thick,
            ..left
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_in_proportion_and_inside() {
        let all = Rect {
            x: 3.0,
            y: 5.0,
            w: 600.0,
            h: 400.0,
        };
        let mut sizes = vec![6.0, 6.0, 4.0, 3.0, 2.0, 2.0, 1.0, 0.0];
        sizes.extend((0..300).map(|n| 1.0 / f64::from(n + 1)));
        sizes.sort_by(|a, b| b.total_cmp(a));
        let rects = squarify(&sizes, all);
        assert_eq!(rects.len(), sizes.len());
        let total: f64 = sizes.iter().sum();
        for (rect, size) in rects.iter().zip(&sizes) {
            let wanted = size / total * all.w * all.h;
            assert!((rect.w * rect.h - wanted).abs() < 0.01, "{rect:?} {wanted}");
            assert!(rect.x >= all.x - 1e-6 && rect.x + rect.w <= all.x + all.w + 1e-6);
            assert!(rect.y >= all.y - 1e-6 && rect.y + rect.h <= all.y + all.h + 1e-6);
        }
        for (n, a) in rects.iter().enumerate() {
            for b in &rects[..n] {
                let across = (a.x + a.w).min(b.x + b.w) - a.x.max(b.x);
                let down = (a.y + a.h).min(b.y + b.h) - a.y.max(b.y);
                assert!(across < 1e-6 || down < 1e-6, "{a:?} and {b:?} overlap");
            }
        }
        // The paper's own example is nearly square.
        assert!((rects[0].w / rects[0].h).max(rects[0].h / rects[0].w) < 2.0);
    }

    #[test]
    fn nothing_and_zeros_have_no_area() {
        let all = Rect {
            x: 0.0,
            y: 0.0,
            w: 10.0,
            h: 10.0,
        };
        assert!(squarify(&[], all).is_empty());
        let none = squarify(&[0.0, 0.0], all);
        assert!(none.iter().all(|rect| rect.w * rect.h == 0.0));
    }
}
