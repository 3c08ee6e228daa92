//! A schedule for programs: what `plan --json` and `why --json` print, and the reasons in events.

use crate::base::events::{VERSION, Why, WhyKind};
use crate::base::schema;
use crate::config::Config;
use crate::config::variables::Variable;
use crate::layers::schedule::{Entry, Reason, Schedule, Verdict};
use crate::plan::step::StepKind;
use schemars::JsonSchema;
use serde::Serialize;
use std::path::PathBuf;

/// What `plan --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Plans {
    /// Of the form; see docs/events.md.
    pub version: u32,
    /// One for each config and architecture, in the order in which they were given.
    pub builds: Vec<BuildPlan>,
}

/// What a build would do.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BuildPlan {
    /// `IMG_NAME`.
    pub image: String,
    /// Debian's name of the architecture.
    pub arch: String,
    /// What the stages say of their variables (docs/stages.md), with the values they have.
    pub variables: Vec<Variable>,
    /// Every step, in the order in which they are run.
    pub steps: Vec<PlannedStep>,
    /// In the order in which they are made.
    pub images: Vec<PlannedImage>,
}

/// What `why --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Reasons {
    /// Of the form; see docs/events.md.
    pub version: u32,
    /// One for each config and architecture, in the order in which they were given.
    pub builds: Vec<BuildReasons>,
}

/// Why the steps that were asked for would run, or not.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BuildReasons {
    /// `IMG_NAME`.
    pub image: String,
    /// Debian's name of the architecture.
    pub arch: String,
    /// In the order in which they are run.
    pub steps: Vec<PlannedStep>,
}

/// A step, and whether it would run.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlannedStep {
    /// Its name, as `why`, `shell` and events have it.
    pub step: String,
    /// What its file is.
    pub kind: StepKind,
    /// The file, or for patches the directory; absolute.
    #[serde(serialize_with = "schema::path")]
    #[schemars(with = "String")]
    pub path: PathBuf,
    /// Whether it would run.
    pub verdict: Word,
    /// The reason.
    pub why: Why,
}

/// Whether a step would run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// No: its layer is there.
    Cached,
    /// No: its layer is kept, whatever has changed since.
    Kept,
    /// Yes.
    Run,
}

/// An image that would be made.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlannedImage {
    /// Stem of the names of its files.
    pub name: String,
    /// `IMG_SUFFIX` of its stage.
    pub suffix: String,
    /// The last step that it is made of.
    pub after: String,
}

impl Entry<'_> {
    /// Why the step runs, or not.
    pub fn why(&self) -> Why {
        match &self.verdict {
            Verdict::Cached => Why::new(WhyKind::There, "its layer is there"),
            Verdict::Kept(changes) => {
                let (kind, text) = match self.at.stage.kept {
                    true => (WhyKind::Skip, "SKIP keeps its layer"),
                    false => (
                        WhyKind::Resumed,
                        "the interrupted build made its layer, and is resumed",
                    ),
                };
                Why {
                    changes: changes.clone(),
                    ..Why::new(kind, text)
                }
            }
            Verdict::Run(reason) => Why::from(reason),
        }
    }

    /// Why the step does not run although it was to: its layer has turned up since.
    pub fn why_cached(&self) -> Why {
        match &self.verdict {
            Verdict::Run(_) => Why::new(
                WhyKind::Elsewhere,
                "its layer was fetched, or another build has just made it",
            ),
            Verdict::Cached | Verdict::Kept(_) => self.why(),
        }
    }

    fn told(&self) -> PlannedStep {
        PlannedStep {
            step: self.record.name.clone(),
            kind: self.step.kind,
            path: self.step.path.clone(),
            verdict: match self.verdict {
                Verdict::Cached => Word::Cached,
                Verdict::Kept(_) => Word::Kept,
                Verdict::Run(_) => Word::Run,
            },
            why: self.why(),
        }
    }
}

impl From<&Reason> for Why {
    fn from(reason: &Reason) -> Self {
        let kind = match reason {
            Reason::New => WhyKind::New,
            Reason::Changed(_) => WhyKind::Changed,
            Reason::Follows(_) => WhyKind::Follows,
            Reason::Gone => WhyKind::Gone,
        };
        let mut why = Self::new(kind, reason.to_string());
        match reason {
            Reason::Changed(changes) => why.changes.clone_from(changes),
            Reason::Follows(step) => why.step = Some(step.clone()),
            Reason::New | Reason::Gone => {}
        }
        why
    }
}

impl Schedule<'_> {
    /// All of it, for the build of `config`.
    pub fn told(&self, config: &Config) -> BuildPlan {
        let images = self.images.iter().map(|image| PlannedImage {
            name: image.export.image.clone(),
            suffix: image.export.suffix.clone(),
            after: self.entries[image.tip].record.name.clone(),
        });
        BuildPlan {
            image: config.img_name.clone(),
            arch: config.arch.debian().to_owned(),
            variables: config.variables.clone(),
            steps: self.entries.iter().map(Entry::told).collect(),
            images: images.collect(),
        }
    }

    /// The stage or step `at`, for the build of `image` for `arch`.
    ///
    /// # Errors
    /// When there is no such stage or step.
    pub fn told_why(&self, at: &str, image: &str, arch: &str) -> anyhow::Result<BuildReasons> {
        Ok(BuildReasons {
            image: image.to_owned(),
            arch: arch.to_owned(),
            steps: self.named(at)?.into_iter().map(Entry::told).collect(),
        })
    }
}

impl Plans {
    /// Of several images.
    pub fn of(builds: Vec<BuildPlan>) -> Self {
        let version = VERSION;
        Self { version, builds }
    }
}

impl Reasons {
    /// Of several images.
    pub fn of(builds: Vec<BuildReasons>) -> Self {
        let version = VERSION;
        Self { version, builds }
    }
}
