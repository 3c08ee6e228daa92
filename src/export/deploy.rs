//! Putting artefacts into the deploy directory, all together at the end.

use super::compress;
use crate::config::Compression;
use anyhow::{Context, Result};
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Artefacts in the making: under temporary names, gone if not published.
pub(crate) struct Deploy {
    dir: PathBuf,
    files: Vec<(NamedTempFile, String)>,
}

impl Deploy {
    /// Begins in `dir`, which is made if needed.
    pub(crate) fn begin(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        Ok(Self {
            dir: dir.to_owned(),
            files: Vec::new(),
        })
    }

    /// A new empty artefact that will be called `name`.
    pub(crate) fn create(&mut self, name: String) -> Result<&mut File> {
        let file = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".part")
            .tempfile_in(&self.dir)
            .with_context(|| format!("making a file in {}", self.dir.display()))?;
        self.files.push((file, name));
        let last = self.files.len() - 1;
        Ok(self.files[last].0.as_file_mut())
    }

    /// An artefact `name` with `text` in it.
    pub(crate) fn text(&mut self, name: String, text: &str) -> Result<()> {
        let shown = name.clone();
        self.create(name)?
            .write_all(text.as_bytes())
            .with_context(|| format!("writing {shown}"))
    }

    /// Gives all artefacts their names, then removes the forms of the same image
    /// that earlier exports left. Returns the paths in the order of creation.
    pub(crate) fn publish(self, stems: &[&str]) -> Result<Vec<PathBuf>> {
        for (file, name) in &self.files {
            let file = file.as_file();
            file.set_permissions(Permissions::from_mode(0o644))
                .and_then(|()| file.sync_all())
                .with_context(|| format!("finishing {name}"))?;
        }
        let mut paths = Vec::new();
        for (file, name) in self.files {
            let path = self.dir.join(name);
            file.persist(&path)
                .with_context(|| format!("renaming to {}", path.display()))?;
            paths.push(path);
        }
        for old in old_forms(&self.dir, stems) {
            if !paths.contains(&old) && old.exists() {
                fs::remove_file(&old)
                    .with_context(|| format!("removing the old {}", old.display()))?;
            }
        }
        Ok(paths)
    }
}

/// Every name an image with one of the `stems` can have.
fn old_forms(dir: &Path, stems: &[&str]) -> Vec<PathBuf> {
    use Compression::{Gz, None, Xz, Zip, Zst};
    let mut forms = Vec::new();
    for stem in stems {
        for format in [None, Zip, Gz, Xz, Zst] {
            let name = format!("{stem}{}", compress::extension(format));
            forms.push(dir.join(format!("{name}.sha256")));
            forms.push(dir.join(name));
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_appears_before_publishing() {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("a.img.xz");
        fs::write(&old, "").unwrap();
        let mut deploy = Deploy::begin(dir.path()).unwrap();
        deploy.text("a.img.zst".into(), "x").unwrap();
        assert!(!dir.path().join("a.img.zst").exists() && old.exists());
        deploy.publish(&["a"]).unwrap();
        assert!(dir.path().join("a.img.zst").exists() && !old.exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
