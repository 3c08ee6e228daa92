//! Text out of an image, on its way to a terminal.

use std::fmt::Write as _;

/// `text` with everything spelled out that a terminal would act on: control characters, line
/// ends among them, and marks that turn the direction of writing.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns {
            let _ = write!(shown, "{}", c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn nothing_reaches_the_terminal_that_it_acts_on() {
        let shown = printable("a\x1b]0;x\x07b\nc\u{9b}2Jd\u{202e}e ü\t");
        assert_eq!(
            shown,
            "a\\u{1b}]0;x\\u{7}b\\u{a}c\\u{9b}2Jd\\u{202e}e ü\\u{9}"
        );
    }
}
