//! `lock --update`: what the archive has now in place of what is locked.

use super::collect::{Id, Listed, id_of, listed};
use super::{LockFile, Package, Root, Use, of_image, path_of};
use crate::archives::host_apt::{Apt, KEY_PLACES, keys_in, machine_keys};
use crate::archives::keyring::Signed;
use crate::archives::mirror::Mirrors;
use crate::archives::state::State;
use crate::base::inside;
use crate::base::tool::Tool;
use crate::config::Config;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Brings the locked packages up to date, or only `package` and what its new version needs,
/// says what changes, and writes the lock file.
///
/// The native tools follow the image, so that their programs are of the same versions.
///
/// # Errors
/// When apt finds no set of packages that fits together; its words are in the message.
pub fn update(config: &Config, mirrors: &Mirrors, package: Option<&str>) -> Result<()> {
    let (mut file, image) = of_image(config)?;
    if let Some(name) = package {
        if !image.packages.iter().any(|locked| locked.name == name) {
            bail!(
                "{} has no package {name} for {} {}",
                path_of(config).display(),
                image.suite,
                image.architecture
            );
        }
    }
    let state = State::now(config, mirrors, &config.work());
    let Some(date) = state.date else {
        bail!("the package archive {} cannot be reached", mirrors.build);
    };
    for signed in Signed::of(config) {
        signed.find(config, false)?;
    }
    let mut changed = false;
    let tools: Vec<Root> = file
        .roots
        .iter()
        .filter(|root| root.purpose == Use::Tools && root.suite == image.suite)
        .cloned()
        .collect();
    for root in std::iter::once(&image).chain(&tools) {
        let packages = resolve(config, mirrors, root, package)?;
        if root.packages == packages {
            continue;
        }
        changed = true;
        println!(
            "{} ({:?}, {}):",
            root.suite, root.purpose, root.architecture
        );
        for line in changes(&root.packages, &packages) {
            println!("  {line}");
        }
        // With one package updated the set is none that the archive ever had as a whole.
        let archive = match package {
            None => state.id.clone(),
            Some(_) => fingerprint(&packages),
        };
        file.set(Root {
            archive,
            date,
            packages,
            ..root.clone()
        });
    }
    if !changed {
        println!("nothing has changed");
        return Ok(());
    }
    align(&mut file, &image);
    file.save(&path_of(config))
}

/// Image and tools are built from one state: they carry the image's name for it.
fn align(file: &mut LockFile, image: &Root) {
    let state = file
        .root(image.which())
        .map(|root| (root.archive.clone(), root.date));
    if let Some((archive, date)) = state {
        let tools = file
            .roots
            .iter_mut()
            .filter(|root| root.purpose == Use::Tools && root.suite == image.suite);
        for root in tools {
            (root.archive, root.date) = (archive.clone(), date);
        }
    }
}

fn fingerprint(packages: &[Package]) -> String {
    use sha2::{Digest, Sha256};
    let sums: Vec<&str> = packages
        .iter()
        .map(|package| package.sha256.as_str())
        .collect();
    hex::encode(Sha256::digest(sums.join("\n")))
}

/// Lines of what changes from `old` to `new`.
fn changes(old: &[Package], new: &[Package]) -> Vec<String> {
    let by_name = |packages: &[Package]| -> BTreeMap<String, String> {
        packages
            .iter()
            .map(|package| (package.name.clone(), package.version.clone()))
            .collect()
    };
    let (old, new) = (by_name(old), by_name(new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names
        .into_iter()
        .filter_map(|name| match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) if old != new => Some(format!("{name} {old} -> {new}")),
            (Some(old), None) => Some(format!("{name} {old} is no longer needed")),
            (None, Some(new)) => Some(format!("{name} {new} is new")),
            _ => None,
        })
        .collect()
}

/// The packages of `root` as the archive has them now, with everything they need.
fn resolve(
    config: &Config,
    mirrors: &Mirrors,
    root: &Root,
    only: Option<&str>,
) -> Result<Vec<Package>> {
    let dir = tempfile::tempdir().context("making a directory for apt")?;
    let (lines, mirrors) = match root.purpose {
        Use::Image => (image_sources(dir.path(), config, mirrors)?, mirrors),
        Use::Tools => (tools_sources(config, mirrors), mirrors.debian()),
    };
    let keys = keys_in(dir.path(), &all_keys())?;
    let apt = Apt::new(dir.path(), &lines, &root.architecture, &keys)?.for_network(config);
    apt.run(
        Tool::AptGet,
        &["update".to_owned(), "--error-on=any".to_owned()],
    )?;
    let listed = listed(&inside::Root::open(dir.path())?, mirrors)?;
    if listed.is_empty() {
        bail!("apt brought no package index from {}", mirrors.build);
    }
    let args = install(root, only, &listed);
    let text = apt.run(Tool::AptGet, &args)?;
    let mut packages = chosen(&text, &listed);
    if let Some(only) = only {
        // What is gone from the archive but locked may still be in the package cache.
        let found: BTreeSet<String> = packages.iter().map(|p| p.name.clone()).collect();
        let kept = root
            .packages
            .iter()
            .filter(|package| package.name != only && !found.contains(&package.name));
        packages.extend(kept.cloned());
    }
    packages.sort();
    Ok(packages)
}

/// The arguments that make apt-get(8) say which files it would download for the packages of
/// `root`: all of them as new as they are, or `only` one of them.
fn install(root: &Root, only: Option<&str>, listed: &BTreeMap<Id, Listed>) -> Vec<String> {
    let mut args = vec![
        "install".to_owned(),
        "--yes".to_owned(),
        "--no-install-recommends".to_owned(),
        "--print-uris".to_owned(),
    ];
    for package in &root.packages {
        let id: Id = (
            package.name.clone(),
            package.version.clone(),
            package.architecture.clone(),
        );
        let pinned = only.is_some_and(|only| only != package.name) && listed.contains_key(&id);
        if pinned {
            args.push(format!("{}={}", package.name, package.version));
        } else if listed.keys().any(|(name, ..)| *name == package.name) {
            args.push(package.name.clone());
        } else {
            eprintln!("note: the archive has no {} any more", package.name);
        }
    }
    args
}

/// The packages whose files apt would download: lines of `'URI' FILE SIZE SUM`.
fn chosen(text: &str, listed: &BTreeMap<Id, Listed>) -> Vec<Package> {
    let files = text.lines().filter(|line| line.starts_with('\''));
    let ids: BTreeSet<Id> = files
        .filter_map(|line| id_of(line.split(' ').nth(1)?))
        .collect();
    ids.into_iter()
        .filter_map(|id| {
            let found = listed.get(&id)?;
            let (name, version, architecture) = id;
            Some(Package {
                name,
                version,
                architecture,
                size: found.size,
                sha256: found.sha256.clone(),
                source: found.source.clone(),
                path: found.path.clone(),
                priority: found.priority.clone(),
            })
        })
        .collect()
}

/// Lines of apt sources for the image, with the keys they name below `dir`.
fn image_sources(dir: &Path, config: &Config, mirrors: &Mirrors) -> Result<Vec<String>> {
    // Debian's archives are judged by the keys that this machine trusts.
    let mut base = None;
    let mut raspberrypi = Vec::new();
    for signed in Signed::of(config) {
        let from = signed
            .known(config)
            .with_context(|| format!("finding the key of {}", signed.name()))?;
        let key = dir.join(format!("{signed:?}.pgp"));
        fs::copy(&from, &key).with_context(|| format!("copying {}", from.display()))?;
        match signed {
            Signed::Raspbian => base = Some(key),
            Signed::RaspberryPi => raspberrypi.push(format!(
                "deb [signed-by={}] {} {} main",
                key.display(),
                mirrors.raspberrypi,
                config.release
            )),
        }
    }
    let mut lines = mirrors.sources(
        &config.release,
        config.components(),
        &config.extra_suites(),
        base.as_deref(),
    );
    lines.append(&mut raspberrypi);
    Ok(lines)
}

/// Lines of apt sources for the native tools.
fn tools_sources(config: &Config, mirrors: &Mirrors) -> Vec<String> {
    let suites = config.debian_suites();
    mirrors
        .debian()
        .sources(&config.release, "main", &suites, None)
}

/// The version of each of `packages` that apt would install in the image.
///
/// # Errors
/// When the archives' indexes cannot be had.
pub fn offered(
    config: &Config,
    mirrors: &Mirrors,
    packages: &BTreeSet<String>,
) -> Result<BTreeMap<String, String>> {
    let dir = tempfile::tempdir().context("making a directory for apt")?;
    let lines = image_sources(dir.path(), config, mirrors)?;
    let keys = keys_in(dir.path(), &all_keys())?;
    let apt = Apt::new(dir.path(), &lines, config.arch.debian(), &keys)?.for_network(config);
    apt.run(
        Tool::AptGet,
        &["update".to_owned(), "--error-on=any".to_owned()],
    )?;
    let names = packages.iter().cloned();
    let args: Vec<String> = std::iter::once("policy".to_owned()).chain(names).collect();
    Ok(candidates(&apt.run(Tool::AptCache, &args)?))
}

/// The archive keys that this machine has, wherever they lie.
fn all_keys() -> Vec<PathBuf> {
    KEY_PLACES.into_iter().flat_map(machine_keys).collect()
}

/// Name and candidate of each package that apt-cache(8) `policy` tells of.
fn candidates(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut name = "";
    for line in text.lines() {
        if let Some(version) = line.strip_prefix("  Candidate: ") {
            if version != "(none)" {
                found.insert(name.to_owned(), version.to_owned());
            }
        } else if !line.starts_with(' ') {
            name = line.trim_end_matches(':');
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archives::package::tests::package;

    #[test]
    fn apt_names_files_whose_names_say_all() {
        let id: Id = ("g++".into(), "4:14.2.0-1".into(), "arm64".into());
        let listed = BTreeMap::from([(id.clone(), Listed::default())]);
        let text = "Reading package lists...\n'http://mirror.example/pool/main/g/g%2b%2b_14.2.0-1_arm64.deb' g++_4%3a14.2.0-1_arm64.deb 1234 SHA256:00\n";
        let chosen = chosen(text, &listed);
        assert_eq!(chosen.len(), 1);
        let package = &chosen[0];
        assert_eq!(
            [&package.name, &package.version, &package.architecture],
            [&id.0, &id.1, &id.2]
        );
    }

    #[test]
    fn candidates_are_what_would_be_installed() {
        let text = "sed:\n  Installed: (none)\n  Candidate: 4.9-2+rpt1\n  Version table:\n     4.9-2 500\nnone:\n  Installed: (none)\n  Candidate: (none)\n";
        let sed = ("sed".to_owned(), "4.9-2+rpt1".to_owned());
        assert_eq!(candidates(text), BTreeMap::from([sed]));
    }

    #[test]
    fn changes_are_told_package_by_package() {
        let old = [package("a", "1"), package("b", "1"), package("c", "1")];
        let new = [package("a", "2"), package("b", "1"), package("d", "3")];
        assert_eq!(
            changes(&old, &new),
            ["a 1 -> 2", "c 1 is no longer needed", "d 3 is new"]
        );
    }
}
