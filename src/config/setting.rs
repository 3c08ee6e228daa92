//! Settings as they were written.

use crate::base::problem::Problem;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Settings by name, and the files they were read from.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Raw {
    pub settings: BTreeMap<String, Setting>,
    pub files: Vec<PathBuf>,
    /// When they were read, in seconds since 1970: the day of an image without `IMG_DATE`.
    pub now: i64,
    /// Whether the tree is in pi-gen's shape.
    pub is_pigen: bool,
}

/// One setting before it is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Setting {
    pub value: String,
    /// The file it is from; `None` for command line and environment.
    pub file: Option<PathBuf>,
    pub line: Option<usize>,
    /// The fragment exports it, so it is meant for scripts.
    pub exported: bool,
}

impl Setting {
    /// A problem at the place where the setting is written.
    pub(super) fn problem(&self, what: String, remedy: String) -> Problem {
        let problem = Problem::new(what, remedy);
        match (&self.file, self.line) {
            (Some(file), Some(line)) => problem.at(file).line(line),
            (Some(file), None) => problem.at(file),
            _ => problem,
        }
    }
}

/// A setting of command line or environment.
pub(super) fn outside(value: &str) -> Setting {
    Setting {
        value: value.to_owned(),
        file: None,
        line: None,
        exported: false,
    }
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
