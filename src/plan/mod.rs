//! Stages, sub-stages and steps in the order in which they will run. Runs no step.

pub mod common;
mod discover;
mod export_tree;
#[cfg(test)]
pub(crate) mod fixture;
mod patches;
pub mod step;
mod suffix;

use crate::base::problem::Problem;
use crate::config::Config;
use crate::plan::step::{Step, StepKind};
use std::collections::BTreeMap;
use std::path::PathBuf;

pub use common::Common;
pub use export_tree::ExportTree;

/// The whole build before it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they are built.
    pub stages: Vec<Stage>,
    /// Steps that are run for each image before it is made, if the tree has some.
    pub export_tree: Option<ExportTree>,
    /// Functions of the tree's own for host scripts.
    pub common: Option<Common>,
    /// Files and directories of sub-stages that begin with digits, and are no steps.
    pub passed_over: Vec<PathBuf>,
}

/// One stage directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Last component of `dir`.
    pub name: String,
    /// Absolute.
    pub dir: PathBuf,
    /// The stage has a `SKIP` file, and no later stage stands on it: it is left out.
    pub skip: bool,
    /// The stage has a `SKIP` file, and later stages stand on what an earlier build made of it: its
    /// steps do not run.
    pub kept: bool,
    /// `prerun.sh`, if there is one.
    pub prerun: Option<Step>,
    /// In byte order of their names.
    pub sub_stages: Vec<SubStage>,
    /// Present when the stage has `EXPORT_IMAGE` and no `SKIP_IMAGES`.
    pub export: Option<Export>,
}

/// One sub-directory of a stage. Those with a `SKIP` file are not listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubStage {
    /// Last component of `dir`.
    pub name: String,
    /// Absolute.
    pub dir: PathBuf,
    /// In the order in which they run.
    pub steps: Vec<Step>,
}

/// What `EXPORT_IMAGE` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// `IMG_SUFFIX`, e.g. `-lite`; may be empty.
    pub suffix: String,
    /// Name of the image, with the suffix.
    pub image: String,
    /// Name of its compressed forms, with the suffix.
    pub archive: String,
    /// Variables of scripts that the file, or one before it, has set.
    pub variables: BTreeMap<String, String>,
}

/// What comes up while a tree is read.
#[derive(Default)]
struct Found {
    problems: Vec<Problem>,
    passed_over: Vec<PathBuf>,
}

impl Plan {
    /// Reads the stage directories of `config`. What is wrong with them comes along; the plan
    /// then holds what could be understood.
    pub fn discover(config: &Config) -> (Self, Vec<Problem>) {
        let mut found = Found::default();
        let plan = Self {
            stages: discover::stages(config, &mut found),
            export_tree: ExportTree::discover(&config.export_config_dir, &mut found),
            common: Common::of(config),
            passed_over: found.passed_over,
        };
        (plan, found.problems)
    }

    /// All steps, each once: those of the stages, then those of the export tree.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        let exports = self.export_tree.iter().map(|tree| &tree.stage);
        self.stages.iter().chain(exports).flat_map(|stage| {
            let subs = stage.sub_stages.iter().flat_map(|sub| &sub.steps);
            stage.prerun.iter().chain(subs)
        })
    }

    /// The steps one after the other that the deepest image stands on.
    pub fn depth(&self) -> usize {
        let of = |stage: &Stage| {
            let subs = stage.sub_stages.iter().map(|sub| sub.steps.len());
            subs.sum::<usize>() + usize::from(stage.prerun.is_some())
        };
        let export = self.export_tree.as_ref().map_or(0, |tree| of(&tree.stage));
        let mut depth = 0;
        let stages = self.stages.iter().filter(|stage| !stage.skip);
        let depths = stages.map(|stage| {
            depth += of(stage);
            depth + stage.export.as_ref().map_or(0, |_| export)
        });
        depths.max().unwrap_or(0)
    }

    /// Whether any step is a quilt series.
    pub fn has_patches(&self) -> bool {
        self.steps().any(|step| step.kind == StepKind::Patches)
    }
}
