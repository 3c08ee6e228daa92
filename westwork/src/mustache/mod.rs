//! Mustache, as its specification has it (all required modules), made for configuration files.
//!
//! An engine of its own, because configuration needs two things that the crates at hand do not
//! do: a name without a value is an error with its line instead of nothing, and what `{{x}}`
//! escapes depends on the file's format instead of always being HTML. The tests run the
//! specification's own files.

mod parse;
mod render;

pub use render::{Escape, Partials, Template};

/// Why a template cannot be parsed or rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The partial it is in; none for the template itself.
    pub partial: Option<String>,
    /// Counted from 1.
    pub line: usize,
    /// The fault, as the end of a sentence that begins with the place.
    pub what: String,
}

impl Fault {
    fn new(line: usize, what: impl Into<String>) -> Self {
        Self {
            partial: None,
            line,
            what: what.into(),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.partial {
            Some(name) => write!(f, "partial {name}, line {}: {}", self.line, self.what),
            None => write!(f, "line {}: {}", self.line, self.what),
        }
    }
}

impl std::error::Error for Fault {}
