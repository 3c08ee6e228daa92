//! What a layer's key is made of: everything its step can see.

use crate::layer::Inputs;
use crate::plan::Stage;
use crate::script::Env;
use crate::script::env::in_key;
use crate::step::{Step, StepKind};
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// Raised when a change of this program changes what steps make of the same input.
const ENGINE: &str = "1";

/// Everything that decides what `step` makes, by name.
///
/// A chroot script, a package list and debconf answers see their own bytes and the variables;
/// a host script sees the files of its stage as well, other steps' files left out.
pub fn inputs(step: &Step, stage: &Stage, env: &Env) -> Result<Inputs> {
    let mut inputs = Inputs::new();
    inputs.insert("engine".to_owned(), ENGINE.to_owned());
    inputs.insert("kind".to_owned(), format!("{:?}", step.kind));
    for (name, value) in in_key(env) {
        inputs.insert(format!("variable {name}"), value.clone());
    }
    add_tree(&mut inputs, &step.path, &stage.dir, &BTreeSet::new())?;
    if matches!(step.kind, StepKind::RunHost | StepKind::Prerun) {
        add_tree(&mut inputs, &stage.dir, &stage.dir, &other_steps(stage))?;
    }
    Ok(inputs)
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

/// Adds the files at `path` and below by their path from `base`: type, mode and contents.
fn add_tree(
    inputs: &mut Inputs,
    path: &Path,
    base: &Path,
    without: &BTreeSet<PathBuf>,
) -> Result<()> {
    let walk = WalkDir::new(path)
        .into_iter()
        .filter_entry(|entry| !without.contains(entry.path()));
    for entry in walk {
        let entry = entry.with_context(|| format!("reading {}", path.display()))?;
        let name = entry.path().strip_prefix(base).unwrap_or(entry.path());
        let kind = entry.file_type();
        let value = if kind.is_symlink() {
            let target = fs::read_link(entry.path())
                .with_context(|| format!("reading {}", entry.path().display()))?;
            format!("link to {}", target.display())
        } else if kind.is_file() {
            let bytes = fs::read(entry.path())
                .with_context(|| format!("reading {}", entry.path().display()))?;
            let meta = entry
                .metadata()
                .with_context(|| format!("reading {}", entry.path().display()))?;
            // Only the execute bit: the rest depends on the umask of whoever checked out.
            let execute = meta.permissions().mode() & 0o100 != 0;
            format!(
                "{}{}",
                if execute { "executable " } else { "" },
                hex::encode(Sha256::digest(&bytes))
            )
        } else {
            continue;
        };
        inputs.insert(format!("file {}", name.display()), value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touching_a_file_changes_nothing_but_editing_and_chmod_do() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("00-run.sh");
        fs::write(&script, "true\n").unwrap();
        let stage = Stage {
            name: "stage0".into(),
            dir: dir.path().to_owned(),
            skip: false,
            prerun: None,
            sub_stages: Vec::new(),
            export: None,
        };
        let step = Step {
            kind: StepKind::RunHost,
            path: script.clone(),
            name: "stage0/00-run.sh".into(),
        };
        let inputs = || inputs(&step, &stage, &Env::new()).unwrap();
        let first = inputs();
        fs::write(&script, "true\n").unwrap();
        assert_eq!(first, inputs());
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(first, inputs());
        fs::write(dir.path().join("data"), "").unwrap();
        assert!(inputs().contains_key("file data"));
    }
}
