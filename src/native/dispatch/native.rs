//! The tools root: a native root of the target's suite, unpacked once and shared by all
//! builds, and the copies of dpkg's programs that take themselves for the target's.

use crate::archives::lockfile::{self, Package, Use, Which, collect, repository};
use crate::archives::mmdebstrap::{self, Until, with_archives};
use crate::archives::pool::{Archives, Keys};
use crate::base::arch::debian_arch;
use crate::base::inside;
use crate::base::work;
use crate::config::Arch;
use crate::layers::job::Job;
use crate::layers::share::Share;
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A directory with native programs and the versions of their packages.
#[derive(Debug, Clone)]
pub struct ToolsRoot {
    /// Its root directory.
    pub dir: PathBuf,
    /// Package name to version.
    pub versions: BTreeMap<String, String>,
    /// The same with all that a lock file has of them.
    pub packages: Vec<Package>,
}

impl ToolsRoot {
    fn new(dir: PathBuf, packages: Vec<Package>) -> Self {
        let versions = packages
            .iter()
            .map(|package| (package.name.clone(), package.version.clone()))
            .collect();
        Self {
            dir,
            versions,
            packages,
        }
    }
}

/// Finds the tools root for this suite and archive state in the cache, or makes it.
///
/// # Errors
/// When the packages cannot be fetched or unpacked.
pub fn tools_root(
    job: &Job<'_>,
    share: &Share,
    packages: &BTreeSet<String>,
    sink: &mut dyn FnMut(&str),
) -> Result<ToolsRoot> {
    let config = job.config;
    let list: Vec<&str> = packages.iter().map(String::as_str).collect();
    let mut hash = Sha256::new();
    let suites = config.debian_suites().join(" ");
    for part in [
        // Raised when what is kept of a tools root changes.
        "2",
        config.release.as_str(),
        &suites,
        std::env::consts::ARCH,
        job.state.of_tools(),
        &list.join(","),
    ] {
        hash.update(part);
        hash.update("\n");
    }
    let key = hex::encode(&hash.finalize()[..6]);
    let base = config.cache_dir.join("tools");
    fs::create_dir_all(&base).with_context(|| format!("making {}", base.display()))?;
    let name = format!("{}-{key}", config.release);
    let dir = base.join(&name);
    if let Some(packages) = work::load(&dir.join("packages.json"))? {
        share.give_tools(&name, dir.clone());
        return Ok(ToolsRoot::new(dir, packages));
    }
    let making = tempfile::Builder::new()
        .prefix("new-")
        .tempdir_in(&base)
        .with_context(|| format!("making a directory in {}", base.display()))?;
    let shared = share
        .fetch_tools(&name, making.path())
        .then(|| work::load(&making.path().join("packages.json")))
        .transpose()?
        .flatten();
    let packages = match shared {
        Some(packages) => packages,
        None => {
            let packages = unpack(job, share, &list, making.path(), sink)?;
            work::save(&making.path().join("packages.json"), &packages)?;
            packages
        }
    };
    if dir.exists() && work::load::<Vec<Package>>(&dir.join("packages.json"))?.is_none() {
        // Its list was damaged.
        fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
    }
    let made = making.keep();
    if !work::put_in_place(&made, &dir)? {
        // Another build was faster; one of them is enough.
        fs::remove_dir_all(&made).with_context(|| format!("removing {}", made.display()))?;
    }
    share.give_tools(&name, dir.clone());
    Ok(ToolsRoot::new(dir, packages))
}

/// Unpacks `packages` and what they depend on, without configuring them.
fn unpack(
    job: &Job<'_>,
    share: &Share,
    packages: &[&str],
    dir: &Path,
    sink: &mut dyn FnMut(&str),
) -> Result<Vec<Package>> {
    // Raspbian has no programs for this machine; Debian has the same ones.
    let (config, mirrors) = (job.config, job.mirrors.debian());
    let (root, debs) = (dir.join("root"), dir.join("debs"));
    fs::create_dir_all(&debs).with_context(|| format!("making {}", debs.display()))?;
    let mut archives = Archives::open(&config.cache_dir, debian_arch(), Keys::none(), sink)?;
    let known = lockfile::packages_of(config, Use::Tools);
    share.fetch_packages(&known, &archives)?;
    let locked = job.locked.and_then(|locked| {
        let tools = locked.file.root(Which::of(config, Use::Tools))?;
        Some((tools, locked.offline))
    });
    let command = mmdebstrap::extract(config.apt_proxy.as_deref())
        .arg("--skip=essential/unlink,cleanup/apt,download/empty")
        .arg("--include=base-files,usr-is-merged,libc6")
        .arg(format!("--include={}", packages.join(",")));
    let mut command = with_archives(command, &debs, &Until::Extracted)
        .arg(&config.release)
        .arg(&root);
    let _index = match locked {
        Some((tools, offline)) => {
            let index = repository::prepare(tools, &mut archives, config, mirrors, None, offline)?;
            link_packages(&tools.packages, &archives, &debs)?;
            let address = index.path().to_string_lossy().replace(' ', "%20");
            command = command.arg(format!(
                "deb [trusted=yes] copy:{address} {} main",
                config.release
            ));
            Some(index)
        }
        None if job.locked.is_some_and(|locked| locked.offline) => {
            bail!("westwork.lock has no native tools for {}", debian_arch())
        }
        None => {
            if !mirrors.build.is_empty() {
                let suites = config.debian_suites();
                command = command.args(mirrors.sources(&config.release, "main", &suites, None));
            }
            None
        }
    };
    command.stream(sink).context("making the tools root")?;
    let used = match locked {
        Some((tools, _)) => tools.packages.clone(),
        None => {
            // No script of a tree or a package has run in there.
            archives.adopt_downloads(&debs)?;
            collect::files(
                &debs,
                &inside::Root::open(&root)?,
                &archives.known(dir)?,
                mirrors,
            )?
        }
    };
    fs::remove_dir_all(&debs).with_context(|| format!("removing {}", debs.display()))?;
    Ok(used)
}

/// Puts the locked `packages` into `debs`, out of the package pool.
fn link_packages(packages: &[Package], archives: &Archives, debs: &Path) -> Result<()> {
    for package in packages {
        let name = package.file_name();
        let file = archives
            .find(package)?
            .with_context(|| format!("finding {name} in the package cache"))?;
        fs::hard_link(file, debs.join(&name)).with_context(|| format!("linking {name}"))?;
    }
    Ok(())
}

/// Copies dpkg's program `path` of the tools root to `to` with the target's architecture in
/// place of the native one.
///
/// The name is a constant in the program's read-only data, ended by a zero byte; both names
/// must have the same length (`amd64`, `arm64`, `armhf` do).
///
/// # Errors
/// When the name is not found; the caller emulates the program then.
pub fn rename_architecture(path: &Path, to: &Path, native: &str, arch: Arch) -> Result<()> {
    let target = arch.debian();
    ensure!(
        native.len() == target.len(),
        "{native} and {target} differ in length"
    );
    let mut bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let (from, into) = (format!("\0{native}\0"), format!("\0{target}\0"));
    let mut at = 0;
    while let Some(found) = find(&bytes[at..], from.as_bytes()) {
        bytes[at + found..at + found + into.len()].copy_from_slice(into.as_bytes());
        at += found + 1;
    }
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    }
    fs::write(to, bytes).with_context(|| format!("writing {}", to.display()))?;
    let mode = fs::metadata(path)
        .with_context(|| format!("reading {}", path.display()))?
        .permissions();
    fs::set_permissions(to, mode).with_context(|| format!("setting the mode of {}", to.display()))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_constant_is_renamed() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("dpkg"), dir.path().join("x/dpkg"));
        fs::write(&from, b"\0amd64\0amd64\0-amd64\0").unwrap();
        rename_architecture(&from, &to, "amd64", Arch::Armhf).unwrap();
        assert_eq!(fs::read(to).unwrap(), b"\0armhf\0armhf\0-amd64\0");
    }
}
