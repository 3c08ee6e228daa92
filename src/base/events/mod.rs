//! What happens in a build, as lines of JSON: `build --events`.
//!
//! docs/events.md has the form for people. A reader passes over fields and events that it does not
//! know, so that both can be added. [`VERSION`] is raised when one is taken away or gets another
//! meaning.

mod stream;

pub use stream::{append, begin, end, end_build, enter_sandbox, is_wanted, note, of, relay, tell};

use crate::base::problem::Problem;
use crate::base::schema;
use schemars::JsonSchema;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Of the form of all that this program says as JSON.
pub const VERSION: u32 = 1;

/// The image that is built: with its architecture, it tells the builds of one run apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Subject {
    /// `IMG_NAME`; not there where the settings could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Debian's name of the image's architecture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
}

/// One line: an event, when it happened, and of which build it is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Line<'a> {
    /// In UTC, as in RFC 3339, with milliseconds.
    #[schemars(extend("format" = "date-time"))]
    time: String,
    #[serde(flatten)]
    subject: &'a Subject,
    #[serde(flatten)]
    event: &'a Event,
}

impl<'a> Line<'a> {
    /// An event that happens now.
    fn now(subject: &'a Subject, event: &'a Event) -> Self {
        Self {
            time: format!("{:.3}", jiff::Timestamp::now()),
            subject,
            event,
        }
    }
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first line of all.
    RunBegun {
        /// Of the form of these lines.
        version: u32,
        /// Of westwork-gen.
        program_version: String,
    },
    /// The last line of all, unless the program was killed.
    RunEnded {
        /// The program's exit code.
        code: u8,
        /// Since the run began.
        seconds: f64,
    },
    /// The build of one image description begins. There are several where several configs or
    /// architectures were given.
    BuildBegun {},
    /// The build is over.
    BuildEnded {
        /// The exit code of this build.
        code: u8,
        /// Since it began.
        seconds: f64,
    },
    /// How many steps there are, before the first one.
    Planned {
        /// All of them.
        steps: usize,
        /// Those whose layers are there.
        cached: usize,
        /// Those that run.
        to_run: usize,
    },
    /// Something stands in the way of the build. There may be several of them.
    Problem(Problem),
    /// The build ends because of this.
    Error {
        /// As it is shown, which may be several lines.
        text: String,
    },
    /// What a user should know, although the build goes on.
    Note {
        /// One sentence.
        text: String,
    },
    /// A step begins.
    StepBegun {
        /// Its name.
        step: String,
        /// What kind of work it is.
        part: Part,
        /// Why it runs.
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<Why>,
    },
    /// A step that had begun is over.
    StepEnded {
        /// Its name.
        step: String,
        /// What kind of work it was.
        part: Part,
        /// How it ended.
        verdict: Verdict,
        /// Since it began.
        seconds: f64,
        /// What it took, if it succeeded.
        #[serde(skip_serializing_if = "Option::is_none")]
        took: Option<Took>,
    },
    /// A step that does not run, or an image that is not made, since what it would make is there.
    StepCached {
        /// Its name.
        step: String,
        /// What kind of work it would have been.
        part: Part,
        /// Why it does not run.
        why: Why,
    },
    /// Something was downloaded.
    Download {
        /// Where from.
        from: Origin,
        /// The step that did it, if one did.
        #[serde(skip_serializing_if = "Option::is_none")]
        step: Option<String>,
        /// Debian packages.
        packages: usize,
        /// Layers.
        layers: usize,
        /// All together.
        bytes: u64,
    },
    /// A file in the deploy directory.
    Artefact {
        /// Absolute.
        path: String,
        /// Bytes.
        size: u64,
        /// In hex, if it is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
        /// It was there before, and is what this build would make.
        cached: bool,
    },
}

/// Kinds of work that are told as steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// A step of the stage tree.
    Step,
    /// Getting the native tools.
    Tools,
    /// Making an image of what the steps have made.
    Image,
    /// The tree's `postrun.sh`.
    Postrun,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Well.
    Done,
    /// Badly; an `error` follows, unless the build can do without.
    Failed,
}

/// Where a download came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Package archives.
    Archive,
    /// The shared cache (`CACHE_FROM`).
    SharedCache,
}

/// What a step took.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Took {
    /// Processor time of the step and of all that it started.
    pub processor_seconds: f64,
    /// The part of it spent under emulation.
    pub emulated_seconds: f64,
    /// What its layer or its files take on the disk.
    pub bytes_written: u64,
}

/// Why a step runs, or does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Why {
    /// For programs.
    pub kind: WhyKind,
    /// For people.
    pub text: String,
    /// What has changed since the layer was made, one by one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// The step that runs again, for `follows`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

/// Reasons of both kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhyKind {
    /// Runs: the last build had no such step.
    New,
    /// Runs: what its layer was made from has changed.
    Changed,
    /// Runs: a step before it runs.
    Follows,
    /// Runs: its layer is gone.
    Gone,
    /// Does not run: its layer, or the image, is there.
    There,
    /// Does not run: the stage's file SKIP keeps its layer.
    Skip,
    /// Does not run: the interrupted build has made its layer, and is resumed.
    Resumed,
    /// Does not run: its layer came from the shared cache, or another build has made it just now.
    Elsewhere,
}

impl Why {
    /// A reason without further data.
    pub fn new(kind: WhyKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            changes: Vec::new(),
            step: None,
        }
    }
}

impl Event {
    /// A file of the deploy directory, as it is now.
    pub fn artefact(path: &Path, sha256: Option<String>, cached: bool) -> Self {
        Self::Artefact {
            path: path.to_string_lossy().into_owned(),
            size: path.metadata().map_or(0, |meta| meta.len()),
            sha256,
            cached,
        }
    }
}

/// Seconds to the millisecond, which is all that is worth reading.
pub(crate) fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

/// The schema of one line.
pub fn schema() -> serde_json::Value {
    schema::of::<Line<'_>>()
}

/// Where the lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Standard output, on which then nothing else is written.
    Output,
    /// A file, which is begun anew.
    File(PathBuf),
}

impl Target {
    /// What the command line calls standard output.
    pub const OUTPUT: &str = "-";

    /// The target that `word` of the command line names.
    pub fn of(word: &Path) -> Self {
        match word == Path::new(Self::OUTPUT) {
            true => Self::Output,
            false => Self::File(word.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
