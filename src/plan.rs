//! Stages, sub-stages and steps in the order in which they will run. Runs nothing.

use crate::step::Step;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The whole build before it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub stages: Vec<Stage>,
}

/// One stage directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Last component of `dir`.
    pub name: String,
    /// Absolute.
    pub dir: PathBuf,
    /// The stage has a `SKIP` file: no step of it runs (`prerun` included).
    pub skip: bool,
    pub prerun: Option<Step>,
    pub sub_stages: Vec<SubStage>,
    /// Present when the stage has `EXPORT_IMAGE` and no `SKIP_IMAGES`.
    pub export: Option<Export>,
}

/// One sub-directory of a stage. Those with a `SKIP` file are not listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubStage {
    /// Last component of `dir`.
    pub name: String,
    /// Absolute.
    pub dir: PathBuf,
    pub steps: Vec<Step>,
}

/// What `EXPORT_IMAGE` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// `IMG_SUFFIX`, e.g. `-lite`; may be empty.
    pub suffix: String,
}
