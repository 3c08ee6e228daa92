//! What the user sees: a progress line on a terminal, plain lines elsewhere, and the log.

use crate::base::events::{self, Event};
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How much of a failing step's output is shown.
const LAST_LINES: usize = 30;

/// The build's one stream of events.
pub struct Output {
    log: File,
    path: PathBuf,
    bar: ProgressBar,
    /// Somebody sees the bar.
    terminal: bool,
    started: Instant,
    /// What is not to be read in any line.
    hidden: Vec<String>,
}

/// Shorter ones, in bytes, are parts of any words.
const SHORTEST_SECRET: usize = 4;

impl Output {
    /// Starts the log at `path`; an earlier one is kept beside it as `.1`.
    pub fn new(path: &Path) -> Result<Self> {
        if path.exists() {
            std::fs::rename(path, path.with_extension("log.1")).context("keeping the last log")?;
        }
        let log = File::create(path).with_context(|| format!("making {}", path.display()))?;
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())
        };
        let style = ProgressStyle::with_template(
            "{spinner:.magenta} {elapsed_precise:.dim} {prefix:.bold} {wide_msg:.dim}",
        )
        .context("making the progress style")?;
        bar.set_style(style);
        Ok(Self {
            log,
            path: path.to_owned(),
            bar,
            terminal,
            started: Instant::now(),
            hidden: Vec::new(),
        })
    }

    /// Leaves `secrets` out of what steps print from now on.
    pub fn hide(&mut self, mut secrets: Vec<String>) {
        secrets.retain(|secret| secret.len() >= SHORTEST_SECRET);
        // Of two of which one is in the other, all of the longer.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        self.hidden = secrets;
    }

    /// Where the log is.
    pub fn log_path(&self) -> &Path {
        &self.path
    }

    /// Time since the build began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// A line for the user and the log.
    pub fn say(&mut self, text: &str) {
        self.write_log(text);
        if self.bar.is_hidden() {
            println!("{text}");
        } else {
            self.bar.println(text);
        }
    }

    /// What a user should know, for the user, the log, and those who listen to events.
    pub fn note(&mut self, text: &str) {
        self.say(&format!("note: {text}"));
        events::tell(&Event::Note {
            text: text.to_owned(),
        });
    }

    /// A line for the log only.
    pub fn log(&mut self, text: &str) {
        self.write_log(text);
    }

    /// Begins a step called `name`; its output goes to the log until the step is closed.
    pub fn step(&mut self, name: &str) -> StepOutput<'_> {
        let began = clock(self.started.elapsed());
        self.write_log(&format!("[{began}] begin {name}"));
        if self.terminal {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_prefix(name.to_owned());
        self.bar.set_message("");
        self.bar.enable_steady_tick(Duration::from_millis(120));
        StepOutput {
            output: self,
            name: name.to_owned(),
            began: Instant::now(),
            last: VecDeque::new(),
        }
    }

    fn write_log(&mut self, line: &str) {
        // A full disk must not stop the build half way through a line of output; the step
        // itself will meet the same disk and say so.
        let _ = writeln!(self.log, "{line}");
    }
}

/// `line` with a word in place of each of `secrets`.
fn without<'a>(line: &'a str, secrets: &[String]) -> Cow<'a, str> {
    let mut line = Cow::Borrowed(line);
    for secret in secrets {
        if line.contains(secret) {
            line = Cow::Owned(line.replace(secret, "(secret)"));
        }
    }
    line
}

/// One step's share of the output.
pub struct StepOutput<'a> {
    output: &'a mut Output,
    name: String,
    began: Instant,
    last: VecDeque<String>,
}

impl StepOutput<'_> {
    /// A line the step printed.
    pub fn line(&mut self, line: &str) {
        let line = &*without(line, &self.output.hidden);
        self.output.write_log(line);
        self.output.bar.set_message(short(line));
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line.to_owned());
    }

    /// Leaves the terminal to the step until it ends.
    pub fn leave_terminal(&self) {
        self.output.bar.disable_steady_tick();
        self.output
            .bar
            .set_draw_target(ProgressDrawTarget::hidden());
    }

    /// Ends the step well. Returns how long it took.
    pub fn done(self) -> Duration {
        let took = self.began.elapsed();
        self.output.bar.disable_steady_tick();
        let text = format!(
            "{}  {} ({:.1} s)",
            clock(self.output.elapsed()),
            self.name,
            took.as_secs_f64()
        );
        self.output.say(&text);
        took
    }

    /// Ends the step badly. Returns its last lines.
    pub fn failed(self) -> Vec<String> {
        self.output.bar.disable_steady_tick();
        self.output.bar.finish_and_clear();
        let ended = clock(self.output.started.elapsed());
        self.output
            .write_log(&format!("[{ended}] failed {}", self.name));
        self.last.into()
    }
}

/// What is worth showing of a line of apt's or dpkg's output.
fn short(line: &str) -> String {
    let mut words = line.split_ascii_whitespace();
    match words.next() {
        Some(fetch) if fetch.starts_with("Get:") => {
            let package = line.split_ascii_whitespace().nth(4).unwrap_or_default();
            format!("downloading {package}")
        }
        _ => line.trim().to_owned(),
    }
}

/// `m:ss`, or `h:mm:ss` from an hour on.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds / 3600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_in_no_line_of_a_step() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("build.log");
        let mut output = Output::new(&path).unwrap();
        output.hide(["hunter2", "hunter2-long", "abc"].map(str::to_owned).into());
        let mut step = output.step("a");
        step.line("+ echo hunter2-long hunter2 abc");
        let said = step.failed().concat() + &std::fs::read_to_string(path).unwrap();
        assert!(
            !said.contains("hunter2") && !said.contains("-long"),
            "{said}"
        );
        assert_eq!(said.matches("(secret) (secret) abc").count(), 2, "{said}");
    }

    #[test]
    fn a_download_is_shown_by_package() {
        assert_eq!(
            short("Get:12 http://mirror/debian trixie/main arm64 adduser all 3.152 [191 kB]"),
            "downloading adduser"
        );
        assert_eq!(
            short("  Unpacking adduser (3.152) ..."),
            "Unpacking adduser (3.152) ..."
        );
    }

    #[test]
    fn clocks_grow_an_hour_field() {
        assert_eq!(clock(Duration::from_secs(65)), "1:05");
        assert_eq!(clock(Duration::from_secs(3_725)), "1:02:05");
    }
}
