//! Text of images on its way into the page.

use crate::images::printable::printable;
use maud::Render;

/// A text that nobody here wrote: without what would turn its direction or end its line, and with
/// everything escaped that HTML acts on.
pub(super) struct Shown<'a>(pub(super) &'a str);

impl Render for Shown<'_> {
    fn render_to(&self, to: &mut String) {
        printable(self.0).as_str().render_to(to);
    }
}

/// A coordinate with one digit behind the point, and no more than it needs.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    let short = text.strip_suffix(".0").map(str::to_owned);
    short.unwrap_or(text)
}

/// A part of something, in percent.
pub(super) fn share(part: u64, of: u64) -> String {
    format!("{:.1} %", part as f64 * 100.0 / of.max(1) as f64)
}

/// A name for people, or a dash.
pub(super) fn or_dash(text: Option<&str>) -> Shown<'_> {
    Shown(text.filter(|text| !text.is_empty()).unwrap_or("–"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use maud::html;

    #[test]
    fn nothing_becomes_markup() {
        let name = "<script>alert('x')</script>\" onload=\"x & \u{202e}\u{1}";
        let page = html! { p title=(Shown(name)) { (Shown(name)) } }.into_string();
        assert!(!page.contains("<script"), "{page}");
        assert_eq!(page.matches('"').count(), 2, "{page}");
        assert_eq!(page.matches('<').count(), 2, "{page}");
        assert!(page.contains("\\u{202e}\\u{1}"), "{page}");
    }

    #[test]
    fn coordinates_are_short() {
        assert_eq!(
            [number(12.04), number(7.25), number(3.0)],
            ["12", "7.2", "3"]
        );
    }
}
