//! One image's build: what it is made from, and the variables its scripts see.

use crate::archives::lockfile::{LockFile, Root};
use crate::archives::mirror::Mirrors;
use crate::archives::state::State;
use crate::base::command::Env;
use crate::config::Config;
use crate::layers::seal::Seal;
use crate::layers::variables::{self, Place};
use crate::plan::{Plan, Stage};
use std::path::{Path, PathBuf};

/// One image's build: what it is made from.
pub struct Job<'a> {
    /// What the user chose.
    pub config: &'a Config,
    /// What is to be done.
    pub plan: &'a Plan,
    /// Where packages come from.
    pub mirrors: &'a Mirrors,
    /// State of the package archive.
    pub state: &'a State,
    /// The packages to build from, and no others.
    pub locked: Option<&'a Locked>,
    /// Hashes secrets in the keys of layers and images.
    pub seal: &'a Seal,
}

/// A lock file that a build keeps to.
#[derive(Debug, Clone)]
pub struct Locked {
    /// All of it.
    pub file: LockFile,
    /// The image's own packages.
    pub image: Root,
    /// Nothing may be fetched.
    pub offline: bool,
}

impl Job<'_> {
    /// Where the image's build keeps its log and its mount points.
    pub fn work(&self) -> PathBuf {
        self.config.work()
    }

    /// Seconds every time stamp of the image is bounded by: the config's, else the archive's.
    pub fn epoch(&self) -> i64 {
        self.config
            .source_date_epoch
            .or(self.state.date)
            .unwrap_or(0)
    }

    /// The directories of the tree, which scripts read: the base directory, and what of the
    /// stages and of the export settings lies outside of it.
    pub fn tree_dirs(&self) -> Vec<&Path> {
        let exports = self.plan.export_tree.iter().map(|tree| &tree.stage);
        let stages = self.plan.stages.iter().chain(exports);
        let mut dirs = vec![self.config.base_dir.as_path()];
        let rest = stages
            .map(|stage| stage.dir.as_path())
            .chain([self.config.export_config_dir.as_path()]);
        for dir in rest {
            // A stage of the tree may be a link to one elsewhere: it is named all the same.
            let real = |dir: &Path| dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
            let found = real(dir);
            if dir.is_dir() && !dirs.iter().any(|base| found.starts_with(real(base))) {
                dirs.push(dir);
            }
        }
        dirs
    }

    /// The variables of a script at `at`.
    pub fn env(&self, at: &At<'_>) -> Env {
        let export = at.exported.unwrap_or(at.stage).export.as_ref();
        let place = Place {
            stage: at.stage,
            previous: at.previous,
            sub_stage: at.sub_stage,
            exported: at.exported,
            work: &self.work(),
            img_suffix: export.map_or("", |export| &export.suffix),
        };
        let mut env = variables::of(self.config, self.mirrors, &place);
        // In pi-gen's build.sh, too, what the file sets comes after the stages.
        if let (Some(export), true) = (export, at.exported.is_some()) {
            env.extend(export.variables.clone());
        }
        env.insert("SOURCE_DATE_EPOCH".to_owned(), self.epoch().to_string());
        env
    }
}

/// Where in the tree a step is.
#[derive(Clone, Copy)]
pub struct At<'a> {
    /// The stage that the step is in.
    pub stage: &'a Stage,
    /// The stage before, unless this is the first; of the export tree, the one it exports.
    pub previous: Option<&'a Stage>,
    /// Its sub-stage; none for `prerun.sh`.
    pub sub_stage: Option<&'a Path>,
    /// The stage whose image an export step is for.
    pub exported: Option<&'a Stage>,
}
