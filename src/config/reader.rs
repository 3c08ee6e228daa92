//! Reading one key after the other: every fault is noted, and a default stands in for it.

use super::ConfigRequest;
use super::row::Row;
use super::setting::Raw;
use super::values::{self, Fault};
use crate::base::problem::Problem;
use std::path::PathBuf;

/// The raw settings, and the key that is being read.
pub(super) struct Reader<'a> {
    pub request: &'a ConfigRequest,
    pub raw: &'a Raw,
    pub problems: &'a mut Vec<Problem>,
    row: fn(&str) -> Option<&'static Row>,
    key: &'static str,
}

impl<'a> Reader<'a> {
    /// A reader of `raw` by the table that `row` looks into.
    pub(super) fn new(
        request: &'a ConfigRequest,
        raw: &'a Raw,
        problems: &'a mut Vec<Problem>,
        row: fn(&str) -> Option<&'static Row>,
    ) -> Self {
        Self {
            request,
            raw,
            problems,
            row,
            key: "",
        }
    }

    /// The same reader at another key.
    pub(super) fn at(&mut self, key: &'static str) -> &mut Self {
        self.key = key;
        self
    }

    /// The text set for the key, or its default.
    pub(super) fn get(&self) -> &'a str {
        self.get_of(self.key)
    }

    /// The text set for another key, or its default.
    pub(super) fn get_of(&self, name: &str) -> &'a str {
        match self.raw.settings.get(name) {
            Some(setting) if !setting.value.is_empty() => &setting.value,
            _ => self.default_of(name),
        }
    }

    fn default_of(&self, name: &str) -> &'static str {
        (self.row)(name).map_or("", |row| row.facts.default)
    }

    /// Notes a fault of the key.
    pub(super) fn blame(&mut self, fault: Fault) {
        self.blame_on(self.key, fault);
    }

    /// Notes a fault of another key.
    pub(super) fn blame_on(&mut self, name: &str, (what, remedy): Fault) {
        let what = format!("{name}: {what}");
        self.problems.push(match self.raw.settings.get(name) {
            Some(setting) => setting.problem(what, remedy),
            None => Problem::new(what, remedy),
        });
    }

    /// A key that always has a value; its default stands in for a bad one.
    pub(super) fn value<T>(&mut self, parse: impl Fn(&str) -> Result<T, Fault>) -> T {
        match parse(self.get()) {
            Ok(value) => value,
            Err(fault) => {
                self.blame(fault);
                parse(self.default_of(self.key))
                    .unwrap_or_else(|(what, _)| unreachable!("the default of {}: {what}", self.key))
            }
        }
    }

    /// A text that always has a value.
    pub(super) fn checked(&mut self, check: impl Fn(&str) -> Result<(), Fault>) -> String {
        self.value(|text| check(text).map(|()| text.to_owned()))
    }

    /// A key that may be unset.
    pub(super) fn optional<T>(&mut self, parse: impl Fn(&str) -> Result<T, Fault>) -> Option<T> {
        let text = self.get();
        if text.is_empty() {
            return None;
        }
        parse(text).map_err(|fault| self.blame(fault)).ok()
    }

    /// A text that may be unset.
    pub(super) fn text(&mut self, check: impl Fn(&str) -> Result<(), Fault>) -> Option<String> {
        self.optional(|text| check(text).map(|()| text.to_owned()))
    }

    /// A path that always has a value, relative to where the program was started.
    pub(super) fn path(&self) -> PathBuf {
        self.request.cwd.join(self.get())
    }

    /// A file that can be read, or none.
    pub(super) fn file(&mut self) -> Option<PathBuf> {
        let cwd = &self.request.cwd;
        self.optional(|text| values::readable(&cwd.join(text)))
    }

    /// The value of a key that another one depends on; what is wrong with it is said at that key.
    pub(super) fn quiet<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        Some(self.get_of(name))
            .filter(|text| !text.is_empty())
            .and_then(|text| parse(text).ok())
    }
}
