//! How far the last build of an image came.

use crate::base::work;
use crate::config::Config;
use crate::layers::store::Key;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Lists of earlier builds' layers that are kept, for `clean --keep`.
const EARLIER: usize = 20;

/// Stands between the name of a stage and that of a step that is run for its image alone.
pub(crate) const EXPORT_MARK: char = ':';

/// Which layer each step made, written as the build goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    /// Committed steps in order.
    pub steps: Vec<(String, Key)>,
    /// The step that failed last, if the last build failed.
    pub failed: Option<(String, Key)>,
    /// Every step is there.
    #[serde(default)]
    pub complete: bool,
    /// The layers of the builds before, newest first.
    #[serde(default)]
    pub earlier: Vec<Vec<Key>>,
}

impl Progress {
    fn path(work: &Path) -> PathBuf {
        work.join("progress.json")
    }

    /// What the last build of `config` reached.
    ///
    /// # Errors
    /// When nothing was built yet.
    pub fn load(config: &Config) -> Result<Self> {
        Self::last(config)?.with_context(|| {
            format!(
                "nothing was built yet: there is no {}",
                Self::path(&config.work()).display()
            )
        })
    }

    /// What the last build of `config` reached, if there was one.
    pub fn last(config: &Config) -> Result<Option<Self>> {
        work::load(&Self::path(&config.work()))
    }

    /// What every image built in `work_dir` reached last.
    pub fn all(work_dir: &Path) -> Result<Vec<Self>> {
        let mut all = Vec::new();
        for entry in work_dir.read_dir().into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                all.extend(work::load(&Self::path(&entry.path()))?);
            }
        }
        Ok(all)
    }

    /// The progress of a build that begins now, after `last`.
    pub fn after(last: Option<Self>) -> Self {
        let Some(last) = last else {
            return Self::default();
        };
        let mut earlier = last.earlier;
        let keys: Vec<Key> = last.steps.into_iter().map(|(_, key)| key).collect();
        if !keys.is_empty() && earlier.first() != Some(&keys) {
            earlier.insert(0, keys);
            earlier.truncate(EARLIER);
        }
        Self {
            earlier,
            ..Self::default()
        }
    }

    /// The last layer of the stages, and that of the export steps of each image.
    pub fn tips(&self) -> Vec<&Key> {
        let mut tips = BTreeMap::new();
        for (name, key) in &self.steps {
            let image = name.split_once(EXPORT_MARK).map(|(stage, _)| stage);
            tips.insert(image, key);
        }
        tips.into_values().collect()
    }

    /// Writes the progress for the next command to read.
    pub(crate) fn save(&self, work: &Path) -> Result<()> {
        work::save(&Self::path(work), self)
    }
}
