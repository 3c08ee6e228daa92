//! Host and chroot scripts: how they are started and what they may call.

use crate::base::command::{Command, Env};
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The exported bash functions of the stage contract.
const FUNCTIONS: &str = include_str!("functions.sh");

/// A host script, run in the directory it is in, with the functions of the contract.
pub fn host(script: &Path, env: &Env) -> Result<Command> {
    let dir = script.parent().context("finding a script's directory")?;
    Ok(internal(env)?
        .args(["host", "--", "bash", "--noprofile", "--norc", "-e", "-c"])
        .arg(format!("{FUNCTIONS}\nexec \"$0\""))
        .arg(script)
        .dir(dir))
}

/// A script for `bash -e` inside `root`.
pub fn chroot(root: &Path, script: &str, env: &Env) -> Result<Command> {
    Ok(internal(env)?
        .args(["chroot", "--script", "-"])
        .arg(root)
        .input(script))
}

/// A program run inside `root`, with `input` as its standard input.
pub fn chroot_program(root: &Path, argv: &[&str], env: &Env) -> Result<Command> {
    Ok(internal(env)?.arg("chroot").arg(root).arg("--").args(argv))
}

/// This program again, as the one thread that makes the step's namespaces.
fn internal(env: &Env) -> Result<Command> {
    let own = std::env::current_exe().context("finding the program itself")?;
    Ok(Command::new(own).arg("internal").env(env.clone()))
}

/// Carries out `internal chroot`: runs `argv` inside `root`, or, with
/// `from_stdin`, the bash script on standard input, read to its end before it starts.
///
/// The script is a file in the chroot rather than bash's standard input, so that a program
/// it calls cannot swallow the rest of it.
///
/// # Errors
/// As [`crate::sandbox::isolate::isolate`].
pub fn run_in_chroot(root: PathBuf, from_stdin: bool, argv: Vec<OsString>) -> Result<i32> {
    let (script, argv) = if from_stdin {
        let mut text = Vec::new();
        std::io::stdin()
            .read_to_end(&mut text)
            .context("reading the script")?;
        let path = format!("/{}/step.sh", crate::sandbox::rootfs::PRIVATE_DIR);
        (Some(text), vec!["bash".into(), "-e".into(), path.into()])
    } else {
        (None, argv)
    };
    crate::sandbox::isolate::isolate(&crate::sandbox::isolate::Isolation {
        root: Some(root),
        argv,
        script,
    })
}
