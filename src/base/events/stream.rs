//! The process's one stream of events. Like standard output it is everybody's: a note may come from
//! any depth, and a value that is handed down to all of them would be in every signature.
//!
//! The descriptor is opened before the sandbox is entered and is kept there. It is closed in every
//! program that is started: steps do not have it.

use super::{Event, Line, Subject, Target, VERSION, seconds};
use crate::base::problem::Problem;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

static STREAM: Mutex<Option<Stream>> = Mutex::new(None);

struct Stream {
    file: File,
    subject: Subject,
    begun: Instant,
    /// Since when the image of `subject` is built.
    build_begun: Instant,
    /// This process is the builder in the sandbox: the one outside, which outlives it however it
    /// ends, tells of the end.
    inside: bool,
    /// Lines are no longer wanted: one could not be written.
    broken: bool,
}

fn stream() -> MutexGuard<'static, Option<Stream>> {
    STREAM.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins a stream at `target`, with its first line.
///
/// # Errors
/// A [`Problem`] when the file cannot be written.
pub fn begin(target: &Target) -> Result<(), Problem> {
    open(target, false)?;
    tell(&Event::RunBegun {
        version: VERSION,
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
    });
    Ok(())
}

/// Goes on with the stream that another process has begun at `target`.
///
/// # Errors
/// As [`begin`].
pub fn append(target: &Target) -> Result<(), Problem> {
    open(target, true)
}

fn open(target: &Target, append: bool) -> Result<(), Problem> {
    let file = match target {
        Target::Output => own_output(),
        Target::File(path) => File::options()
            .create(true)
            // Every line is written behind all others, whoever wrote those.
            .append(true)
            .open(path)
            .and_then(|file| {
                if !append && file.metadata()?.is_file() {
                    file.set_len(0)?;
                }
                Ok(file)
            })
            .with_context(|| format!("writing {}", path.display())),
    };
    let file = file.map_err(|error| {
        Problem::new(
            format!("--events: {error:#}"),
            "name a file that can be written, or - for standard output",
        )
    })?;
    let now = Instant::now();
    *stream() = Some(Stream {
        file,
        subject: Subject::default(),
        begun: now,
        build_begun: now,
        inside: false,
        broken: false,
    });
    Ok(())
}

/// Standard output, for events alone: all else that would be written there, also by programs that
/// are started, goes to standard error from now on.
fn own_output() -> Result<File> {
    let own = io::stdout().as_fd().try_clone_to_owned();
    let own = own.context("taking standard output for events")?;
    nix::unistd::dup2_stdout(io::stderr()).context("leading standard output to standard error")?;
    Ok(own.into())
}

/// Whether anybody listens.
pub fn is_wanted() -> bool {
    stream().is_some()
}

/// The build of `subject` begins; from now on events are of it.
pub fn of(subject: Subject) {
    if let Some(stream) = stream().as_mut() {
        stream.subject = subject;
        stream.build_begun = Instant::now();
        stream.tell(&Event::BuildBegun {});
    }
}

/// This process is the builder in the sandbox from now on.
pub fn enter_sandbox() {
    if let Some(stream) = stream().as_mut() {
        stream.inside = true;
    }
}

/// Writes a line, if anybody listens. A line that cannot be written does not end the build.
pub fn tell(event: &Event) {
    if let Some(stream) = stream().as_mut() {
        stream.tell(event);
    }
}

/// Tells the user and those who listen what they should know.
pub fn note(text: &str) {
    eprintln!("note: {text}");
    tell(&Event::Note {
        text: text.to_owned(),
    });
}

/// The build of one image is over.
pub fn end_build(code: u8) {
    if let Some(stream) = stream().as_mut().filter(|stream| !stream.inside) {
        let seconds = seconds(stream.build_begun.elapsed());
        stream.tell(&Event::BuildEnded { code, seconds });
    }
}

/// All builds are over: the last line.
pub fn end(code: u8) {
    if let Some(stream) = stream().as_mut().filter(|stream| !stream.inside) {
        let seconds = seconds(stream.begun.elapsed());
        stream.subject = Subject::default();
        stream.tell(&Event::RunEnded { code, seconds });
    }
}

/// Passes on a line of a process that was started to write events on its standard output.
pub fn relay(line: &str) {
    if let Some(stream) = stream().as_mut() {
        stream.write(format!("{line}\n").as_bytes());
    }
}

impl Stream {
    fn tell(&mut self, event: &Event) {
        match serde_json::to_vec(&Line::now(&self.subject, event)) {
            Ok(mut line) => {
                line.push(b'\n');
                self.write(&line);
            }
            Err(error) => eprintln!("note: an event could not be written: {error}"),
        }
    }

    /// One call for each line, so that lines of several processes do not mix.
    fn write(&mut self, line: &[u8]) {
        if self.broken {
            return;
        }
        if let Err(error) = self.file.write_all(line) {
            self.broken = true;
            eprintln!("note: from here on no events are written: {error}");
        }
    }
}
