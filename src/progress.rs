//! How far the last build of an image came, and where it keeps its things.

use crate::config::Config;
use crate::layer::Key;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Where one image's build keeps its log and its mount points.
pub fn work_of(config: &Config) -> PathBuf {
    config
        .work_dir
        .join(format!("{}-{}", config.img_name, config.arch.debian()))
}

/// Which layer each step made, written as the build goes on, for `shell`.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    /// Committed steps in order.
    pub steps: Vec<(String, Key)>,
    /// The step that failed last, if the last build failed.
    pub failed: Option<(String, Key)>,
}

impl Progress {
    fn path(work: &Path) -> PathBuf {
        work.join("progress.json")
    }

    /// What the last build of `config` reached.
    pub fn load(config: &Config) -> Result<Self> {
        let path = Self::path(&work_of(config));
        let text = fs::read(&path)
            .with_context(|| format!("reading {} (was anything built yet?)", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))
    }

    /// Writes the progress for the next command to read.
    pub(crate) fn save(&self, work: &Path) -> Result<()> {
        let json = serde_json::to_vec_pretty(self).context("writing the progress")?;
        fs::write(Self::path(work), json).context("writing the progress")
    }
}
