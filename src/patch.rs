//! Patch steps: a quilt series applied to the stage's work directory.

use crate::command::Command;
use crate::script::Env;
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
    if patches.join("EDIT").exists() && !std::io::stdin().is_terminal() {
        bail!(
            "{} asks for an interactive shell, and there is no terminal; remove it",
            patches.join("EDIT").display()
        );
    }
    let series = fs::read_to_string(patches.join("series"))
        .with_context(|| format!("reading {}", patches.join("series").display()))?;
    if !series
        .lines()
        .any(|line| !line.split('#').next().unwrap_or_default().trim().is_empty())
    {
        return Ok(());
    }
    let mut env = env.clone();
    env.insert(
        "QUILT_PATCHES".to_owned(),
        patches.to_string_lossy().into_owned(),
    );
    env.insert("QUILT_PC".to_owned(), format!(".pc-{name}"));
    let quilt = |args: &[&str]| {
        Command::new("quilt")
            .args(["--quiltrc", "-"])
            .args(args)
            .env(env.clone())
            .dir(stage_work_dir)
    };
    // quilt keeps the numbers of fuzz and offset to itself unless asked; it exits with 2 when
    // there is nothing to push, which cannot be here: the series is not empty and its state new.
    quilt(&["push", "-a"])
        .stream(sink)
        .context("applying patches")
}
