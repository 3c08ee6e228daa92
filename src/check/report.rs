//! What `check` has found, for programs: `check --json`.

use crate::base::events::{Subject, VERSION};
use crate::base::problem::Problem;
use crate::config::variables::Variable;
use crate::config::{Config, Settings};
use crate::plan::Plan;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// What `check --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Reports {
    /// Of the form; see docs/events.md.
    pub version: u32,
    /// One for each config and architecture, in the order in which they were given.
    pub builds: Vec<BuildReport>,
}

/// What was found of one build.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct BuildReport {
    /// Which build it is.
    #[serde(flatten)]
    pub subject: Subject,
    /// What stands in the way of it: without any it can be built.
    pub problems: Vec<Problem>,
    /// What does not, but should be known.
    pub notes: Vec<String>,
    /// What its stages say of their variables (docs/stages.md), with the values they have.
    pub variables: Vec<Variable>,
    /// What will be built, with defaults in place of values that are wrong; not there where the
    /// settings could not be read at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
}

/// What will be built.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Facts {
    /// The distribution, as people know it.
    pub distro: String,
    /// Its release, e.g. `trixie`.
    pub release: String,
    /// Debian's name of the architecture.
    pub arch: String,
    /// The first user's name.
    pub first_user: String,
    /// What the device will call itself.
    pub host: String,
    /// Steps of all stages.
    pub steps: usize,
}

impl Facts {
    fn of(config: &Config, plan: &Plan) -> Self {
        Self {
            distro: config.distro.name().to_owned(),
            release: config.release.clone(),
            arch: config.arch.debian().to_owned(),
            first_user: config.first_user_name.clone(),
            host: config.target_hostname.clone(),
            steps: plan.steps().count(),
        }
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} for {}, first user {}, host {}",
            self.distro, self.release, self.arch, self.first_user, self.host
        )
    }
}

/// The build of `config`, as events and reports name it.
pub fn subject(config: &Config) -> Subject {
    Subject {
        image: Some(config.img_name.clone()),
        arch: Some(config.arch.debian().to_owned()),
    }
}

impl BuildReport {
    /// Looks at settings, stage tree and build machine.
    pub fn of(settings: &Settings) -> Self {
        let (input, problems) = super::findings(settings);
        let Some((config, plan)) = input else {
            return Self::without_settings(problems);
        };
        Self {
            subject: subject(&config),
            problems,
            notes: super::notes(&config, &plan),
            variables: config.variables.clone(),
            facts: Some(Facts::of(&config, &plan)),
        }
    }

    /// Of settings that could not be read.
    pub fn without_settings(problems: Vec<Problem>) -> Self {
        Self {
            problems,
            ..Self::default()
        }
    }
}

impl Reports {
    /// Of several builds.
    pub fn of(builds: Vec<BuildReport>) -> Self {
        let version = VERSION;
        Self { version, builds }
    }

    /// Whether a build has problems.
    pub fn has_problems(&self) -> bool {
        self.builds.iter().any(|build| !build.problems.is_empty())
    }
}
