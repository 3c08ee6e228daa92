//! What lies in the deploy directory and what it was made from: an image that is already there
//! is not made again.

use crate::base::command::own_program;
use crate::base::work;
use crate::config::{self, Config};
use crate::layers::store::Key;
use crate::layers::{job::Job, schedule::Schedule};
use crate::plan::Export;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The images of one build, by name.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Deployed {
    images: BTreeMap<String, Image>,
    /// Of the `postrun.sh` that ran after them.
    pub(crate) postrun: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Image {
    key: String,
    files: Vec<Artefact>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Artefact {
    path: PathBuf,
    /// Bytes, and nanoseconds since 1970: a file with the same is taken for the same.
    size: u64,
    modified: i128,
}

impl Artefact {
    fn of(path: &Path) -> Result<Self> {
        let meta = fs::metadata(path).with_context(|| format!("looking at {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            size: meta.len(),
            modified: i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec()),
        })
    }

    fn is_there(&self) -> bool {
        Self::of(&self.path).is_ok_and(|now| now.size == self.size && now.modified == self.modified)
    }
}

impl Deployed {
    fn path(work: &Path) -> PathBuf {
        work.join("deployed.json")
    }

    /// What was recorded in `work`.
    pub fn load(work: &Path) -> Result<Self> {
        Ok(work::load(&Self::path(work))?.unwrap_or_default())
    }

    pub(crate) fn save(&self, work: &Path) -> Result<()> {
        work::save(&Self::path(work), self)
    }

    /// The files of `image`, if they are there and were made from `key`.
    pub(crate) fn current(&self, image: &str, key: &str) -> Option<Vec<PathBuf>> {
        let image = self.images.get(image).filter(|image| image.key == key)?;
        let there = image.files.iter().all(Artefact::is_there);
        there.then(|| image.files.iter().map(|file| file.path.clone()).collect())
    }

    /// The file of `image` that is an image: the first one of its forms.
    pub fn image(&self, image: &str) -> Option<&Path> {
        const FORMS: [&str; 5] = [".img", ".img.zst", ".img.xz", ".img.gz", ".zip"];
        let mut files = self.images.get(image)?.files.iter();
        let is_form = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            FORMS.iter().any(|form| name.ends_with(form))
        };
        let file = files.find(|file| is_form(&file.path))?;
        Some(&file.path)
    }

    pub(crate) fn record(&mut self, image: &str, key: String, files: &[PathBuf]) -> Result<()> {
        let files = files
            .iter()
            .map(|path| Artefact::of(path))
            .collect::<Result<_>>()?;
        self.images.insert(image.to_owned(), Image { key, files });
        Ok(())
    }
}

/// The files in the deploy directory, if `schedule` has nothing to run and all its images are
/// there.
pub fn all_there(job: &Job<'_>, schedule: &Schedule<'_>) -> Result<Option<Vec<PathBuf>>> {
    if !schedule.nothing_to_run() {
        return Ok(None);
    }
    let deployed = Deployed::load(&job.work())?;
    let postrun = postrun_of(job.config);
    if postrun.is_file() && deployed.postrun != Some(postrun_key(&postrun)?) {
        return Ok(None);
    }
    let mut files = Vec::new();
    for found in &schedule.images {
        let image = &found.export.image;
        let key = image_key(job, &schedule.stack(found.tip), found.export)?;
        match deployed.current(image, &key) {
            Some(there) => files.extend(there),
            None => return Ok(None),
        }
    }
    Ok(Some(files))
}

/// Hash of everything that decides what an export makes: the layers, the settings, and this
/// program itself.
pub(crate) fn image_key(job: &Job<'_>, stack: &[Key], export: &Export) -> Result<String> {
    let own = fs::metadata(own_program()?).context("looking at the program itself")?;
    let parts = [
        format!("{:?}", stack.last()),
        settings_of_image(job),
        format!("{:?} {export:?} {}", job.mirrors, job.epoch()),
        format!("{} {} {}", own.len(), own.mtime(), own.mtime_nsec()),
    ];
    Ok(hex::encode(Sha256::digest(parts.join("\n"))))
}

/// What of the settings decides what an export makes.
fn settings_of_image(job: &Job<'_>) -> String {
    let config = job.config;
    let shown = |name: &str, value: String| {
        if config.is_secret(name) || config::has_user(&value) {
            job.seal.hash(name, &value)
        } else {
            value
        }
    };
    let mut text = String::new();
    for row in config::rows().filter(|row| row.facts.image) {
        if let Some(value) = row.field.as_ref().and_then(|field| (field.text)(config)) {
            let value = shown(row.name, value);
            text += &format!("{}={}:{value}\n", row.name, value.len());
        }
    }
    for (name, value) in &config.exports {
        let value = shown(name, value.clone());
        text += &format!("export {name}={}:{value}\n", value.len());
    }
    text
}

/// Hash of the `postrun.sh` at `path`.
pub(crate) fn postrun_key(path: &Path) -> Result<String> {
    let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(hex::encode(Sha256::digest(text)))
}

/// The script that a tree wants run when all images are there.
pub(crate) fn postrun_of(config: &Config) -> PathBuf {
    config.base_dir.join("postrun.sh")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_current_while_its_files_are_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.img");
        fs::write(&file, "image").unwrap();
        let mut deployed = Deployed::default();
        deployed
            .record("a", "key".to_owned(), std::slice::from_ref(&file))
            .unwrap();
        deployed.save(dir.path()).unwrap();
        let deployed = Deployed::load(dir.path()).unwrap();
        assert_eq!(deployed.current("a", "key"), Some(vec![file.clone()]));
        assert_eq!(deployed.current("a", "another"), None);
        fs::write(&file, "longer than before").unwrap();
        assert_eq!(deployed.current("a", "key"), None);
        fs::remove_file(&file).unwrap();
        assert_eq!(deployed.current("a", "key"), None);
    }
}
