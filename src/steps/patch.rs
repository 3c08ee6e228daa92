//! Patch steps: a quilt series applied to the stage's work directory.

use super::script::{Setting, host_program};
use crate::base::command::at_terminal;
use crate::plan::step::{Step, StepKind};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;

/// Applies the series in `patches` with `stage_work_dir` as root, so that patches name
/// `a/rootfs/etc/…`. `name` tells this series' quilt state apart from others'.
///
/// # Errors
/// When a patch does not apply, or `EDIT` asks for a shell and there is no terminal.
pub fn apply(
    patches: &Path,
    stage_work_dir: &Path,
    name: &str,
    setting: &Setting<'_>,
    sink: &mut dyn FnMut(&str),
) -> Result<()> {
    let series = fs::read_to_string(patches.join("series"))
        .with_context(|| format!("reading {}", patches.join("series").display()))?;
    let mut env = setting.env.clone();
    env.insert(
        "QUILT_PATCHES".to_owned(),
        patches.to_string_lossy().into_owned(),
    );
    env.insert("QUILT_PC".to_owned(), format!(".pc-{name}"));
    if patches.join("EDIT").exists() {
        edit(patches, stage_work_dir, &setting.with(&env))?;
    }
    if !series
        .lines()
        .any(|line| !line.split('#').next().unwrap_or_default().trim().is_empty())
    {
        return Ok(());
    }
    // As a host script: a patch may name a link of the image's, which then leads nowhere else.
    host_program(
        &["quilt", "--quiltrc", "-", "push", "-a"],
        &setting.with(&env),
    )
    .dir(stage_work_dir)
    .stream(sink)
    .context("applying patches")
}

/// Whether carrying out `step` opens a shell for its user.
pub fn wants_shell(step: &Step) -> bool {
    step.kind == StepKind::Patches && step.path.join("EDIT").exists()
}

/// Opens the shell that `EDIT` asks for, where quilt's commands work on the series.
fn edit(patches: &Path, stage_work_dir: &Path, setting: &Setting<'_>) -> Result<()> {
    let file = patches.join("EDIT");
    if !at_terminal() {
        bail!(
            "{} asks for an interactive shell, and there is no terminal; remove it",
            file.display()
        );
    }
    println!("A shell because of {}; leave with `exit`.", file.display());
    let mut env = setting.env.clone();
    let terminal = std::env::var_os("TERM").and_then(|name| name.into_string().ok());
    env.insert(
        "TERM".to_owned(),
        terminal.unwrap_or_else(|| "dumb".to_owned()),
    );
    let shell = host_program(&["bash", "--noprofile", "--norc"], &setting.with(&env))
        .dir(stage_work_dir)
        .told_as(format!("the shell for {}", file.display()));
    shell.ended(shell.interact()?)
}
