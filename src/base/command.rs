//! The one place that starts programs.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;

/// Search path of every script, on the host and in the chroot.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Environment of a program: name to value.
pub type Env = BTreeMap<String, String>;

/// This program's own file, as it was found at the first call. The kernel's name for it leads
/// nowhere once the process has another root.
///
/// # Errors
/// When it is gone.
pub fn own_program() -> Result<PathBuf> {
    static OWN: OnceLock<PathBuf> = OnceLock::new();
    if let Some(own) = OWN.get() {
        return Ok(own.clone());
    }
    let own = std::env::current_exe().context("finding the program itself")?;
    Ok(OWN.get_or_init(|| own).clone())
}

/// A program to be started, with everything that decides what it does.
#[derive(Debug, Clone)]
pub struct Command {
    argv: Vec<OsString>,
    env: Option<BTreeMap<String, String>>,
    dir: Option<PathBuf>,
    input: Option<Vec<u8>>,
}

impl Command {
    /// `program` is looked up in PATH unless it has a slash.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            argv: vec![program.as_ref().to_owned()],
            env: None,
            dir: None,
            input: None,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.argv.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.argv
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Replaces the whole environment.
    pub fn env(mut self, env: BTreeMap<String, String>) -> Self {
        self.env = Some(env);
        self
    }

    /// Sets the working directory.
    pub fn dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Feeds `bytes` to standard input, which is /dev/null otherwise.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Runs to the end; every line of output and errors goes to `sink` as it is printed.
    ///
    /// # Errors
    /// When the program cannot be started or does not end with exit code 0.
    pub fn stream(&self, sink: &mut dyn FnMut(&str)) -> Result<()> {
        let reader = self
            .expression()
            .stderr_to_stdout()
            .unchecked()
            .reader()
            .with_context(|| format!("starting {}", self.argv[0].to_string_lossy()))?;
        let mut lines = BufReader::new(&reader);
        let mut line = Vec::new();
        loop {
            line.clear();
            if lines
                .read_until(b'\n', &mut line)
                .context("reading a program's output")?
                == 0
            {
                break;
            }
            let text = String::from_utf8_lossy(&line);
            // Progress bars redraw with carriage returns: the last state is what counts.
            let text = text.trim_end_matches(['\n', '\r']);
            sink(text.rsplit('\r').next().unwrap_or(text));
        }
        let output = reader.try_wait().context("waiting for a program")?;
        match output {
            Some(output) if output.status.success() => Ok(()),
            Some(output) => bail!("{} ended with {}", self.name(), output.status),
            None => bail!("{} closed its output but did not end", self.name()),
        }
    }

    /// Runs to the end and returns standard output.
    ///
    /// # Errors
    /// As [`Command::stream`]; the message ends with what the program said on standard error.
    pub fn read(&self) -> Result<String> {
        let output = self.captured()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!(
                "{} ended with {}: {}",
                self.name(),
                output.status,
                said.trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// As [`Command::read`], whatever the exit code: for programs whose output says it all.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn read_any(&self) -> Result<String> {
        let output = self.captured()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs on this terminal, and returns the exit code, or 128 + the signal that ended it.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn interactive(&self) -> Result<i32> {
        let mut command = std::process::Command::new(&self.argv[0]);
        command.args(&self.argv[1..]);
        if let Some(env) = &self.env {
            command.env_clear().envs(env);
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        let status = command
            .status()
            .with_context(|| format!("starting {}", self.argv[0].to_string_lossy()))?;
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        Ok(status.code().unwrap_or_else(|| 128 + signal.unwrap_or(0)))
    }

    /// Runs to the end, however that is, with both outputs kept.
    fn captured(&self) -> Result<Output> {
        self.expression()
            .stdout_capture()
            .stderr_capture()
            .unchecked()
            .run()
            .with_context(|| format!("starting {}", self.argv[0].to_string_lossy()))
    }

    fn name(&self) -> String {
        Path::new(&self.argv[0])
            .file_name()
            .unwrap_or(&self.argv[0])
            .to_string_lossy()
            .into_owned()
    }

    fn expression(&self) -> duct::Expression {
        let mut expression = duct::cmd(&self.argv[0], &self.argv[1..]);
        expression = match &self.input {
            Some(bytes) => expression.stdin_bytes(bytes.clone()),
            None => expression.stdin_null(),
        };
        if let Some(env) = &self.env {
            expression = expression.full_env(env);
        }
        if let Some(dir) = &self.dir {
            expression = expression.dir(dir);
        }
        expression
    }
}

#[cfg(test)]
mod tests {
    use super::Command;

    #[test]
    fn streams_both_outputs_in_order_and_reports_the_end() {
        let mut seen = Vec::new();
        let result = Command::new("sh")
            .args(["-c", "echo one; echo two >&2; printf 'a\\rb\\n'; exit 3"])
            .stream(&mut |line| seen.push(line.to_owned()));
        assert_eq!(seen, ["one", "two", "b"]);
        assert_eq!(
            result.unwrap_err().to_string(),
            "sh ended with exit status: 3"
        );
    }

    #[test]
    fn standard_input_is_empty_unless_given() {
        assert_eq!(Command::new("cat").read().unwrap(), "");
        assert_eq!(Command::new("cat").input("text").read().unwrap(), "text");
    }
}
