//! The ways in which a command runs: streamed, kept, piped, with the terminal, in this process's
//! place.

use super::record::{Answer, Call, Recorder, Streams};
use super::running::{self, Console};
use super::{Command, Program, shown};
use anyhow::{Context, Result, anyhow};
use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitStatus, Output};

impl Command {
    /// Runs to the end; every line of output and errors goes to `sink` as it is printed.
    ///
    /// # Errors
    /// When the program cannot be started or does not end with exit code 0.
    pub fn stream(&self, sink: &mut dyn FnMut(&str)) -> Result<()> {
        self.ended(self.stream_to_end(sink)?)
    }

    /// As [`Command::stream`]. Whatever the exit code is, it is the result.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn stream_to_end(&self, sink: &mut dyn FnMut(&str)) -> Result<ExitStatus> {
        match self.recorded(Streams::Lines) {
            Some(answer) => {
                running::lines(&answer.stdout[..], sink)?;
                Ok(answer.status())
            }
            None => {
                let expression = self.expression()?.stderr_to_stdout();
                let reader = expression.reader().with_context(|| self.starting())?;
                running::lines(&reader, sink)?;
                let output = reader.try_wait().context("waiting for a program")?;
                let line = || format!("{} closed its output but did not end", self.line());
                Ok(output.with_context(line)?.status)
            }
        }
    }

    /// Runs to the end with the caller's streams, standard input excepted.
    ///
    /// # Errors
    /// When the program cannot be started or does not end with exit code 0.
    pub fn run(&self) -> Result<()> {
        let status = match self.recorded(Streams::Inherited) {
            Some(answer) => answer.status(),
            None => self.finish(&self.expression()?)?.status,
        };
        self.ended(status)
    }

    /// Runs to the end with the caller's terminal, standard input as well. Whatever the exit
    /// code is, it is the result.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn interact(&self) -> Result<ExitStatus> {
        match self.recorded(Streams::Terminal) {
            Some(answer) => Ok(answer.status()),
            None => Ok(self.finish(&self.bare()?)?.status),
        }
    }

    /// As [`Command::interact`]. Returns the exit code, or 128 + the signal that ended it.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn interactive(&self) -> Result<i32> {
        let status = self.interact()?;
        Ok(status
            .code()
            .or(status.signal().map(|it| 128 + it))
            .unwrap_or(1))
    }

    /// Runs to the end and returns standard output.
    ///
    /// # Errors
    /// As [`Command::stream`]; the message ends with what the program said on standard error.
    pub fn read(&self) -> Result<String> {
        let output = self.output()?;
        self.ended_saying(output.status, &output.stderr)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// As [`Command::read`], whatever the exit code: for programs whose output says it all.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn read_any(&self) -> Result<String> {
        let output = self.output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs to the end, however that is, with both outputs kept: for programs whose exit code
    /// is an answer.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn output(&self) -> Result<Output> {
        match self.recorded(Streams::Kept) {
            Some(answer) => Ok(answer.output()),
            None => self.finish(&self.expression()?.stdout_capture().stderr_capture()),
        }
    }

    /// Runs to the end, each line of its two outputs given on as it comes. Whatever the exit
    /// code is, it is the result.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn lines(
        &self,
        out: &mut dyn FnMut(&str),
        err: &mut (dyn FnMut(&str) + Send),
    ) -> Result<ExitStatus> {
        if let Some(answer) = self.recorded(Streams::Lines) {
            running::lines(&answer.stdout[..], out)?;
            running::lines(&answer.stderr[..], err)?;
            return Ok(answer.status());
        }
        let (said, to_said) = os_pipe::pipe().context("making a pipe")?;
        let reader = self.expression()?.stderr_file(to_said).reader();
        let reader = reader.with_context(|| self.starting())?;
        std::thread::scope(|scope| {
            let errors = scope.spawn(move || running::lines(said, err));
            let result = running::lines(&reader, out);
            let errors = errors.join().unwrap_or(Ok(()));
            result.and(errors)
        })?;
        let output = reader.try_wait().context("waiting for a program")?;
        let line = || format!("{} closed its output but did not end", self.line());
        Ok(output.with_context(line)?.status)
    }

    /// Runs to the end while `take` reads its standard output. The result is how the program
    /// ended, with what it said on standard error, and what `take` says; if that is an error, the
    /// program is ended, for it may wait for its reader.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn read_through<T, E>(
        &self,
        take: impl FnOnce(&mut dyn Read) -> Result<T, E>,
    ) -> Result<(Output, Result<T, E>)> {
        if let Some(answer) = self.recorded(Streams::Piped) {
            let taken = take(&mut &answer.stdout[..]);
            return Ok((answer.output(), taken));
        }
        let reader = self.expression()?.stderr_capture().reader();
        let reader = reader.with_context(|| self.starting())?;
        let taken = take(&mut &reader);
        if taken.is_err() {
            reader.kill().context("ending a program")?;
        }
        io::copy(&mut &reader, &mut io::sink()).context("reading a program's output")?;
        let output = reader.try_wait().context("waiting for a program")?;
        let output = output.with_context(|| format!("{} did not end", self.line()))?;
        Ok((output.clone(), taken))
    }

    /// Runs to the end while `give` writes its standard input; what it prints is thrown away.
    /// The result is as of [`Command::read_through`].
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn write_through<T, E>(
        &self,
        give: impl FnOnce(&mut dyn Write) -> Result<T, E>,
    ) -> Result<(Output, Result<T, E>)> {
        if let Some(answer) = self.recorded(Streams::Piped) {
            return Ok((answer.output(), give(&mut io::sink())));
        }
        let (input, mut to_input) = os_pipe::pipe().context("making a pipe")?;
        let expression = self.bare()?.stdin_file(input);
        let handle = expression.stdout_null().stderr_capture().start();
        // It holds the other end of the pipe open.
        drop(expression);
        let handle = handle.with_context(|| self.starting())?;
        let given = give(&mut to_input);
        drop(to_input);
        let output = handle.into_output().context("waiting for a program")?;
        Ok((output, given))
    }

    /// Starts a program that is watched by what it prints; it is ended when the result is
    /// dropped. Its errors go where the caller's go.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn console(&self) -> Result<Console> {
        match self.recorded(Streams::Piped) {
            Some(answer) => Ok(Console::said(answer.stdout)),
            None => {
                let reader = self.expression()?.reader();
                Ok(Console::of(reader.with_context(|| self.starting())?))
            }
        }
    }

    /// Becomes the program. Returns only when it cannot be started.
    pub fn exec(&self) -> anyhow::Error {
        let argv = match self.argv() {
            Ok(argv) => argv,
            Err(error) => return error,
        };
        let mut command = std::process::Command::new(&argv[0]);
        command.args(&argv[1..]);
        if let Some(env) = self.whole_env() {
            command.env_clear().envs(env);
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        anyhow!(command.exec()).context(self.starting())
    }

    /// Error unless the program ended well.
    ///
    /// # Errors
    /// With the command's line and how it ended.
    pub fn ended(&self, status: ExitStatus) -> Result<()> {
        self.ended_saying(status, &[])
    }

    fn ended_saying(&self, status: ExitStatus, said: &[u8]) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        let mut text = format!("{} {}", self.line(), shown::end(status));
        let said = String::from_utf8_lossy(said);
        if !said.trim().is_empty() {
            text = format!("{text}: {}", said.trim());
        }
        Err(anyhow!(text))
    }

    /// The answer of a [`Recorder`], where one stands in for the machine.
    fn recorded(&self, streams: Streams) -> Option<Answer> {
        let recorder = Recorder::current()?;
        let argv = self.names().into_iter().map(Cow::into_owned).collect();
        Some(
            recorder.take(Call {
                argv,
                env: self
                    .env
                    .as_ref()
                    .map(|_| self.whole_env().unwrap_or_default()),
                set: self.set.clone(),
                dir: self.dir.clone(),
                input: self.input.clone(),
                streams,
                line: self.line(),
            }),
        )
    }

    fn finish(&self, expression: &duct::Expression) -> Result<Output> {
        expression.run().with_context(|| self.starting())
    }

    /// With standard input as it was told.
    fn expression(&self) -> Result<duct::Expression> {
        let expression = self.bare()?;
        Ok(match &self.input {
            Some(bytes) => expression.stdin_bytes(bytes.clone()),
            None => expression.stdin_null(),
        })
    }

    /// With the caller's streams. Every exit code is an answer.
    fn bare(&self) -> Result<duct::Expression> {
        let argv = self.argv()?;
        let mut expression = duct::cmd(&argv[0], &argv[1..]);
        // Programs speak of themselves by what they were called.
        let outermost = self
            .around
            .first()
            .map_or(&self.program, |(program, _)| program);
        if let Program::Of(tool) = outermost {
            let name = tool.program();
            expression = expression.before_spawn(move |command| {
                command.arg0(name);
                Ok(())
            });
        }
        if let Some(env) = self.whole_env() {
            expression = expression.full_env(env);
        }
        if let Some(dir) = &self.dir {
            expression = expression.dir(dir);
        }
        Ok(expression.unchecked())
    }
}
