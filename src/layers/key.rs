//! What a layer's key is made of: everything its step can see.

use crate::base::command::Env;
use crate::config::has_user;
use crate::config::row::Bearing;
use crate::config::variables::{self, Variable};
use crate::layers::engine::{self, PARTS, Part, is_host};
use crate::layers::facts::{Facts, Sums};
use crate::layers::mentions;
use crate::layers::own_variables::{bearing, is_secret};
use crate::layers::reads::{DIRECTORY, FILE, Read, Tree, real};
use crate::layers::seal::Seal;
use crate::layers::store::Inputs;
use crate::plan::step::{Step, StepKind};
use crate::plan::{Common, Stage};
use anyhow::{Context, Result, bail};
use std::cell::RefCell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use walkdir::WalkDir;

/// A line of a host script that begins so names the files it reads, relative to its own
/// directory, in place of everything in its stage.
const DECLARATION: &str = "# inputs:";

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
    tree: Tree,
    engine: &'static [Part],
    sums: Sums,
    /// Names of variables that a stage calls secrets.
    secrets: BTreeSet<String>,
    /// The tree's own part of `scripts/common`, which every host script has.
    common: Option<(PathBuf, Rc<Facts>)>,
    seen: RefCell<HashMap<PathBuf, Rc<Facts>>>,
}

/// What a step was made from as far as is known before it has run, and what it read besides.
pub(super) struct Sources {
    /// Everything, by name.
    pub(super) inputs: Inputs,
    /// The same without what it read besides: found without running it.
    pub(super) before: Inputs,
}

impl<'a> Files<'a> {
    /// Nothing read yet; secrets are hashed by `seal`. Checksums of large files are kept in
    /// `work_dir`. `common` are functions of the tree's own.
    pub fn new(seal: &'a Seal, tree: Tree, work_dir: &Path, common: Option<&Common>) -> Self {
        let common = common.filter(|common| !common.own.is_empty());
        Self {
            seal,
            common: common.map(|common| {
                let facts = Facts::of_text(common.own.as_bytes());
                (common.path.clone(), Rc::new(facts))
            }),
            tree,
            secrets: BTreeSet::new(),
            engine: PARTS,
            sums: Sums::load(work_dir),
            seen: RefCell::default(),
        }
    }

    /// The same with the secrets that stages declare.
    #[must_use]
    pub fn with_secrets(mut self, variables: &[Variable]) -> Self {
        let secret = variables.iter().filter(|one| one.declared.secret);
        self.secrets = secret.map(|one| one.name.clone()).collect();
        self
    }

    fn is_secret(&self, name: &str) -> bool {
        is_secret(name) || self.secrets.contains(name)
    }

    /// What scripts read besides their stages is called by this.
    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Everything that decides what `step` makes, by name.
    ///
    /// A chroot script, a package list and debconf answers see their own bytes; a host script
    /// sees the files of its stage as well, other steps' files left out, or what it declares, and
    /// `reads`, which it opened when it ran. Of the variables those count that these files name.
    ///
    /// # Errors
    /// When a file cannot be read, or a declared one is not there.
    pub(super) fn inputs(
        &self,
        step: &Step,
        stage: &Stage,
        env: &Env,
        reads: &BTreeSet<Read>,
    ) -> Result<Sources> {
        let dir = real(&stage.dir);
        let mut inputs = Inputs::new();
        inputs.extend(engine::of(self.engine, step.kind));
        inputs.insert("kind".to_owned(), format!("{:?}", step.kind));
        // The program itself reads these, through links too.
        let mut files = self.below(&step.path, &BTreeSet::new(), true)?;
        let mut roots = Vec::new();
        if is_host(step.kind) {
            let declared = declared(&step.path)?;
            let without = match declared {
                Some(_) => BTreeSet::new(),
                None => other_steps(stage),
            };
            let is_whole = declared.is_none();
            roots = declared.unwrap_or_else(|| vec![dir.clone()]);
            for root in &roots {
                files.extend(self.below(root, &without, false)?);
            }
            if is_whole {
                inputs.extend(self.mentioned(&files, &step.path, &dir, env));
            }
            files.extend(self.common.clone());
        }
        let mut named: BTreeMap<String, Rc<Facts>> = BTreeMap::new();
        for (path, facts) in files {
            let path = path
                .strip_prefix(&stage.dir)
                .map_or(path.clone(), |it| dir.join(it));
            let name = self.tree.name(FILE, &path, &dir);
            let name = name.unwrap_or_else(|| format!("{FILE}{}", path.display()));
            named.entry(name).or_insert(facts);
        }
        let mut before = inputs.clone();
        self.variables(step, env, &named, &mut before);
        before.extend(values(&named));
        self.add_reads(reads, &roots, &dir, &mut named, &mut inputs)?;
        self.variables(step, env, &named, &mut inputs);
        inputs.extend(values(&named));
        Ok(Sources { inputs, before })
    }

    /// Adds what was read besides: files to `named`, directories that are not in `roots` to
    /// `inputs`.
    fn add_reads(
        &self,
        reads: &BTreeSet<Read>,
        roots: &[PathBuf],
        stage: &Path,
        named: &mut BTreeMap<String, Rc<Facts>>,
        inputs: &mut Inputs,
    ) -> Result<()> {
        for read in reads {
            match read {
                Read::File(path) => {
                    let Some(name) = self.tree.name(FILE, path, stage) else {
                        continue;
                    };
                    if let Entry::Vacant(place) = named.entry(name) {
                        place.insert(self.facts(path)?);
                    }
                }
                // Of what counts file by file, the names do already.
                Read::Directory(path) if roots.iter().any(|root| path.starts_with(root)) => {}
                Read::Directory(path) => {
                    let name = self.tree.name(DIRECTORY, path, stage);
                    inputs.extend(name.map(|name| (name, self.tree.listing(path))));
                }
            }
        }
        Ok(())
    }

    /// Whether what the scripts among `files` name outside of the stage is there.
    fn mentioned(
        &self,
        files: &[(PathBuf, Rc<Facts>)],
        step: &Path,
        stage: &Path,
        env: &Env,
    ) -> Inputs {
        let dir = step.parent().unwrap_or(stage);
        let scripts = files.iter().filter_map(|(_, facts)| facts.script.as_ref());
        let paths = scripts.flat_map(|script| mentions::of(script, dir, env));
        let outside = paths.filter(|path| !path.starts_with(stage) && self.tree.has(path));
        let named = outside.filter_map(|path| {
            let name = self.tree.name(mentions::KIND, &path, stage)?;
            Some((name, mentions::value(&path, &self.tree)))
        });
        named.collect()
    }

    /// Adds the variables that the step can see and `files` name.
    fn variables(
        &self,
        step: &Step,
        env: &Env,
        files: &BTreeMap<String, Rc<Facts>>,
        inputs: &mut Inputs,
    ) {
        let packages = matches!(
            step.kind,
            StepKind::Packages | StepKind::PackagesNoRecommends | StepKind::PackagesNonInteractive
        );
        // One with variables in it is a shell's (steps::apt).
        let packages = packages && !files.values().any(|facts| facts.expands);
        let open = files.values().any(|facts| facts.open);
        for (name, value) in env {
            let named = || files.values().any(|facts| reads(facts, name));
            let counts = match bearing(name) {
                Bearing::Core => true,
                // Packages are installed with the core variables alone (pipeline::step).
                Bearing::Visible => !packages && (open || named()),
                Bearing::Named => !packages && named(),
                Bearing::Never => false,
            };
            if counts {
                // An address with a password in it is a secret under any name; no value is none.
                let secret = !value.is_empty() && (self.is_secret(name) || has_user(value));
                let (name, value) = if secret {
                    (format!("{SECRET}{name}"), self.seal.hash(name, value))
                } else {
                    (format!("variable {name}"), value.clone())
                };
                inputs.insert(name, value);
            }
        }
    }

    /// The files at `path` and below; what links lead to in their place, if these are followed.
    fn below(
        &self,
        path: &Path,
        without: &BTreeSet<PathBuf>,
        follow: bool,
    ) -> Result<Vec<(PathBuf, Rc<Facts>)>> {
        let mut files = Vec::new();
        let walk = WalkDir::new(path)
            .follow_links(follow)
            .sort_by_file_name()
            .into_iter()
            .filter_entry(|entry| !without.contains(entry.path()));
        for entry in walk {
            let entry = entry.with_context(|| format!("reading {}", path.display()))?;
            let kind = entry.file_type();
            if kind.is_file() || kind.is_symlink() {
                let facts = match follow {
                    true => self.facts(&real(entry.path()))?,
                    false => self.facts(entry.path())?,
                };
                files.push((entry.into_path(), facts));
            }
        }
        Ok(files)
    }

    fn facts(&self, path: &Path) -> Result<Rc<Facts>> {
        if let Some(facts) = self.seen.borrow().get(path) {
            return Ok(Rc::clone(facts));
        }
        let facts = Facts::of(path, &self.sums);
        let facts = Rc::new(facts.with_context(|| format!("reading {}", path.display()))?);
        self.seen
            .borrow_mut()
            .insert(path.to_owned(), Rc::clone(&facts));
        Ok(facts)
    }
}

/// Whether the variable `name` is named in a file, or is read by a function that is.
fn reads(facts: &Facts, name: &str) -> bool {
    let through = |(function, read): &(&str, &[&str])| {
        read.contains(&name) && facts.words.contains(*function)
    };
    facts.words.contains(name) || READ_BY.iter().any(through)
}

fn values(files: &BTreeMap<String, Rc<Facts>>) -> impl Iterator<Item = (String, String)> + '_ {
    let pairs = files.iter();
    pairs.map(|(name, facts)| (name.clone(), facts.value.clone()))
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
            paths.push(real(&path));
        }
    }
    Ok(paths)
}

/// Files of the stage that are other steps, by their real paths.
fn other_steps(stage: &Stage) -> BTreeSet<PathBuf> {
    let subs = stage.sub_stages.iter().flat_map(|sub| &sub.steps);
    let mut paths: BTreeSet<_> = subs
        .chain(&stage.prerun)
        .map(|step| step.path.clone())
        .collect();
    for name in [
        "EXPORT_IMAGE",
        "EXPORT_NOOBS",
        "SKIP_IMAGES",
        "tests.toml",
        variables::FILE,
    ] {
        paths.insert(stage.dir.join(name));
    }
    let dir = real(&stage.dir);
    let here = |path: &PathBuf| {
        path.strip_prefix(&stage.dir)
            .map(|path| dir.join(path))
            .ok()
    };
    paths.iter().filter_map(here).collect()
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
