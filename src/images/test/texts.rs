//! What a text should and should not hold.

use super::words::{Pattern, Texts};

/// What is wrong with `content`.
pub(super) fn look(
    content: &[u8],
    contains: Option<&Texts>,
    lacks: Option<&Texts>,
    matches: Option<&Pattern>,
) -> Vec<String> {
    let has = |text: &String| memchr::memmem::find(content, text.as_bytes()).is_some();
    let mut faults = Vec::new();
    for text in contains.map(Texts::all).unwrap_or_default() {
        if !has(text) {
            faults.push(format!("{text:?} is not in it"));
        }
    }
    for text in lacks.map(Texts::all).unwrap_or_default() {
        if has(text) {
            faults.push(format!("{text:?} is in it"));
        }
    }
    if let Some(pattern) = matches.filter(|pattern| !pattern.0.is_match(content)) {
        faults.push(format!("nothing in it matches {:?}", pattern.0.as_str()));
    }
    faults
}
