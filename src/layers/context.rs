//! What the `internal` commands of a step are told: one typed text in place of many variables.
//!
//! It lies in a file that a step finds at [`PATH`]. (A descriptor would be lost on the way: bash,
//! sudo and Perl's `system` close what they do not know.)

use crate::archives::mirror::Mirrors;
use crate::config::{Arch, Bootstrap, Config, Distro};
use crate::sandbox::rootfs::Furniture;
use crate::sandbox::view::View;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// Where a step finds its context.
pub const PATH: &str = "/run/westwork-gen/context.json";

/// What a step is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Context {
    /// What a host script sees.
    pub view: View,
    /// What a command in the image finds.
    pub furniture: Furniture,
    /// Whether the step has the network.
    pub network: bool,
    /// The architecture of the image.
    pub arch: Arch,
    /// `DISTRO`.
    pub distro: Distro,
    /// `RELEASE`.
    pub release: String,
    /// The tool for the first root file system.
    pub bootstrap: Bootstrap,
    /// Of the base system's archive, with spaces between them.
    pub components: String,
    /// Suites of the base system's archive besides the release itself.
    pub suites: Vec<String>,
    /// Those of Debian's own archive.
    pub debian_suites: Vec<String>,
    /// Where packages come from.
    pub mirrors: Mirrors,
    /// `APT_PROXY`.
    pub proxy: Option<String>,
    /// Seconds without a byte after which a download is tried again.
    pub timeout: u32,
    /// The key of Raspbian, where the base system is from there.
    pub raspbian_key: Option<PathBuf>,
    /// The directory of the tree.
    pub base_dir: PathBuf,
    /// The directory of the stage that the step is in.
    pub stage_dir: PathBuf,
    /// Functions of the tree's own for host scripts, as bash has them.
    pub common: Option<String>,
    /// Roots of unpacked packages: read-only.
    pub toolchains: PathBuf,
    /// Crates and wheels of this tree.
    pub fetched: PathBuf,
}

impl Context {
    /// What `config` and `mirrors` say; places are to be filled in.
    pub fn new(config: &Config, mirrors: &Mirrors) -> Self {
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        Self {
            view: View::default(),
            furniture: Furniture {
                release: config.release.clone(),
                ..Furniture::default()
            },
            network: true,
            arch: config.arch,
            distro: config.distro,
            release: config.release.clone(),
            bootstrap: config.bootstrap,
            components: config.components().to_owned(),
            suites: owned(config.extra_suites()),
            debian_suites: owned(config.debian_suites()),
            mirrors: mirrors.clone(),
            proxy: config.apt_proxy.clone(),
            timeout: config.apt_timeout,
            raspbian_key: None,
            base_dir: config.base_dir.clone(),
            stage_dir: PathBuf::new(),
            common: None,
            toolchains: config.cache_dir.join("toolchains"),
            fetched: config.work_dir.join("fetched"),
        }
    }

    /// Reads what was written to `path`.
    ///
    /// # Errors
    /// When it is not there, as outside of a step, or cannot be read.
    pub fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| {
            format!(
                "reading {}: this command is for the steps of a build",
                path.display()
            )
        })?;
        serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
    }

    /// The context as text.
    ///
    /// # Errors
    /// When a path is not UTF-8.
    pub fn text(&self) -> Result<String> {
        serde_json::to_string(self).context("writing the step's context")
    }
}
