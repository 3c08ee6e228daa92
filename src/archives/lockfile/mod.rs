//! `westwork.lock`: every package an image was made of, so that it can be made again.
//!
//! ```toml
//! version = 1
//!
//! [[root]]
//! use = "image"                 # or "tools": the native programs that build it
//! distribution = "debian"
//! suite = "trixie"
//! architecture = "arm64"
//! archive = "9f2c…"             # state of the package index, and its date in seconds
//! date = 1763856000
//! packages = [
//!     { name = "adduser", version = "3.152", architecture = "all", size = 191404, sha256 = "…", source = "mirror", path = "pool/main/a/adduser/adduser_3.152_all.deb", priority = "important" },
//! ]
//! ```
//!
//! `source` is `mirror`, `security`, or the address of another archive; `priority` is what the
//! package index said, which decides what a bootstrap installs.

pub mod collect;
mod judge;
pub mod repository;
pub mod update;

pub use crate::archives::package::Package;
use crate::archives::state::State;
use crate::base::arch::debian_arch;
use crate::base::{lock, work};
use crate::config::{Config, Distro};
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const VERSION: u32 = 1;

/// What is at the top of every lock file.
const HEADER: &str = "# Every package of the image, written by westwork-gen. Keep it with the stages:\n\
                      # `westwork-gen build --locked` makes the same image of it again.\n";

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    version: u32,
    /// The root file systems whose packages are locked.
    #[serde(default, rename = "root")]
    pub roots: Vec<Root>,
}

/// What a root is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// The image itself.
    Image,
    /// The native tools that make it.
    Tools,
}

/// The packages of one root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// What it is for.
    #[serde(rename = "use")]
    pub purpose: Use,
    /// `DISTRO`'s word; native tools are always Debian's.
    #[serde(default = "debian")]
    pub distribution: String,
    /// The release, such as `trixie`.
    pub suite: String,
    /// Debian's name.
    pub architecture: String,
    /// [`State::id`] and [`State::date`].
    pub archive: String,
    /// Seconds since 1970.
    pub date: i64,
    /// Sorted by name, version and architecture.
    pub packages: Vec<Package>,
}

fn debian() -> String {
    Distro::Debian.word().to_owned()
}

/// What tells the roots of a lock file apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Which<'a> {
    /// See [`Root::suite`].
    pub suite: &'a str,
    /// See [`Root::distribution`].
    pub distribution: &'a str,
    /// See [`Root::architecture`].
    pub architecture: &'a str,
    /// See [`Root::purpose`].
    pub purpose: Use,
}

impl<'a> Which<'a> {
    /// The root that a build of `config` uses for `purpose`.
    pub fn of(config: &'a Config, purpose: Use) -> Self {
        let (distro, architecture) = match purpose {
            Use::Image => (config.distro, config.arch.debian()),
            Use::Tools => (Distro::Debian, debian_arch()),
        };
        Self {
            suite: &config.release,
            distribution: distro.word(),
            architecture,
            purpose,
        }
    }
}

impl Default for LockFile {
    fn default() -> Self {
        Self {
            version: VERSION,
            roots: Vec::new(),
        }
    }
}

/// Where the lock file of a tree is.
pub fn path_of(config: &Config) -> PathBuf {
    config.base_dir.join("westwork.lock")
}

/// The packages that the tree's lock file has for `purpose`; none when there is no such file.
pub fn packages_of(config: &Config, purpose: Use) -> Vec<Package> {
    let file = LockFile::load(&path_of(config)).ok().flatten();
    let root = file
        .as_ref()
        .and_then(|file| file.root(Which::of(config, purpose)));
    root.map_or_else(Vec::new, |root| root.packages.clone())
}

/// Waits for this build's turn at reading and writing the lock file at `path`: variants of
/// all architectures write to the same one. Its directory is locked, since the file itself is
/// replaced.
///
/// # Errors
/// When the directory cannot be opened or locked.
pub fn turn(path: &Path) -> Result<lock::Lock> {
    lock::wait_for_dir(path.parent().context("finding a file's directory")?)
}

impl LockFile {
    /// The lock file at `path`, if there is one.
    ///
    /// # Errors
    /// When it is not a lock file, or one of a later version.
    pub fn load(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let text =
            fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let lock: Self = toml::from_str(&text).map_err(|error| {
            let line = error
                .span()
                .map_or(1, |span| text[..span.start].lines().count().max(1));
            anyhow::anyhow!(
                "{}, line {line}: {}; restore the file, or remove it and build again",
                path.display(),
                error.message()
            )
        })?;
        ensure!(
            lock.version == VERSION,
            "{} has version {}; this program knows version {VERSION}",
            path.display(),
            lock.version
        );
        lock.check_names(path, &text)?;
        Ok(Some(lock))
    }

    /// The root that is `which`.
    pub fn root(&self, which: Which<'_>) -> Option<&Root> {
        self.roots.iter().find(|root| root.which() == which)
    }

    /// Puts `root` in the place of the one it is a new state of.
    pub fn set(&mut self, root: Root) {
        self.roots.retain(|old| old.which() != root.which());
        self.roots.push(root);
        self.roots.sort_by(|a, b| a.which().cmp(&b.which()));
    }

    /// Writes the file, a line for each package, so that changes read well.
    pub fn save(&self, path: &Path) -> Result<()> {
        work::write(path, self.text()?.as_bytes())?;
        // A temporary file is its owner's alone; this one goes into version control.
        fs::set_permissions(path, fs::Permissions::from_mode(0o644))
            .with_context(|| format!("setting the mode of {}", path.display()))
    }

    fn text(&self) -> Result<String> {
        let mut text = format!("{HEADER}version = {VERSION}\n");
        for root in &self.roots {
            let purpose = match root.purpose {
                Use::Image => "image",
                Use::Tools => "tools",
            };
            write!(
                text,
                "\n[[root]]\nuse = \"{purpose}\"\ndistribution = {}\nsuite = {}\narchitecture = {}\narchive = {}\ndate = {}\npackages = [\n",
                quoted(&root.distribution),
                quoted(&root.suite),
                quoted(&root.architecture),
                quoted(&root.archive),
                root.date
            )?;
            for package in &root.packages {
                write!(
                    text,
                    "    {{ name = {}, version = {}, architecture = {}, size = {}, sha256 = {}, source = {}, path = {}",
                    quoted(&package.name),
                    quoted(&package.version),
                    quoted(&package.architecture),
                    package.size,
                    quoted(&package.sha256),
                    quoted(&package.source),
                    quoted(&package.path),
                )?;
                if !package.priority.is_empty() {
                    write!(text, ", priority = {}", quoted(&package.priority))?;
                }
                text += " },\n";
            }
            text += "]\n";
        }
        Ok(text)
    }
}

impl Root {
    /// What tells it from the other roots.
    pub fn which(&self) -> Which<'_> {
        Which {
            suite: &self.suite,
            distribution: &self.distribution,
            architecture: &self.architecture,
            purpose: self.purpose,
        }
    }

    /// The state of the archive that the root stands for.
    pub fn state(&self) -> State {
        State {
            id: self.archive.clone(),
            date: Some(self.date),
            tools: None,
        }
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// The image's root in the tree's lock file.
///
/// # Errors
/// When there is none for this distribution, suite and architecture.
pub fn of_image(config: &Config) -> Result<(LockFile, Root)> {
    let path = path_of(config);
    let arch = config.arch.debian();
    let lock = LockFile::load(&path)?;
    let root = lock
        .as_ref()
        .and_then(|lock| lock.root(Which::of(config, Use::Image)))
        .cloned();
    match (lock, root) {
        (Some(lock), Some(root)) => Ok((lock, root)),
        (Some(_), None) => bail!(
            "{} has no packages for {} {} {arch}; `westwork-gen lock` after a build adds them",
            path.display(),
            config.distro.word(),
            config.release
        ),
        (None, _) => bail!(
            "there is no {}; the first build writes it, or `westwork-gen lock` after a build",
            path.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archives::package::tests::package;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("westwork.lock");
        assert_eq!(LockFile::load(&path).unwrap(), None);
        let mut lock = LockFile::default();
        let root = |purpose, version| Root {
            purpose,
            distribution: debian(),
            suite: "trixie".to_owned(),
            architecture: "arm64".to_owned(),
            archive: "ff".to_owned(),
            date: 5,
            packages: vec![package("ab", version), package("bc", "1:2~x")],
        };
        lock.set(root(Use::Tools, "1"));
        lock.set(root(Use::Image, "1"));
        lock.set(root(Use::Image, "2"));
        lock.save(&path).unwrap();
        assert_eq!(LockFile::load(&path).unwrap(), Some(lock.clone()));
        assert_eq!(lock.roots.len(), 2);
        assert_eq!(lock.roots[0].packages[0].version, "2");
        fs::write(&path, "version = 1\n\n[[root]]\nuse = 3\n").unwrap();
        let error = LockFile::load(&path).unwrap_err().to_string();
        assert!(error.contains("westwork.lock, line "), "{error}");
    }
}
