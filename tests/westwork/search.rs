//! Looking for words in every byte of a card, in files or not.

use aho_corasick::AhoCorasick;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const BLOCK: usize = 1 << 20;
/// Of a hit, so much is shown before and after it.
const CONTEXT: usize = 48;

/// Where each of `words` is in `card`, with what is around it.
pub(crate) fn hits(card: &Path, words: &[&str]) -> Vec<String> {
    let words = AhoCorasick::new(words).unwrap();
    let file = File::open(card).unwrap();
    let (mut found, mut at, mut end) = (Vec::new(), 0_u64, 0_usize);
    // Each block with the end of the one before it: a word may lie on both.
    let mut buffer = vec![0; CONTEXT * 2 + BLOCK];
    loop {
        buffer.copy_within(end.saturating_sub(CONTEXT * 2)..end, 0);
        let kept = end.min(CONTEXT * 2);
        let count = file.read_at(&mut buffer[kept..], at).unwrap();
        end = kept + count;
        if count == 0 {
            return found;
        }
        if buffer[..end].iter().any(|byte| *byte != 0) {
            for hit in words.find_iter(&buffer[..end]) {
                // All of it was there already.
                if hit.end() <= kept {
                    continue;
                }
                let near = hit.start().saturating_sub(CONTEXT)..(hit.end() + CONTEXT).min(end);
                let place = at - kept as u64 + hit.start() as u64;
                found.push(format!("{place}: {}", buffer[near].escape_ascii()));
            }
        }
        at += count as u64;
    }
}

#[test]
fn a_word_is_found_wherever_it_lies() {
    let card = tempfile::NamedTempFile::new().unwrap();
    card.as_file().set_len(3 * BLOCK as u64).unwrap();
    let places = [5, BLOCK as u64 - 3, 2 * BLOCK as u64, 3 * BLOCK as u64 - 6];
    for place in places {
        card.as_file().write_at(b"secret", place).unwrap();
    }
    let found = hits(card.path(), &["secret", "other"]);
    let begins = |(hit, place): (&String, u64)| hit.starts_with(&format!("{place}: "));
    assert!(found.iter().zip(places).all(begins), "{found:?}");
    assert_eq!(found.len(), places.len(), "{found:?}");
}
