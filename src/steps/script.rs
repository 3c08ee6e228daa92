//! Host and chroot scripts: how they are started and what they may call.

use super::trace::{self, Trace};
use crate::base::command::{Command, Env, Program};
use crate::layers::context::Context;
use crate::sandbox::isolate::{AT_VAR, Isolation, REPORT_VAR, Where, isolate, script_path};
use crate::sandbox::watch::{OPENED_VAR, Opened};
use anyhow::{Context as _, Result, anyhow};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// The exported bash functions of the stage contract.
const FUNCTIONS: &str = include_str!("functions.sh");

/// Where a host script's shell finds the functions of the tree's own.
const COMMON: &str = "/run/westwork-gen/common";

/// The text `tree` of a `scripts/common`, with this program's functions in place of pi-gen's.
pub fn common(tree: &str) -> String {
    format!("{tree}\n{FUNCTIONS}")
}

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
    fn internal(&self, name: &str) -> Command {
        Command::new(Program::Own)
            .args(["internal", name, "--context"])
            .arg(self.context)
            .env(self.env.clone())
    }
}

/// A script ready to be run.
pub struct Script {
    command: Command,
    path: PathBuf,
    trace: Option<Trace>,
    stage: Option<String>,
    /// What it opens is written there, if it runs on the host's side.
    opened: Option<File>,
}

impl Script {
    fn new(command: Command, path: &Path, setting: &Setting<'_>, trace: Option<Trace>) -> Self {
        let stage = setting.env.get("STAGE_DIR").cloned();
        let command = match &trace {
            Some(trace) => command.set(REPORT_VAR, trace.report()),
            None => command,
        };
        Self {
            command: command.told_as(trace::name(path, stage.as_deref())),
            path: path.to_owned(),
            trace,
            stage,
            opened: None,
        }
    }

    /// The same, which is told what it opens of the tree.
    fn watched(mut self) -> Result<Self> {
        let opened = trace::memory("opened")?;
        let number = opened.as_raw_fd().to_string();
        self.command = self.command.set(OPENED_VAR, number);
        self.opened = Some(opened);
        Ok(self)
    }

    /// What it has opened of the tree; nothing of a script for the chroot, which does not see it.
    ///
    /// # Errors
    /// When the report cannot be read.
    pub fn opened(&self) -> Result<Opened> {
        let Some(mut file) = self.opened.as_ref() else {
            return Ok(Opened::default());
        };
        let mut text = String::new();
        file.rewind().context("reading what a script has opened")?;
        file.read_to_string(&mut text)
            .context("reading what a script has opened")?;
        Ok(Opened::parse(&text))
    }

    /// As [`Command::stream`].
    ///
    /// # Errors
    /// When the script does not end well, with file, line and command if they are known.
    pub fn stream(&self, sink: &mut dyn FnMut(&str)) -> Result<()> {
        let status = self.command.stream_to_end(sink)?;
        let code = status.code().filter(|code| *code != 0);
        let place = self.trace.as_ref().zip(code);
        match place.and_then(|(trace, code)| trace.place(&self.path, code)) {
            Some(place) => {
                let place = trace::name(Path::new(&place), self.stage.as_deref());
                Err(anyhow!(place))
            }
            None => self.command.ended(status),
        }
    }
}

/// A host script, run in the directory it is in, with the functions of the contract.
///
/// # Errors
/// When the script cannot be read.
pub fn host(script: &Path, setting: &Setting<'_>) -> Result<Script> {
    let dir = script.parent().context("finding a script's directory")?;
    let text = fs::read(script).with_context(|| format!("reading {}", script.display()))?;
    // Without a trace a script does the same.
    let trace = Trace::new().ok();
    let traceable = trace::is_for_bash(&text)
        && !trace::would_notice(&text)
        && !setting.env.contains_key("BASH_ENV");
    let first = trace.as_ref().filter(|_| traceable);
    let first = first.map_or_else(String::new, |_| format!("BASH_ENV={} ", trace::FIRST));
    let words = ["bash", "--noprofile", "--norc", "-e", "-c"];
    let command = host_program(&words, setting)
        .arg(format!(
            "[ ! -e {COMMON} ] || . {COMMON}\n{FUNCTIONS}\n{first}exec \"$0\""
        ))
        .arg(script)
        .dir(dir);
    Script::new(command, script, setting, trace).watched()
}

/// A program of the build machine that sees what a host script sees.
pub fn host_program(argv: &[&str], setting: &Setting<'_>) -> Command {
    setting
        .internal("host")
        .arg("--")
        .args(argv)
        .told_as(line(argv))
}

/// The script in the file `script`, for `bash -e` inside `root`.
///
/// # Errors
/// When the script cannot be read.
pub fn chroot(root: &Path, script: &Path, setting: &Setting<'_>) -> Result<Script> {
    let text = fs::read(script).with_context(|| format!("reading {}", script.display()))?;
    let command = setting
        .internal("chroot")
        .args(["--script", "-"])
        .arg(root)
        .input(text);
    Ok(Script::new(command, script, setting, Trace::new().ok()))
}

/// A script of this program's own for `bash -e` inside `root`; its first command is what messages
/// call it.
pub fn chroot_text(root: &Path, text: &str, setting: &Setting<'_>) -> Command {
    let line = text.lines().next().unwrap_or_default();
    setting
        .internal("chroot")
        .args(["--script", "-"])
        .arg(root)
        .input(text)
        .told_as(line.split(" <<").next().unwrap_or_default())
}

/// A program run inside `root`.
pub fn chroot_program(root: &Path, argv: &[&str], setting: &Setting<'_>) -> Command {
    setting
        .internal("chroot")
        .arg(root)
        .arg("--")
        .args(argv)
        .told_as(line(argv))
}

/// What messages call the program behind `internal`.
fn line(argv: &[&str]) -> String {
    let program = argv.first().copied().unwrap_or_default();
    let inside = Command::new(Program::Inside(program.into()));
    inside.args(argv.iter().skip(1)).line()
}

/// Carries out `internal host`.
///
/// # Errors
/// As [`isolate`].
pub fn run_on_host(context: &Path, argv: &[OsString]) -> Result<i32> {
    let told = Context::load(context)?;
    let mut view = told.view.clone();
    view.file(Path::new(crate::layers::context::PATH), told.text()?);
    if let Some(common) = told.common {
        view.file(Path::new(COMMON), common);
    }
    let report = std::env::var_os(REPORT_VAR).and_then(|it| it.to_str()?.parse().ok());
    if let Some(report) = report {
        view.file(Path::new(trace::FIRST), trace::first(report));
    }
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
        if let Some(report) = std::env::var_os(REPORT_VAR) {
            let at = std::env::var_os(AT_VAR).unwrap_or_default();
            text = trace::traced(text, &report.to_string_lossy(), &at.to_string_lossy());
        }
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
