//! What is wrong with the input or the host, where, and what to do about it.
//!
//! Problems are collected, not thrown one by one: a user sees all of them in one run.

use crate::base::schema;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// One finding: a place, what is wrong, and a remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Problem {
    /// File or directory the finding is about, if there is one.
    #[serde(
        serialize_with = "schema::path_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>")]
    pub path: Option<PathBuf>,
    /// Line in `path`, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What is wrong, in one lower-case clause without a full stop.
    pub what: String,
    /// What the user can do about it, in one imperative clause.
    pub remedy: String,
}

impl Problem {
    /// A finding about the host or the command line.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            path: None,
            line: None,
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    /// A finding about a file or directory that `error` keeps from being read.
    pub fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        Self::new(
            format!("cannot be read: {error}"),
            "correct its permissions",
        )
        .at(path)
    }

    /// The same finding, placed at a file or directory.
    pub fn at(mut self, path: &Path) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// The same finding, placed at a line (counted from 1).
    pub fn line(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.path, self.line) {
            (Some(path), Some(line)) => write!(f, "{}:{line}: ", path.display())?,
            (Some(path), None) => write!(f, "{}: ", path.display())?,
            _ => {}
        }
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

/// All findings of a run, as an error: exit code 2, nothing was written.
#[derive(Debug, Default)]
pub struct Problems(pub Vec<Problem>);

/// The exit code of a command whose 0 and 1 are answers: that of `result`, or 2, with the error printed,
/// if there is no answer.
pub(crate) fn told(result: anyhow::Result<u8>) -> u8 {
    result.unwrap_or_else(|error| {
        if error.is::<Problems>() {
            eprintln!("{error}");
        } else {
            eprintln!("westwork-gen: {error:#}");
        }
        2
    })
}

impl Problems {
    /// `Ok` when nothing was found.
    pub fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
