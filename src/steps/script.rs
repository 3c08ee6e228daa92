//! Host and chroot scripts: how they are started and what they may call.

use crate::base::command::{Command, Env, own_program};
use crate::layers::context::Context;
use crate::sandbox::isolate::{Isolation, Where, isolate, script_path};
use anyhow::{Context as _, Result};
use std::ffi::OsString;
use std::io::Read;
use std::path::Path;

/// The exported bash functions of the stage contract.
const FUNCTIONS: &str = include_str!("functions.sh");

/// What every program of a step is started with.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// Its environment.
    pub env: &'a Env,
    /// File with the step's [`Context`].
    pub context: &'a Path,
}

impl Setting<'_> {
    /// The same with another environment.
    pub fn with<'b>(&'b self, env: &'b Env) -> Setting<'b> {
        Setting {
            env,
            context: self.context,
        }
    }

    /// This program again, as the one thread that makes the step's namespaces.
    fn internal(&self, name: &str) -> Result<Command> {
        Ok(Command::new(own_program()?)
            .args(["internal", name, "--context"])
            .arg(self.context)
            .env(self.env.clone()))
    }
}

/// A host script, run in the directory it is in, with the functions of the contract.
///
/// # Errors
/// When the script's path has no directory.
pub fn host(script: &Path, setting: &Setting<'_>) -> Result<Command> {
    let dir = script.parent().context("finding a script's directory")?;
    let words = ["bash", "--noprofile", "--norc", "-e", "-c"];
    Ok(host_program(&words, setting)?
        .arg(format!("{FUNCTIONS}\nexec \"$0\""))
        .arg(script)
        .dir(dir))
}

/// A program of the build machine that sees what a host script sees.
///
/// # Errors
/// When this program itself is gone.
pub fn host_program(argv: &[&str], setting: &Setting<'_>) -> Result<Command> {
    Ok(setting.internal("host")?.arg("--").args(argv))
}

/// A script for `bash -e` inside `root`.
///
/// # Errors
/// As [`host_program`].
pub fn chroot(root: &Path, script: &str, setting: &Setting<'_>) -> Result<Command> {
    Ok(setting
        .internal("chroot")?
        .args(["--script", "-"])
        .arg(root)
        .input(script))
}

/// A program run inside `root`.
///
/// # Errors
/// As [`host_program`].
pub fn chroot_program(root: &Path, argv: &[&str], setting: &Setting<'_>) -> Result<Command> {
    Ok(setting.internal("chroot")?.arg(root).arg("--").args(argv))
}

/// Carries out `internal host`.
///
/// # Errors
/// As [`isolate`].
pub fn run_on_host(context: &Path, argv: &[OsString]) -> Result<i32> {
    let told = Context::load(context)?;
    let mut view = told.view.clone();
    view.file(Path::new(crate::layers::context::PATH), told.text()?);
    isolate(&Isolation {
        place: Where::Host(&view),
        argv,
        script: None,
        network: told.network,
    })
}

/// Carries out `internal chroot`: runs `argv` inside `root`, or, with
/// `from_stdin`, the bash script on standard input, read to its end before it starts.
///
/// The script is a file in the chroot rather than bash's standard input, so that a program
/// it calls cannot swallow the rest of it.
///
/// # Errors
/// As [`isolate`].
pub fn run_in_chroot(
    context: &Path,
    root: &Path,
    from_stdin: bool,
    argv: &[OsString],
) -> Result<i32> {
    let told = Context::load(context)?;
    let mut script = None;
    let bash = ["bash".into(), "-e".into(), script_path().into()];
    if from_stdin {
        let mut text = Vec::new();
        std::io::stdin()
            .read_to_end(&mut text)
            .context("reading the script")?;
        script = Some(text);
    }
    isolate(&Isolation {
        place: Where::Image {
            root,
            furniture: &told.furniture,
        },
        argv: if from_stdin { &bash } else { argv },
        script: script.as_deref(),
        network: told.network,
    })
}
