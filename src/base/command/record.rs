//! A twin of the machine that starts nothing: it writes down every command and answers for it.
//! Tests of what is run in which order need no root, network or emulator with it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Output};
use std::sync::{Arc, Mutex, PoisonError};

/// What a command's streams were to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// Read line by line.
    Lines,
    /// Kept, and returned at the end.
    Kept,
    /// The caller's outputs.
    Inherited,
    /// The caller's outputs and input.
    Terminal,
    /// A pipe to or from the caller.
    Piped,
}

/// A command that would have been started.
#[derive(Debug, Clone)]
pub struct Call {
    /// Program and arguments; of this program itself, `westwork-gen`.
    pub argv: Vec<OsString>,
    /// The whole environment, where it is not the caller's.
    pub env: Option<BTreeMap<OsString, OsString>>,
    /// Variables that were set besides.
    pub set: BTreeMap<OsString, OsString>,
    /// The working directory, if it is another than this program's.
    pub dir: Option<PathBuf>,
    /// What it is given on standard input.
    pub input: Option<Vec<u8>>,
    /// Where its outputs go.
    pub streams: Streams,
    /// What messages call the command.
    pub line: String,
}

impl Call {
    /// The arguments as text, with blanks between them.
    pub fn text(&self) -> String {
        let words: Vec<_> = self
            .argv
            .iter()
            .map(|word| word.to_string_lossy())
            .collect();
        words.join(" ")
    }

    /// A variable of its environment.
    pub fn var(&self, name: &str) -> Option<String> {
        let name = OsString::from(name);
        let env = self.env.as_ref().unwrap_or(&self.set);
        env.get(&name)
            .map(|value| value.to_string_lossy().into_owned())
    }
}

/// How a recorded command ends.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The exit code.
    pub code: i32,
    /// What it prints.
    pub stdout: Vec<u8>,
    /// What it says on standard error.
    pub stderr: Vec<u8>,
}

impl Answer {
    pub(super) fn status(&self) -> ExitStatus {
        ExitStatus::from_raw(self.code << 8)
    }

    pub(super) fn output(self) -> Output {
        Output {
            status: self.status(),
            stdout: self.stdout,
            stderr: self.stderr,
        }
    }
}

type Answers = dyn FnMut(&Call) -> Answer + Send;

/// Stands in for the machine in the thread that has installed it.
#[derive(Clone)]
pub struct Recorder {
    calls: Arc<Mutex<Vec<Call>>>,
    answers: Arc<Mutex<Box<Answers>>>,
}

thread_local! {
    static CURRENT: RefCell<Option<Recorder>> = const { RefCell::new(None) };
}

impl Recorder {
    /// Every command ends well and says nothing.
    pub fn new() -> Self {
        Self::answering(|_| Answer::default())
    }

    /// `answers` says how each command ends, and does what others need of it.
    pub fn answering(answers: impl FnMut(&Call) -> Answer + Send + 'static) -> Self {
        Self {
            calls: Arc::default(),
            answers: Arc::new(Mutex::new(Box::new(answers))),
        }
    }

    /// Does `work`, in this thread, with this recorder in the machine's place.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        /// Whoever was there before comes back, after a panic too.
        struct Before(Option<Recorder>);
        impl Drop for Before {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _before = Before(CURRENT.replace(Some(self.clone())));
        work()
    }

    /// Who stands in for the machine in this thread, to be taken along into others.
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// What would have been started so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn take(&self, call: Call) -> Answer {
        let answer = self.answers.lock().unwrap_or_else(PoisonError::into_inner)(&call);
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push(call);
        answer
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}
