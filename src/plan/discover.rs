//! From stage directories to a plan.

use super::{Found, Stage, SubStage, patches, suffix};
use crate::base::problem::Problem;
use crate::config::Config;
use crate::plan::step::{Step, StepKind, StepName};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Reads every stage of the config's list.
pub(super) fn stages(config: &Config, found: &mut Found) -> Vec<Stage> {
    let mut seen: BTreeMap<String, &Path> = BTreeMap::new();
    let mut stages = Vec::new();
    for dir in &config.stage_list {
        if !dir.is_dir() {
            found.problems.push(
                Problem::new(
                    "there is no such stage directory",
                    "make it, or correct STAGE_LIST",
                )
                .at(dir),
            );
            continue;
        }
        let stage = steps(dir, found);
        if let Some(other) = seen.insert(stage.name.clone(), dir) {
            let what = format!("another stage, {}, has the same name", other.display());
            found.problems.push(
                Problem::new(
                    what,
                    "rename one of them, or list it only once in STAGE_LIST",
                )
                .at(dir),
            );
        }
        stages.push(stage);
    }
    keep(&mut stages);
    exports(config, &mut stages, &mut found.problems);
    same_image(&stages, &mut found.problems);
    stages
}

/// A stage with `SKIP` that others stand on is what an earlier build made of it.
fn keep(stages: &mut [Stage]) {
    let last = stages.iter().rposition(|stage| !stage.skip).unwrap_or(0);
    for stage in stages[..last].iter_mut().filter(|stage| stage.skip) {
        // What does not run need not be right.
        let read = steps_in(&stage.dir, &mut Found::default());
        *stage = Stage { kept: true, ..read };
    }
}

/// Two images cannot have one file name.
fn same_image(stages: &[Stage], problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<&str, &Stage> = BTreeMap::new();
    for stage in stages.iter().filter(|stage| !stage.skip) {
        let Some(export) = &stage.export else {
            continue;
        };
        if let Some(other) = seen.insert(&export.image, stage) {
            let what = format!("{}, too, makes an image {}", other.name, export.image);
            let remedy = format!(
                "give one of them another IMG_SUFFIX, or touch {}/SKIP_IMAGES",
                other.dir.display()
            );
            problems.push(Problem::new(what, remedy).at(&stage.dir.join("EXPORT_IMAGE")));
        }
    }
}

/// The steps of `dir`, as a stage that is not exported; none if it has `SKIP`.
pub(super) fn steps(dir: &Path, found: &mut Found) -> Stage {
    if !dir.join("SKIP").exists() {
        return steps_in(dir, found);
    }
    Stage {
        skip: true,
        ..empty(dir)
    }
}

fn empty(dir: &Path) -> Stage {
    Stage {
        name: last(dir),
        dir: dir.to_owned(),
        skip: false,
        kept: false,
        prerun: None,
        sub_stages: Vec::new(),
        export: None,
    }
}

fn steps_in(dir: &Path, found: &mut Found) -> Stage {
    let mut stage = empty(dir);
    let name = stage.name.clone();
    let prerun = dir.join("prerun.sh");
    if prerun.is_file() {
        executable(&prerun, &mut found.problems);
        let name = format!("{name}/prerun.sh");
        stage.prerun = Some(Step {
            kind: StepKind::Prerun,
            path: prerun,
            name,
        });
    }
    for sub in entries(dir, &mut found.problems) {
        // A shell's `*` does not match hidden names.
        if sub.is_dir() && !last(&sub).starts_with('.') && !sub.join("SKIP").exists() {
            stage.sub_stages.push(sub_stage(&name, &sub, found));
        }
    }
    stage
}

/// What the stages say of their images: one after the other, for what a file sets holds for those
/// after it, as in pi-gen's build.sh.
fn exports(config: &Config, stages: &mut [Stage], problems: &mut Vec<Problem>) {
    let mut before = suffix::start(config);
    for stage in stages.iter_mut().filter(|stage| !stage.skip) {
        let file = stage.dir.join("EXPORT_IMAGE");
        if !file.exists()
            || stage.dir.join("SKIP_IMAGES").exists()
            || config.only_below.contains(&stage.dir)
        {
            continue;
        }
        match suffix::read(config, &before, &file) {
            Ok(export) => {
                before.clone_from(&export);
                stage.export = Some(export);
            }
            Err(problem) => problems.push(problem.at(&file)),
        }
    }
}

fn sub_stage(stage: &str, dir: &Path, found: &mut Found) -> SubStage {
    let name = last(dir);
    let problems = &mut found.problems;
    let mut steps: BTreeMap<(u8, StepKind), Step> = BTreeMap::new();
    for path in entries(dir, problems) {
        let file = last(&path);
        match StepName::read(&file) {
            StepName::Data => {}
            StepName::Other => found.passed_over.push(path),
            StepName::Wrong { what, remedy } => problems.push(Problem::new(what, remedy).at(&path)),
            StepName::Step { number, kind } => {
                check_file(kind, &path, problems);
                let name = format!("{stage}/{name}/{file}");
                if let Some(other) = steps.insert(
                    (number, kind),
                    Step {
                        kind,
                        path: path.clone(),
                        name,
                    },
                ) {
                    let what = format!(
                        "{} is there as well, and only one of them can run",
                        last(&other.path)
                    );
                    let remedy = "delete one of them, or give it another number";
                    problems.push(Problem::new(what, remedy).at(&path));
                }
            }
        }
    }
    SubStage {
        name,
        dir: dir.to_owned(),
        steps: steps.into_values().collect(),
    }
}

/// Looks at what a step's name stands for.
fn check_file(kind: StepKind, path: &Path, problems: &mut Vec<Problem>) {
    match kind {
        StepKind::Patches if path.is_dir() => patches::check(path, problems),
        StepKind::Patches => {
            let what = "patches are a directory, and this is not one";
            problems.push(
                Problem::new(
                    what,
                    "make it a directory with the patches and a file `series`",
                )
                .at(path),
            );
        }
        _ if !path.exists() => {
            problems.push(
                Problem::new("the link leads nowhere", "correct the link or delete it").at(path),
            );
        }
        _ if path.is_dir() => {
            let what = "this step is a file, not a directory";
            problems.push(
                Problem::new(
                    what,
                    "rename the directory so that it does not begin with a number",
                )
                .at(path),
            );
        }
        StepKind::RunHost => executable(path, problems),
        _ => {}
    }
}

fn executable(path: &Path, problems: &mut Vec<Problem>) {
    if fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o111 == 0) {
        problems.push(
            Problem::new(
                "the script is not executable",
                format!("chmod +x {}", path.display()),
            )
            .at(path),
        );
    }
}

/// Everything in a directory, in byte order.
fn entries(dir: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let listed = fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match listed {
        Ok(listed) => {
            let mut paths: Vec<_> = listed.iter().map(fs::DirEntry::path).collect();
            paths.sort();
            paths
        }
        Err(error) => {
            problems.push(Problem::unreadable(dir, &error));
            Vec::new()
        }
    }
}

fn last(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
#[path = "discover_tests.rs"]
mod tests;
