//! Patch steps: a quilt series applied to the stage's work directory.

use crate::base::command::Command;
use crate::base::command::Env;
use crate::plan::step::{Step, StepKind};
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::IsTerminal;
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
    env: &Env,
    sink: &mut dyn FnMut(&str),
) -> Result<()> {
    let series = fs::read_to_string(patches.join("series"))
        .with_context(|| format!("reading {}", patches.join("series").display()))?;
    let mut env = env.clone();
    env.insert(
        "QUILT_PATCHES".to_owned(),
        patches.to_string_lossy().into_owned(),
    );
    env.insert("QUILT_PC".to_owned(), format!(".pc-{name}"));
    if patches.join("EDIT").exists() {
        edit(patches, stage_work_dir, &env)?;
    }
    if !series
        .lines()
        .any(|line| !line.split('#').next().unwrap_or_default().trim().is_empty())
    {
        return Ok(());
    }
    Command::new("quilt")
        .args(["--quiltrc", "-", "push", "-a"])
        .env(env)
        .dir(stage_work_dir)
        .stream(sink)
        .context("applying patches")
}

/// Whether carrying out `step` opens a shell for its user.
pub fn wants_shell(step: &Step) -> bool {
    step.kind == StepKind::Patches && step.path.join("EDIT").exists()
}

/// Opens the shell that `EDIT` asks for, where quilt's commands work on the series.
fn edit(patches: &Path, stage_work_dir: &Path, env: &Env) -> Result<()> {
    let file = patches.join("EDIT");
    if !std::io::stdin().is_terminal() {
        bail!(
            "{} asks for an interactive shell, and there is no terminal; remove it",
            file.display()
        );
    }
    println!("A shell because of {}; leave with `exit`.", file.display());
    let status = std::process::Command::new("bash")
        .args(["--noprofile", "--norc"])
        .env_clear()
        .envs(env)
        .env("TERM", std::env::var_os("TERM").unwrap_or_default())
        .current_dir(stage_work_dir)
        .status()
        .context("starting the shell")?;
    if !status.success() {
        bail!("the shell for {} ended with {status}", file.display());
    }
    Ok(())
}
