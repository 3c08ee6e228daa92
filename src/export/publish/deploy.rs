//! Putting artefacts into the deploy directory, all together at the end.

use super::compress;
use crate::base::{lock, parts};
use crate::config::Compression;
use crate::config::Signer;
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Checksums of all files in the directory, as sha256sum writes and checks them.
pub(crate) const SUMS: &str = "SHA256SUMS";

/// What lies beside the artefacts of an image.
pub(super) const BMAP: &str = ".bmap";
pub(super) const INFO: &str = ".info";
pub(super) const SPDX: &str = ".spdx.json";
pub(super) const CYCLONEDX: &str = ".cdx.json";
pub(super) const MANIFEST: &str = ".rpi-imager-manifest";
pub(super) const RECORD: &str = ".build.json";
pub(super) const PAGE: &str = ".html";
pub(super) const PROVENANCE: &str = ".provenance.json";
pub(super) const ENVELOPE: &str = ".intoto.jsonl";
const BESIDE: [&str; 9] = [
    BMAP, INFO, SPDX, CYCLONEDX, MANIFEST, RECORD, PAGE, PROVENANCE, ENVELOPE,
];

struct Artefact {
    file: NamedTempFile,
    name: String,
    sha256: String,
}

/// Artefacts in the making: under temporary names, gone if not published.
pub(super) struct Deploy {
    dir: PathBuf,
    artefacts: Vec<Artefact>,
}

impl Deploy {
    /// Begins in `dir`, which is made if needed, and rid of what interrupted exports left.
    pub(super) fn begin(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        parts::sweep(dir, is_artefact);
        Ok(Self {
            dir: dir.to_owned(),
            artefacts: Vec::new(),
        })
    }

    /// A file in the directory, for an artefact that will be called `name`.
    pub(super) fn create(&self, name: &str) -> Result<NamedTempFile> {
        parts::create(&self.dir, name)
    }

    /// Takes a complete artefact, from [`Deploy::create`], and its checksum in hex.
    pub(super) fn add(&mut self, file: NamedTempFile, name: String, sha256: String) {
        self.artefacts.push(Artefact { file, name, sha256 });
    }

    /// Name and SHA-256 in hex of each artefact so far.
    pub(super) fn sums_so_far(&self) -> Vec<(String, String)> {
        let of = |it: &Artefact| (it.name.clone(), it.sha256.clone());
        self.artefacts.iter().map(of).collect()
    }

    /// An artefact `name` with these `contents`.
    pub(super) fn file(&mut self, name: String, contents: impl AsRef<[u8]>) -> Result<()> {
        let mut file = self.create(&name)?;
        file.write_all(contents.as_ref())
            .with_context(|| format!("writing {name}"))?;
        self.add(file, name, hex::encode(Sha256::digest(contents)));
        Ok(())
    }

    /// Gives all artefacts their names, brings the directory's checksums up to date and
    /// signs them, then removes what earlier exports left of the same image (of one of
    /// the `stems`). Returns the image's own paths in the order of creation, and those that
    /// all images of the directory share.
    pub(super) fn publish(
        mut self,
        stems: &[&str],
        signer: Option<&Signer>,
        epoch: i64,
    ) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
        // Another image may be published into the same directory at the same time.
        let _lock = lock::wait_for_dir(&self.dir)?;
        let old = self.old_names(stems);
        let sums = self.sums(&old)?;
        let mut unsigned: Vec<String> = Signer::EXTENSIONS
            .iter()
            .map(|extension| format!("{SUMS}{extension}"))
            .collect();
        let own = self.artefacts.len();
        self.file(SUMS.to_owned(), &sums)?;
        if let Some(signer) = signer {
            let name = format!("{SUMS}{}", signer.extension());
            unsigned.retain(|other| *other != name);
            let signature = signer
                .sign(&sums, epoch)
                .with_context(|| format!("signing {SUMS}"))?;
            self.file(name, &signature)?;
        }
        for artefact in &self.artefacts {
            let file = artefact.file.as_file();
            file.set_permissions(Permissions::from_mode(0o644))
                .and_then(|()| file.sync_all())
                .with_context(|| format!("finishing {}", artefact.name))?;
        }
        let mut paths = Vec::new();
        for artefact in self.artefacts {
            let path = self.dir.join(&artefact.name);
            artefact
                .file
                .persist(&path)
                .with_context(|| format!("renaming to {}", path.display()))?;
            paths.push(path);
        }
        for name in old.iter().chain(&unsigned) {
            let path = self.dir.join(name);
            if !paths.contains(&path) && path.exists() {
                fs::remove_file(&path)
                    .with_context(|| format!("removing the old {}", path.display()))?;
            }
        }
        let shared = paths.split_off(own);
        Ok((paths, shared))
    }

    /// The text of the directory's checksums: the lines of other images that are there
    /// are kept, those of `old` names give way to the new artefacts.
    fn sums(&self, old: &[String]) -> Result<String> {
        let path = self.dir.join(SUMS);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            text => text.with_context(|| format!("reading {}", path.display()))?,
        };
        let mut sums = BTreeMap::new();
        for (sum, name) in text.lines().filter_map(|line| line.split_once("  ")) {
            if !old.iter().any(|old| old == name) && self.dir.join(name).exists() {
                sums.insert(name, sum);
            }
        }
        for artefact in &self.artefacts {
            sums.insert(&artefact.name, &artefact.sha256);
        }
        Ok(sums
            .iter()
            .map(|(name, sum)| format!("{sum}  {name}\n"))
            .collect())
    }

    /// Every name an artefact of an image with one of the `stems` can have, also those
    /// that earlier versions gave.
    fn old_names(&self, stems: &[&str]) -> Vec<String> {
        let mut names = Vec::new();
        for stem in stems {
            for format in Compression::ALL {
                let name = format!("{stem}{}", compress::extension(format));
                names.push(format!("{name}.sha256"));
                names.push(name);
            }
            for beside in BESIDE {
                names.push(format!("{stem}{beside}"));
            }
        }
        names
    }
}

/// Whether an export makes files of such a name.
fn is_artefact(name: &str) -> bool {
    let images = Compression::ALL.map(compress::extension);
    name.starts_with(SUMS) || images.iter().chain(&BESIDE).any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_appears_before_publishing_and_other_images_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for old in ["a.img.xz", "a.img.xz.sha256", "b.img.xz", "SHA256SUMS.asc"] {
            fs::write(path(old), "").unwrap();
        }
        let sums = "11  a.img.xz\n22  b.img.xz\n33  gone.img.xz\n";
        fs::write(path("SHA256SUMS"), sums).unwrap();
        // What an interrupted export left, some time ago.
        let part = fs::File::create(path(".a.img.zst.Ab12Cd.part")).unwrap();
        let hour = std::time::Duration::from_secs(3600);
        part.set_modified(std::time::SystemTime::now() - hour)
            .unwrap();
        drop(part);
        let mut deploy = Deploy::begin(dir.path()).unwrap();
        deploy.file("a.img.zst".into(), "x").unwrap();
        assert!(!path("a.img.zst").exists() && path("a.img.xz").exists());
        assert_eq!(fs::read_to_string(path("SHA256SUMS")).unwrap(), sums);
        deploy.publish(&["a"], None, 0).unwrap();
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["SHA256SUMS", "a.img.zst", "b.img.xz"]);
        let x = hex::encode(Sha256::digest("x"));
        assert_eq!(
            fs::read_to_string(path("SHA256SUMS")).unwrap(),
            format!("{x}  a.img.zst\n22  b.img.xz\n")
        );
    }
}
