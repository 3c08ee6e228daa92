//! `westwork-gen verify`: whether an image and the files beside it belong together and are as they
//! were built. Offline, and without any other program.

pub mod args;
mod image;
mod keys;
mod outcome;
mod statement;

pub(crate) use outcome::Verified;

use crate::base::digest;
use crate::base::problem::{self, Problem, Problems};
use anyhow::{Context, Result};
use args::VerifyArgs;
use keys::Key;
use outcome::Verdict;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The list of checksums that the exporter writes.
const SUMS: &str = "SHA256SUMS";

/// Carries out `westwork-gen verify`. Returns 0 if all is right, 1 if something is wrong or missing,
/// and 2, with a printed error, if it cannot be said.
pub fn run(args: &VerifyArgs) -> u8 {
    let verified = verify(args).and_then(|verified| {
        if args.json {
            println!(
                "{}",
                serde_json::to_string_pretty(&verified).context("writing JSON")?
            );
        } else {
            print!("{}", verified.show());
        }
        Ok(u8::from(!verified.is_right()))
    });
    problem::told(verified)
}

fn verify(args: &VerifyArgs) -> Result<Verified> {
    let keys = keys::read(&args.key)?;
    let (dir, only) = place(&args.path)?;
    let mut verified = Verified {
        directory: dir.display().to_string(),
        checks: Vec::new(),
    };
    let stems = stems(&dir, only.as_deref())?;
    let sums = sums(&dir, only.as_deref().map(|_| &stems), &mut verified)?;
    signature(&dir, &keys, &mut verified)?;
    for stem in &stems {
        image::compare(&dir, stem, &sums, &mut verified)?;
        statement::compare(&dir, stem, &sums, &keys, &mut verified)?;
    }
    Ok(verified)
}

/// The directory, and the name of the one file that was named.
fn place(path: &Path) -> Result<(PathBuf, Option<String>)> {
    if path.is_dir() {
        return Ok((path.to_owned(), None));
    }
    if !path.is_file() {
        let problem = Problem::new("is not there", "name a deploy directory or a file in one");
        return Err(Problems(vec![problem.at(path)]).into());
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Ok((dir.unwrap_or(Path::new(".")).to_owned(), Some(name)))
}

/// The images of the directory, by their build records and what names them in vain; or just the one that
/// the file `only` is or lies beside.
fn stems(dir: &Path, only: Option<&str>) -> Result<BTreeSet<String>> {
    let mut names: BTreeSet<String> = listed(dir)?.into_keys().collect();
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        names.insert(entry?.file_name().to_string_lossy().into_owned());
    }
    let ends = [
        ".build.json",
        ".provenance.json",
        ".bmap",
        ".rpi-imager-manifest",
    ];
    let stem = |name: &String| {
        ends.iter()
            .find_map(|end| Some(name.strip_suffix(end)?.to_owned()))
    };
    let mut stems: BTreeSet<String> = names.iter().filter_map(stem).collect();
    if let Some(only) = only.filter(|only| *only != SUMS) {
        // The longest one: `a-lite.img` is of `a-lite`, not of `a`.
        let of_it = |stem: &&String| {
            only.strip_prefix(stem.as_str())
                .is_some_and(|rest| rest.starts_with('.'))
        };
        let found = stems
            .iter()
            .filter(of_it)
            .max_by_key(|stem| stem.len())
            .cloned();
        let in_record = || {
            let names_it = |stem: &&String| image::artefacts(dir, stem).contains(only);
            stems.iter().find(names_it).cloned()
        };
        stems = found.or_else(in_record).into_iter().collect();
    }
    if stems.is_empty() {
        let what = "nothing there was left by a build: there is no NAME.build.json";
        let problem = Problem::new(what, "name a deploy directory or a file in one");
        return Err(Problems(vec![
            problem.at(&only.map_or(dir.to_owned(), |only| dir.join(only))),
        ])
        .into());
    }
    Ok(stems)
}

/// The lines of SHA256SUMS by name.
fn listed(dir: &Path) -> Result<BTreeMap<String, String>> {
    let text = image::bytes(dir, SUMS)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().filter_map(|line| line.split_once("  "));
    // A name with a slash would lead out of the directory.
    let own = lines.filter(|(sum, name)| sum.len() == 64 && !name.contains('/'));
    Ok(own
        .map(|(sum, name)| (name.to_owned(), sum.to_owned()))
        .collect())
}

/// The checksums of the files that are there, compared with SHA256SUMS; with `stems`, of those images
/// alone.
fn sums(
    dir: &Path,
    stems: Option<&BTreeSet<String>>,
    verified: &mut Verified,
) -> Result<BTreeMap<String, String>> {
    let listed = listed(dir)?;
    if listed.is_empty() {
        let why = "restore it: without it, files that nothing else names are not compared";
        verified.push(SUMS, "it lists all files", Verdict::Missing, why);
    }
    let mut names: BTreeSet<String> = listed.keys().cloned().collect();
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_file() && !name.starts_with('.') && !name.starts_with(SUMS) {
            names.insert(name);
        }
    }
    let artefacts: BTreeSet<String> = stems
        .into_iter()
        .flatten()
        .flat_map(|stem| image::artefacts(dir, stem))
        .collect();
    let wanted = |name: &String| {
        let of = |stem: &String| {
            name.strip_prefix(stem.as_str())
                .is_some_and(|rest| rest.starts_with('.'))
        };
        stems.is_none_or(|stems| stems.iter().any(of) || artefacts.contains(name))
    };
    let mut found = BTreeMap::new();
    for name in names.into_iter().filter(wanted) {
        let path = dir.join(&name);
        if !path.is_file() {
            verified.push(&name, "it is in SHA256SUMS", Verdict::Missing, "restore it");
            continue;
        }
        let sum = digest::of_file(&path)?;
        match listed.get(&name) {
            Some(line) if *line == sum => verified.add(&name, "its checksum in SHA256SUMS", Ok(())),
            Some(_) => verified.add(
                &name,
                "its checksum in SHA256SUMS",
                Err("it has another one: it was changed or damaged".to_owned()),
            ),
            None if !listed.is_empty() => {
                let why = "it is of no build, or its line was taken out";
                verified.push(&name, "its checksum in SHA256SUMS", Verdict::Unchecked, why);
            }
            None => {}
        }
        found.insert(name, sum);
    }
    Ok(found)
}

/// Who signed the checksums.
fn signature(dir: &Path, keys: &[Key], verified: &mut Verified) -> Result<()> {
    let path = dir.join(format!("{SUMS}.minisig"));
    let what = "its signature, SHA256SUMS.minisig";
    match (path.is_file(), keys.is_empty()) {
        (true, false) => {
            let text = image::bytes(dir, SUMS)?.unwrap_or_default();
            verified.add(SUMS, what, keys::signed(keys, &text, &path));
        }
        (true, true) => verified.push(SUMS, what, Verdict::Unchecked, "say --key FILE"),
        (false, false) => {
            let why = "the build was not signed with a key of minisign";
            verified.push(SUMS, what, Verdict::Missing, why);
        }
        (false, true) => {}
    }
    if dir.join(format!("{SUMS}.asc")).is_file() {
        let why = "gpg --verify SHA256SUMS.asc SHA256SUMS checks it";
        let what = "its signature, SHA256SUMS.asc";
        verified.push(SUMS, what, Verdict::Unchecked, why);
    }
    Ok(())
}
