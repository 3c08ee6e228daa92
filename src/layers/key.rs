//! What a layer's key is made of: everything its step can see.

use crate::base::command::Env;
use crate::config::has_user;
use crate::config::row::Bearing;
use crate::layers::own_variables::{bearing, is_secret};
use crate::layers::seal::Seal;
use crate::layers::store::Inputs;
use crate::plan::step::{Step, StepKind};
use crate::plan::{Common, Stage};
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use walkdir::WalkDir;

/// Raised when a change of this program changes what steps make of the same input.
const ENGINE: &str = "5";

/// A line of a host script that begins so names the files it reads, relative to its own
/// directory, in place of everything in its stage.
const DECLARATION: &str = "# inputs:";

/// Words with which a script can get at variables that it does not name, or at files outside
/// of its stage that do: then every variable counts.
const OPEN: [&str; 14] = [
    "BASE_DIR",
    "SCRIPT_DIR",
    "compgen",
    "declare",
    "env",
    "environ",
    "envsubst",
    "eval",
    "export -p",
    "printenv",
    "set >",
    "set |",
    "typeset",
    "${!",
];

/// What functions of the contract read of the variables, for scripts that name only the function.
const READ_BY: [(&str, &[&str]); 2] = [
    ("bootstrap", &["BOOTSTRAP_OPTIONS"]),
    (
        "update_issue",
        &[
            "GIT_HASH",
            "IMG_DATE",
            "IMG_NAME",
            "PI_GEN",
            "PI_GEN_RELEASE",
            "PI_GEN_REPO",
        ],
    ),
];

/// Inputs of this kind have a keyed hash in place of a secret.
const SECRET: &str = "secret ";

/// Whether a layer of these inputs depends on a secret, and is nothing for other machines.
pub fn has_secret(inputs: &Inputs) -> bool {
    inputs.keys().any(|name| name.starts_with(SECRET))
}

/// Reads files for keys, each one once.
pub struct Files<'a> {
    seal: &'a Seal,
    /// The tree's own part of `scripts/common`, which every host script has.
    common: Option<(PathBuf, Rc<Facts>)>,
    seen: RefCell<HashMap<PathBuf, Rc<Facts>>>,
}

/// What a key needs of one file.
struct Facts {
    /// Its type, mode and checksum.
    value: String,
    /// Words of it that could be variables' names.
    words: BTreeSet<String>,
    /// It can get at variables without naming them.
    open: bool,
    /// A shell would find something to expand in it.
    expands: bool,
}

impl<'a> Files<'a> {
    /// Nothing read yet; secrets are hashed by `seal`. `common` are functions of the tree's own.
    pub fn new(seal: &'a Seal, common: Option<&Common>) -> Self {
        let common = common.filter(|common| !common.own.is_empty());
        Self {
            seal,
            common: common.map(|common| {
                let facts = Facts::of_text(common.own.as_bytes(), false);
                (common.path.clone(), Rc::new(facts))
            }),
            seen: RefCell::default(),
        }
    }

    /// Everything that decides what `step` makes, by name.
    ///
    /// A chroot script, a package list and debconf answers see their own bytes; a host script
    /// sees the files of its stage as well, other steps' files left out, or what it declares.
    /// Of the variables those count that these files name.
    ///
    /// # Errors
    /// When a file cannot be read, or a declared one is not there.
    pub fn inputs(&self, step: &Step, stage: &Stage, env: &Env) -> Result<Inputs> {
        let mut inputs = Inputs::new();
        inputs.insert("engine".to_owned(), ENGINE.to_owned());
        inputs.insert("kind".to_owned(), format!("{:?}", step.kind));
        let mut files = self.below(&step.path, &BTreeSet::new())?;
        if matches!(step.kind, StepKind::RunHost | StepKind::Prerun) {
            match declared(&step.path)? {
                Some(paths) => {
                    for path in paths {
                        files.extend(self.below(&path, &BTreeSet::new())?);
                    }
                }
                None => files.extend(self.below(&stage.dir, &other_steps(stage))?),
            }
            files.extend(self.common.clone());
        }
        let packages = matches!(
            step.kind,
            StepKind::Packages | StepKind::PackagesNoRecommends | StepKind::PackagesNonInteractive
        );
        // One with variables in it is a shell's (steps::apt).
        let packages = packages && !files.iter().any(|(_, facts)| facts.expands);
        let open = files.iter().any(|(_, facts)| facts.open);
        for (name, value) in env {
            let named = || files.iter().any(|(_, facts)| facts.reads(name));
            let counts = match bearing(name) {
                Bearing::Core => true,
                // Packages are installed with the core variables alone (pipeline::step).
                Bearing::Visible => !packages && (open || named()),
                Bearing::Named => !packages && named(),
                Bearing::Never => false,
            };
            if counts {
                // An address with a password in it is a secret under any name; no value is none.
                let secret = !value.is_empty() && (is_secret(name) || has_user(value));
                let (name, value) = if secret {
                    (format!("{SECRET}{name}"), self.seal.hash(name, value))
                } else {
                    (format!("variable {name}"), value.clone())
                };
                inputs.insert(name, value);
            }
        }
        for (path, facts) in files {
            let name = path.strip_prefix(&stage.dir).unwrap_or(&path);
            inputs.insert(format!("file {}", name.display()), facts.value.clone());
        }
        Ok(inputs)
    }

    /// The files at `path` and below.
    fn below(&self, path: &Path, without: &BTreeSet<PathBuf>) -> Result<Vec<(PathBuf, Rc<Facts>)>> {
        let mut files = Vec::new();
        let walk = WalkDir::new(path)
            .sort_by_file_name()
            .into_iter()
            .filter_entry(|entry| !without.contains(entry.path()));
        for entry in walk {
            let entry = entry.with_context(|| format!("reading {}", path.display()))?;
            let kind = entry.file_type();
            if kind.is_file() || kind.is_symlink() {
                files.push((entry.path().to_owned(), self.facts(entry.path())?));
            }
        }
        Ok(files)
    }

    fn facts(&self, path: &Path) -> Result<Rc<Facts>> {
        if let Some(facts) = self.seen.borrow().get(path) {
            return Ok(Rc::clone(facts));
        }
        let facts =
            Rc::new(Facts::of(path).with_context(|| format!("reading {}", path.display()))?);
        self.seen
            .borrow_mut()
            .insert(path.to_owned(), Rc::clone(&facts));
        Ok(facts)
    }
}

impl Facts {
    fn of(path: &Path) -> Result<Self> {
        let meta = path.symlink_metadata()?;
        if meta.is_symlink() {
            return Ok(Self {
                value: format!("link to {}", fs::read_link(path)?.display()),
                words: BTreeSet::new(),
                open: false,
                expands: false,
            });
        }
        // Only the execute bit: the rest depends on the umask of whoever checked out.
        let execute = meta.permissions().mode() & 0o100 != 0;
        Ok(Self::of_text(&fs::read(path)?, execute))
    }

    fn of_text(bytes: &[u8], execute: bool) -> Self {
        let text = String::from_utf8_lossy(bytes);
        // `#!/usr/bin/env` is no use of variables.
        let body = match text.split_once('\n') {
            Some((first, rest)) if first.starts_with("#!") => rest,
            _ => &text,
        };
        let words: BTreeSet<String> = body
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect();
        let open = OPEN.iter().any(|mark| {
            if mark
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            {
                words.contains(*mark)
            } else {
                body.contains(mark)
            }
        });
        Self {
            value: format!(
                "{}{}",
                if execute { "executable " } else { "" },
                digest(bytes)
            ),
            words,
            open,
            expands: body.contains(['$', '`']),
        }
    }

    /// Whether the variable `name` is named here, or is read by a function that is.
    fn reads(&self, name: &str) -> bool {
        let through = |(function, read): &(&str, &[&str])| {
            read.contains(&name) && self.words.contains(*function)
        };
        self.words.contains(name) || READ_BY.iter().any(through)
    }
}

fn digest(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The paths that a host script's declaration names; `None` without a declaration.
fn declared(script: &Path) -> Result<Option<Vec<PathBuf>>> {
    let text = fs::read(script).with_context(|| format!("reading {}", script.display()))?;
    let text = String::from_utf8_lossy(&text);
    let dir = script.parent().context("finding a script's directory")?;
    let mut paths = None;
    for (number, line) in text.lines().enumerate() {
        let Some(list) = line.strip_prefix(DECLARATION) else {
            continue;
        };
        let paths = paths.get_or_insert_with(Vec::new);
        for name in list.split_ascii_whitespace() {
            let path = dir.join(name);
            if !path.exists() {
                bail!(
                    "{}, line {}: the inputs name {name}, which is not there; mend the path or take it out",
                    script.display(),
                    number + 1
                );
            }
            paths.push(path);
        }
    }
    Ok(paths)
}

fn other_steps(stage: &Stage) -> BTreeSet<PathBuf> {
    let subs = stage.sub_stages.iter().flat_map(|sub| &sub.steps);
    let mut paths: BTreeSet<_> = subs
        .chain(&stage.prerun)
        .map(|step| step.path.clone())
        .collect();
    for name in ["EXPORT_IMAGE", "EXPORT_NOOBS", "SKIP_IMAGES"] {
        paths.insert(stage.dir.join(name));
    }
    paths
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
