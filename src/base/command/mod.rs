//! The one place that starts programs.
//!
//! Whatever is started is a [`Tool`], which knows its package and its reason, so that a missing
//! one is told in a way that helps. What must fork before it execs (the sandbox, the step's first
//! process) does so in `sandbox/`, and says why there.

mod program;
pub mod record;
mod running;
mod shown;
mod ways;

use anyhow::Result;
pub use program::{Program, own_program};
pub use running::Console;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Search path of every script, on the host and in the chroot.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether somebody can answer at standard input. A recorder answers for the machine.
pub fn at_terminal() -> bool {
    record::Recorder::current().is_some() || std::io::stdin().is_terminal()
}

/// Environment of a script: name to value.
pub type Env = BTreeMap<String, String>;

/// A program to be started, with everything that decides what it does.
#[derive(Debug, Clone)]
pub struct Command {
    /// Programs that start the next one in turn, such as timeout(1).
    around: Vec<(Program, Vec<OsString>)>,
    program: Program,
    args: Vec<OsString>,
    /// The whole environment; that of this process otherwise.
    env: Option<BTreeMap<OsString, OsString>>,
    /// Variables besides.
    set: BTreeMap<OsString, OsString>,
    unset: Vec<OsString>,
    dir: Option<PathBuf>,
    input: Option<Vec<u8>>,
    told_as: Option<String>,
}

impl Command {
    /// A program without arguments.
    pub fn new(program: impl Into<Program>) -> Self {
        Self {
            around: Vec::new(),
            program: program.into(),
            args: Vec::new(),
            env: None,
            set: BTreeMap::new(),
            unset: Vec::new(),
            dir: None,
            input: None,
            told_as: None,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Has `program` start this command: `timeout 5 …`. Of several the last one is outermost.
    pub fn through<A: AsRef<OsStr>>(
        mut self,
        program: impl Into<Program>,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        self.around.insert(0, (program.into(), args.collect()));
        self
    }

    /// Replaces the whole environment. What is in it is never shown.
    pub fn env<K: Into<OsString>, V: Into<OsString>>(
        mut self,
        env: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let env = env
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        self.env = Some(env.collect());
        self
    }

    /// Sets a variable besides. Its value is never shown.
    pub fn set(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.set.insert(name.into(), value.into());
        self
    }

    /// Sets variables besides, as [`Command::set`].
    pub fn sets<K: Into<OsString>, V: Into<OsString>>(
        mut self,
        env: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let env = env
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        self.set.extend(env);
        self
    }

    /// Takes a variable away.
    pub fn unset(mut self, name: impl Into<OsString>) -> Self {
        self.unset.push(name.into());
        self
    }

    /// Sets the working directory.
    pub fn dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Feeds `bytes` to standard input, which is /dev/null otherwise. They are never shown.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// What messages call the command, where that is not its own line: the program inside of a
    /// chroot, a script by its name.
    pub fn told_as(mut self, text: impl Into<String>) -> Self {
        self.told_as = Some(text.into());
        self
    }

    /// The command as a line for a shell, with its directory if it has one. Without its
    /// environment and its input, which may hold secrets.
    pub fn line(&self) -> String {
        if let Some(text) = &self.told_as {
            return text.clone();
        }
        let line = shown::line(&self.names());
        match &self.dir {
            Some(dir) => format!("(cd {} && {line})", shown::word(dir.as_os_str())),
            None => line,
        }
    }

    fn starting(&self) -> String {
        format!("starting {}", self.program.name().to_string_lossy())
    }

    /// Program and arguments by the names that people know, those around it first.
    fn names(&self) -> Vec<Cow<'_, OsStr>> {
        let mut words = Vec::new();
        let own = (&self.program, &self.args);
        for (program, args) in self.around.iter().map(|(p, a)| (p, a)).chain([own]) {
            words.push(program.name());
            words.extend(args.iter().map(|arg| Cow::Borrowed(arg.as_os_str())));
        }
        words
    }

    /// Program and arguments as the kernel gets them.
    fn argv(&self) -> Result<Vec<OsString>> {
        let mut words = Vec::new();
        let own = (&self.program, &self.args);
        for (program, args) in self.around.iter().map(|(p, a)| (p, a)).chain([own]) {
            words.push(program.locate()?);
            words.extend(args.iter().cloned());
        }
        Ok(words)
    }

    /// The environment, unless it is this process's own.
    fn whole_env(&self) -> Option<BTreeMap<OsString, OsString>> {
        if self.env.is_none() && self.set.is_empty() && self.unset.is_empty() {
            return None;
        }
        let mut env = match &self.env {
            Some(env) => env.clone(),
            None => std::env::vars_os().collect(),
        };
        env.extend(self.set.clone());
        self.unset.iter().for_each(|name| drop(env.remove(name)));
        Some(env)
    }
}

#[cfg(test)]
mod tests;
