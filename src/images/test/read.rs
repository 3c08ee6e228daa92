//! Files of tests, read and judged before an image is opened.

use super::spec::Spec;
use crate::base::problem::Problem;
use std::path::{Path, PathBuf};

/// Tests, and where they are written.
pub(crate) struct Source {
    path: PathBuf,
    text: String,
    pub(super) spec: Spec,
}

/// What every image should keep to, for those who have no tests of their own.
const DEFAULT: &str = include_str!("default.toml");

impl Source {
    /// The tests in the file at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, Problem> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Problem::new(format!("cannot be read: {error}"), "correct the name").at(path)
        })?;
        Self::parse(path, text)
    }

    /// The tests that come with the program.
    pub(super) fn default() -> Result<Self, Problem> {
        Self::parse(Path::new("default tests"), DEFAULT.to_owned())
    }

    pub(super) fn parse(path: &Path, text: String) -> Result<Self, Problem> {
        let spec = toml::from_str(&text).map_err(|error| {
            let line = error.span().map(|span| line(&text, span.start));
            let what = error.message().lines().collect::<Vec<_>>().join(" ");
            let problem = Problem::new(what, "docs/testing.md says what can be written").at(path);
            match line {
                Some(line) => problem.line(line),
                None => problem,
            }
        })?;
        // As short as it can be named from here.
        let here = std::env::current_dir().unwrap_or_default();
        let source = Self {
            path: path.strip_prefix(&here).unwrap_or(path).to_owned(),
            text,
            spec,
        };
        match source.mistake() {
            Some(problem) => Err(problem),
            None => Ok(source),
        }
    }

    /// A test that cannot say anything.
    fn mistake(&self) -> Option<Problem> {
        let empty = |at: usize, what: &str, remedy: &str| {
            let problem = Problem::new(what, remedy).at(&self.path);
            Some(problem.line(line(&self.text, at)))
        };
        for unit in &self.spec.unit {
            let test = unit.get_ref();
            if test.enabled.is_none() && test.masked.is_none() && test.active.is_none() {
                let remedy = "add enabled, masked or active";
                return empty(
                    unit.span().start,
                    "the test of a unit expects nothing",
                    remedy,
                );
            }
        }
        for file in &self.spec.file {
            let test = file.get_ref();
            if !test.path.starts_with('/') && test.on == super::spec::On::Root {
                let remedy = "begin it with /";
                return empty(file.span().start, "the path is not absolute", remedy);
            }
        }
        if let Some(forbid) = &self.spec.forbid {
            for text in &forbid.get_ref().allow {
                if let Err(error) = glob::Pattern::new(text) {
                    let what = format!("{text:?} is no pattern: {error}");
                    return empty(forbid.span().start, &what, "correct it");
                }
            }
        }
        None
    }

    /// Where a test is, whose table begins at byte `at`: `tests.toml:12`.
    pub(super) fn place(&self, at: usize) -> String {
        format!("{}:{}", self.path.display(), line(&self.text, at))
    }
}

/// The line of byte `at`, from 1.
fn line(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())]
        .iter()
        .filter(|b| **b == b'\n')
        .count()
        + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        match Source::parse(Path::new("t.toml"), text.to_owned()) {
            Ok(_) => panic!("accepted: {text}"),
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn the_default_tests_are_tests() {
        assert!(!super::super::live::left_out(&[Source::default().unwrap()]).is_empty());
    }

    #[test]
    fn faults_are_told_with_their_line() {
        for (text, line, words) in [
            (
                "\n[[file]]\npath = \"/a\"\nmode = \"rw\"\n",
                4,
                "is no mode",
            ),
            ("[[file]]\npth = \"/a\"\n", 2, "unknown field `pth`"),
            (
                "[[package]]\npackage = \"a\"\nversion = \"> 1\"\n",
                3,
                "is no relation",
            ),
            ("[[unit]]\nunit = \"ssh\"\n", 1, "expects nothing"),
            ("\n[[file]]\npath = \"etc\"\n", 2, "not absolute"),
            ("[size]\ngrowth = \"ten\"\n", 2, "is no growth"),
            ("[[port]]\nport = 70000\n", 2, "70000"),
            ("[[file]\n", 1, ""),
            ("[forbid]\nallow = [\"***\"]\n", 1, "is no pattern"),
            (
                "[[command]]\nrun = \"a\"\nmatches = \"(\"\n",
                3,
                "is no regular expression",
            ),
        ] {
            let said = problem(text);
            assert!(
                said.starts_with(&format!("t.toml:{line}: ")),
                "{text}: {said}"
            );
            assert!(
                said.contains(words) && !said.contains('\n'),
                "{text}: {said}"
            );
        }
    }
}
