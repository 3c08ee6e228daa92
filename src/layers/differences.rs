//! What has changed between two layers' inputs, in words.

use super::facts::NOTHING;
use crate::layers::store::Inputs;

/// The name under which the state of the package archive counts.
pub(super) const ARCHIVE: &str = "package index";

/// What a layer was made from against what it would be made from now, a clause each.
pub(super) fn differences(old: &Inputs, new: &Inputs) -> Vec<String> {
    let mut changes = Vec::new();
    for (name, value) in new {
        match old.get(name) {
            None => changes.push(format!("{name} is new")),
            Some(before) if before != value => changes.push(change(name, before, value)),
            Some(_) => {}
        }
    }
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    changes.extend(gone.map(|name| format!("{name} is gone")));
    changes
}

fn change(name: &str, before: &str, now: &str) -> String {
    const EXECUTABLE: &str = "executable ";
    let is_hash = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if name == ARCHIVE {
        return "the package archive has changed".to_owned();
    }
    if name.starts_with("file ") {
        let (old, new) = (
            before.trim_start_matches(EXECUTABLE),
            now.trim_start_matches(EXECUTABLE),
        );
        return if old == new {
            let now = if now.starts_with(EXECUTABLE) {
                "is now"
            } else {
                "is no longer"
            };
            format!("{name} {now} executable")
        } else {
            format!("{name} has changed")
        };
    }
    // Of what was looked for, whether it is there, and of a directory its names.
    if name.starts_with("path ") || name.starts_with("directory ") {
        return match (before, now) {
            (NOTHING, _) => format!("{name} is there now"),
            (_, NOTHING) => format!("{name} is no longer there"),
            (_, "a file") => format!("{name} is a file now"),
            ("a file", _) => format!("{name} is a directory now"),
            _ => format!("{name} has other names in it"),
        };
    }
    if is_hash(before) || is_hash(now) {
        return format!("{name} has changed");
    }
    format!("{name} was {before:?}, is {now:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(pairs: &[(&str, &str)]) -> Inputs {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn differences_name_the_file_and_the_variable() {
        let old = inputs(&[
            ("file 00-run.sh", "executable aa"),
            ("file b", "cc"),
            ("variable HAT", "red"),
            ("file old", "x"),
            ("path of the tree local.sh", NOTHING),
            ("path of the tree x", "a file"),
            ("directory of the tree app", "0123"),
        ]);
        let new = inputs(&[
            ("file 00-run.sh", "executable bb"),
            ("file b", "executable cc"),
            ("variable HAT", "blue"),
            ("file added", "x"),
            ("path of the tree local.sh", "a file"),
            ("path of the tree x", "a directory 4567"),
            ("directory of the tree app", "89ab"),
        ]);
        assert_eq!(
            differences(&old, &new),
            [
                "directory of the tree app has other names in it",
                "file 00-run.sh has changed",
                "file added is new",
                "file b is now executable",
                "path of the tree local.sh is there now",
                "path of the tree x is a directory now",
                "variable HAT was \"red\", is \"blue\"",
                "file old is gone",
            ]
        );
        assert_eq!(differences(&old, &old), [""; 0]);
    }
}
