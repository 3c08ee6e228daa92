//! From stage directories to a plan.

use super::{Export, Stage, SubStage, patches, suffix};
use crate::base::problem::Problem;
use crate::config::Config;
use crate::plan::step::{Step, StepKind, StepName};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Reads every stage of the config's list.
pub(super) fn stages(config: &Config, problems: &mut Vec<Problem>) -> Vec<Stage> {
    let mut seen: BTreeMap<String, &Path> = BTreeMap::new();
    let mut stages = Vec::new();
    for dir in &config.stage_list {
        if !dir.is_dir() {
            problems.push(
                Problem::new(
                    "there is no such stage directory",
                    "make it, or correct STAGE_LIST",
                )
                .at(dir),
            );
            continue;
        }
        let stage = stage(config, dir, problems);
        if let Some(other) = seen.insert(stage.name.clone(), dir) {
            let what = format!("another stage, {}, has the same name", other.display());
            problems.push(
                Problem::new(
                    what,
                    "rename one of them, or list it only once in STAGE_LIST",
                )
                .at(dir),
            );
        }
        stages.push(stage);
    }
    same_image(&stages, problems);
    stages
}

/// Two images of one suffix would have one file name.
fn same_image(stages: &[Stage], problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<&str, &Stage> = BTreeMap::new();
    for stage in stages.iter().filter(|stage| !stage.skip) {
        let Some(export) = &stage.export else {
            continue;
        };
        if let Some(other) = seen.insert(&export.suffix, stage) {
            let what = format!(
                "{}, too, makes an image with the suffix {:?}",
                other.name, export.suffix
            );
            let remedy = format!(
                "give one of them another IMG_SUFFIX, or touch {}/SKIP_IMAGES",
                other.dir.display()
            );
            problems.push(Problem::new(what, remedy).at(&stage.dir.join("EXPORT_IMAGE")));
        }
    }
}

fn stage(config: &Config, dir: &Path, problems: &mut Vec<Problem>) -> Stage {
    Stage {
        export: export(config, dir, problems),
        ..steps(dir, problems)
    }
}

/// The steps of `dir`, as a stage that is not exported.
pub(super) fn steps(dir: &Path, problems: &mut Vec<Problem>) -> Stage {
    let name = last(dir);
    let skip = dir.join("SKIP").exists();
    let mut stage = Stage {
        name: name.clone(),
        dir: dir.to_owned(),
        skip,
        prerun: None,
        sub_stages: Vec::new(),
        export: None,
    };
    if skip {
        return stage;
    }
    let prerun = dir.join("prerun.sh");
    if prerun.is_file() {
        executable(&prerun, problems);
        let name = format!("{name}/prerun.sh");
        stage.prerun = Some(Step {
            kind: StepKind::Prerun,
            path: prerun,
            name,
        });
    }
    for sub in entries(dir, problems) {
        // A shell's `*` does not match hidden names.
        if sub.is_dir() && !last(&sub).starts_with('.') && !sub.join("SKIP").exists() {
            stage.sub_stages.push(sub_stage(&name, &sub, problems));
        }
    }
    stage
}

fn export(config: &Config, dir: &Path, problems: &mut Vec<Problem>) -> Option<Export> {
    let file = dir.join("EXPORT_IMAGE");
    if !file.exists() || dir.join("SKIP_IMAGES").exists() {
        return None;
    }
    match suffix::read(config, &file) {
        Ok(suffix) => Some(Export { suffix }),
        Err(problem) => {
            problems.push(problem.at(&file));
            None
        }
    }
}

fn sub_stage(stage: &str, dir: &Path, problems: &mut Vec<Problem>) -> SubStage {
    let name = last(dir);
    let mut steps: BTreeMap<(u8, StepKind), Step> = BTreeMap::new();
    for path in entries(dir, problems) {
        let file = last(&path);
        match StepName::read(&file) {
            StepName::Data => {}
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
        StepKind::Patches if path.is_dir() => patches::judge(path, problems),
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

pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    Problem::new(
        format!("cannot be read: {error}"),
        "correct its permissions",
    )
    .at(path)
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
            problems.push(unreadable(dir, &error));
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
