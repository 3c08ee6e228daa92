//! One setting as it was written.

use std::path::PathBuf;

/// One setting before it is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub value: String,
    /// The file it is from; `None` for command line and environment.
    pub file: Option<PathBuf>,
    pub line: Option<usize>,
    /// The fragment exports it, so it is meant for scripts.
    pub exported: bool,
}

/// Line (from 1) of the last assignment to `name`.
pub(super) fn assignment(text: &str, name: &str) -> Option<usize> {
    let assigns = |line: &str| {
        let line = line.trim_start();
        let line = ["export ", "declare -x ", "declare ", "readonly "]
            .iter()
            .find_map(|word| line.strip_prefix(word))
            .unwrap_or(line);
        line.trim_start()
            .strip_prefix(name)
            .is_some_and(|rest| rest.trim_start().starts_with(['=', '+', '[']))
    };
    text.lines()
        .enumerate()
        .filter(|(_, line)| assigns(line))
        .last()
        .map(|(index, _)| index + 1)
}
