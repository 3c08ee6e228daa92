//! One step of a sub-stage: a file whose name says what is done with it.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a step's file is, decided once from its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StepKind {
    /// `prerun.sh` of a stage: host script.
    Prerun,
    /// `NN-debconf`.
    Debconf,
    /// `NN-packages-nr`: without recommended packages.
    PackagesNoRecommends,
    /// `NN-packages-ni`: non-interactively.
    PackagesNonInteractive,
    /// `NN-packages`.
    Packages,
    /// `NN-patches/`: a quilt series.
    Patches,
    /// `NN-run.sh`: host script.
    RunHost,
    /// `NN-run-chroot.sh` or `NN-run-chroot`.
    RunChroot,
}

/// A file or directory of a stage tree that is to be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub kind: StepKind,
    /// The step's file (for patches: directory), absolute.
    pub path: PathBuf,
    /// `stage1/02-net-tweaks/00-run.sh`: how the user is told about it.
    pub name: String,
}
