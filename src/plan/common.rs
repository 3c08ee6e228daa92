//! pi-gen's `scripts/common`, in which forks have functions of their own beside pi-gen's.

use crate::config::Config;
use std::fs;
use std::path::PathBuf;

/// Functions of pi-gen's, which this program has its own of.
const OURS: &[&str] = &[
    "bootstrap",
    "copy_previous",
    "ensure_loopdev_partitions",
    "ensure_next_loopdev",
    "log",
    "on_chroot",
    "unmount",
    "unmount_image",
    "update_issue",
];

/// The file of a tree in pi-gen's shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Common {
    /// Where it is.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
    /// What is not pi-gen's: the text that decides what scripts can do with it.
    pub own: String,
    /// The functions in that.
    pub functions: Vec<String>,
}

impl Common {
    /// The tree's, if there is one.
    pub(super) fn of(config: &Config) -> Option<Self> {
        if !config.is_pigen() {
            return None;
        }
        let path = config.base_dir.join("scripts/common");
        let text = fs::read_to_string(&path).ok()?;
        let (own, functions) = without(&text, OURS);
        Some(Self {
            path,
            text,
            own,
            functions,
        })
    }
}

/// The lines of a shell script without the functions `names` and their exports, and the names of
/// the functions that are left. A function ends with a brace at the beginning of a line.
pub fn without(text: &str, names: &[&str]) -> (String, Vec<String>) {
    let (mut left, mut functions) = (String::new(), Vec::new());
    let mut skipping = false;
    for line in text.lines() {
        if skipping {
            skipping = !line.starts_with('}');
            continue;
        }
        let name = function(line);
        match name {
            Some(name) if names.contains(&name) => {
                skipping = !line.trim_end().ends_with('}');
                continue;
            }
            Some(name) => functions.push(name.to_owned()),
            None => {}
        }
        let exports = line.strip_prefix("export -f ");
        let ours =
            exports.is_some_and(|list| list.split_whitespace().all(|it| names.contains(&it)));
        let says = line.trim();
        if !says.is_empty() && !says.starts_with('#') && !ours {
            left += line;
            left.push('\n');
        }
    }
    (left, functions)
}

/// The function that begins in `line`, which is not in another one.
fn function(line: &str) -> Option<&str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let (name, rest) = match line.strip_prefix("function ") {
        Some(rest) => {
            let rest = rest.trim_start();
            rest.split_at(rest.find(|c| !word(c)).unwrap_or(rest.len()))
        }
        None => {
            let (name, rest) = line.split_at(line.find(|c| !word(c))?);
            rest.trim_start()
                .starts_with("()")
                .then_some((name, rest))?
        }
    };
    let opens = rest.trim_start().trim_start_matches("()").trim_start();
    let begins = opens.is_empty() || opens.starts_with(['{', '(', '#']);
    (!name.is_empty() && begins).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_fork_has_added_is_found() {
        let text = "log (){\n\tdate\n}\nexport -f log\n# copies\n\ncopy_overlay() {\n\tinstall x\n}\n\
                    export -f copy_overlay\nunmount(){ :; }\nfunction two\n{\n\ttrue\n}\nexport VERSION=1\n";
        let (own, functions) = without(text, OURS);
        assert_eq!(functions, ["copy_overlay", "two"]);
        assert!(
            own.contains("export VERSION=1") && !own.contains("date"),
            "{own}"
        );
        let (own, functions) = without("log (){\n\tdate\n}\nexport -f log\n", OURS);
        assert_eq!((own.as_str(), functions.len()), ("", 0));
    }
}
