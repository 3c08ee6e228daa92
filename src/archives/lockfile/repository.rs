//! A package archive that has exactly the packages of a lock file: apt resolves against it as
//! it would against the archive of that day.

use super::{Package, Root};
use crate::archives::mirror::Mirrors;
use crate::archives::pool::Archives;
use crate::base::command::Command;
use crate::base::tool::Tool;
use crate::config::{Config, proxy};
use crate::plan::Plan;
use crate::sandbox::overlay::overlay;
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use walkdir::WalkDir;

/// Stands for the checksum of packages that cannot be installed.
const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Package files fetched by one call of apt's downloader.
const BATCH: usize = 100;

/// A package archive, shown read-only: its packages are hard links to the pool's.
pub struct Index {
    /// Has the archive, and where it is shown.
    dir: TempDir,
}

impl Index {
    fn new(dir: TempDir, archive: &Path) -> Result<Self> {
        let index = Self { dir };
        let empty = index.dir.path().join("empty");
        for path in [&index.path(), &empty] {
            fs::create_dir(path).with_context(|| format!("making {}", path.display()))?;
        }
        // overlayfs wants two directories where nothing is on top.
        overlay(&[archive, &empty], None, &index.path())?;
        Ok(index)
    }

    /// Its directory, an apt source for `copy:`.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("seen")
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        if let Err(error) = crate::sandbox::mounts::unmount(&self.path()) {
            eprintln!("westwork-gen: {error:#}");
        }
    }
}

/// Sees to it that every package of `root` is in `archives`, and makes the archive's index.
///
/// What is returned is an apt source for `copy:`. apt finds the packages first where it keeps
/// what it has downloaded, and does not copy them then. With `offline` nothing is fetched.
/// Names that `plan` mentions are known to apt even if they are not locked, so that taking out
/// a package that is not there is no error, as it is none with the whole archive.
///
/// # Errors
/// When packages cannot be had any more; the message names them.
pub fn prepare(
    root: &Root,
    archives: &mut Archives,
    config: &Config,
    mirrors: &Mirrors,
    plan: Option<&Plan>,
    offline: bool,
) -> Result<Index> {
    let mut missing: Vec<&Package> = Vec::new();
    for package in &root.packages {
        if archives.find(package)?.is_none() {
            missing.push(package);
        }
    }
    if offline && !missing.is_empty() {
        bail!(
            "--offline needs {}, and the package cache {} does not have {}",
            names(&missing),
            config.cache_dir.display(),
            if missing.len() == 1 { "it" } else { "them" }
        );
    }
    for batch in missing.chunks(BATCH) {
        fetch(batch, archives, config, mirrors)?;
    }
    archives.show_only(&root.packages)?;
    let mentioned = plan.map(mentioned).unwrap_or_default();
    index_of(root, archives, &mentioned)
}

/// Every word in the stages' files that could be a package's name.
fn mentioned(plan: &Plan) -> BTreeSet<String> {
    /// Scripts and lists are smaller.
    const LARGEST: u64 = 1 << 20;
    let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    let mut words = BTreeSet::new();
    let exports = plan.export_tree.iter().map(|tree| &tree.stage);
    for stage in plan.stages.iter().chain(exports) {
        let files = WalkDir::new(&stage.dir).into_iter().flatten();
        for file in files.filter(|file| file.file_type().is_file()) {
            if file.metadata().is_ok_and(|meta| meta.len() > LARGEST) {
                continue;
            }
            let text = fs::read_to_string(file.path()).unwrap_or_default();
            for word in text.split(|c| !part(c)) {
                // `name-` in a list takes the package out.
                let name = word.trim_end_matches(['-', '+', '.']);
                let first = name
                    .chars()
                    .next()
                    .is_some_and(|c| c.is_ascii_alphanumeric());
                if first && name.len() > 1 {
                    words.insert(name.to_owned());
                }
            }
        }
    }
    words
}

/// The first few of some packages, for a message.
fn names(packages: &[&Package]) -> String {
    const SHOWN: usize = 5;
    let mut text: Vec<String> = packages
        .iter()
        .take(SHOWN)
        .map(|package| format!("{} {}", package.name, package.version))
        .collect();
    if packages.len() > SHOWN {
        text.push(format!("{} more", packages.len() - SHOWN));
    }
    text.join(", ")
}

/// Downloads by apt's own downloader, which checks the sums.
fn fetch(
    packages: &[&Package],
    archives: &Archives,
    config: &Config,
    mirrors: &Mirrors,
) -> Result<()> {
    let mut command = Command::new(Tool::AptHelper)
        .arg("-oAcquire::Retries=3")
        .arg(format!("-oAcquire::http::Timeout={}", config.apt_timeout))
        .arg(format!("-oAcquire::https::Timeout={}", config.apt_timeout));
    command = command.args(proxy::apt_options(config.apt_proxy.as_deref()));
    command = command.arg("download-file");
    let dir = archives.scratch()?;
    for package in packages {
        let target = dir.path().join(package.file_name());
        let base = match package.source.as_str() {
            "mirror" => &mirrors.build,
            "security" => &mirrors.security,
            address => address,
        };
        command = command
            .arg(format!("{}/{}", base.trim_end_matches('/'), package.path))
            .arg(&target)
            .arg(format!("SHA256:{}", package.sha256));
    }
    let result = command.read();
    let expected: Vec<Package> = packages.iter().copied().cloned().collect();
    archives.adopt(dir.path(), &expected)?;
    let Err(error) = result else {
        return Ok(());
    };
    let gone: Vec<&Package> = packages
        .iter()
        .copied()
        .filter(|package| !dir.path().join(package.file_name()).exists())
        .collect();
    Err(error).with_context(|| {
        format!(
            "{} of westwork.lock cannot be had from the archive any more; `westwork-gen lock --update` takes what there is now",
            names(&gone)
        )
    })
}

/// Writes `dists/SUITE` of the archive: one component, no signature, for it is only ever used
/// as trusted.
fn index_of(root: &Root, archives: &Archives, mentioned: &BTreeSet<String>) -> Result<Index> {
    let own = archives.scratch()?;
    let dir = own.path().join("archive");
    let pool = dir.join("pool");
    fs::create_dir_all(&pool).with_context(|| format!("making {}", pool.display()))?;
    let suite = dir.join("dists").join(&root.suite);
    let list = format!("main/binary-{}/Packages", root.architecture);
    let path = suite.join(&list);
    fs::create_dir_all(path.parent().context("finding a directory")?)
        .with_context(|| format!("making {}", path.display()))?;
    let mut text = String::new();
    for package in &root.packages {
        let name = package.file_name();
        let deb = archives
            .find(package)?
            .with_context(|| format!("finding {name} in the package cache"))?;
        text += &stanza(package, &deb)?;
        // For apt after `apt-get clean`, which a step may say.
        fs::hard_link(&deb, pool.join(&name)).with_context(|| format!("linking {name}"))?;
    }
    let provided: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("Provides: "))
        .flat_map(|list| list.split(','))
        .filter_map(|item| item.split_whitespace().next().map(str::to_owned))
        .collect();
    let locked: BTreeSet<&str> = root.packages.iter().map(|p| p.name.as_str()).collect();
    for name in mentioned {
        if !provided.contains(name) && !locked.contains(name.as_str()) {
            text += &format!(
                "Package: {name}\nVersion: 0\nArchitecture: all\nMaintainer: nobody\n\
                 Depends: not-in-westwork-lock\nFilename: pool/{name}.deb\nSize: 1\n\
                 SHA256: {NOTHING}\nDescription: not in westwork.lock\n\n"
            );
        }
    }
    fs::write(&path, &text).with_context(|| format!("writing {}", path.display()))?;
    let release = format!(
        "Origin: westwork.lock\nSuite: {0}\nCodename: {0}\nArchitectures: {1}\nComponents: main\nDate: Thu, 01 Jan 1970 00:00:00 UTC\nSHA256:\n {2} {3} {4}\n",
        root.suite,
        root.architecture,
        hex::encode(Sha256::digest(&text)),
        text.len(),
        list
    );
    fs::write(suite.join("Release"), release).context("writing the locked index")?;
    Index::new(own, &dir)
}

/// What the index says of a package: its own control file, and where it is.
fn stanza(package: &Package, file: &Path) -> Result<String> {
    let control = Command::new(Tool::DpkgDeb)
        .arg("--field")
        .arg(file)
        .read()?;
    let mut text: String = control
        .lines()
        .filter(|line| package.priority.is_empty() || !line.starts_with("Priority:"))
        .flat_map(|line| [line, "\n"])
        .collect();
    if !package.priority.is_empty() {
        text += &format!("Priority: {}\n", package.priority);
    }
    text += &format!(
        "Filename: pool/{}\nSize: {}\nSHA256: {}\n\n",
        package.file_name(),
        package.size,
        package.sha256
    );
    Ok(text)
}
