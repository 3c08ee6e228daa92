//! `println!` and its kin, which here do not panic when nobody listens any more.
//!
//! `westwork-gen plan | head -1` is no fault of the program: it ends without a word, as a program
//! that SIGPIPE ends. On a full disk it says so. The macros take the place of the standard
//! library's in this crate (`lib.rs` has them before everything else), so that none is forgotten.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

/// Exit code of a program that SIGPIPE ended, as shells tell it.
const BROKEN_PIPE: i32 = 128 + 13;

/// Writes to standard output; a process without one ends.
pub fn out(text: Arguments<'_>) {
    let mut output = io::stdout().lock();
    end_unless_written(output.write_fmt(text));
}

/// The same for bytes, at once.
pub fn bytes(bytes: &[u8]) {
    let mut output = io::stdout().lock();
    end_unless_written(output.write_all(bytes).and_then(|()| output.flush()));
}

/// Writes out what standard output still holds back: the last thing a command does.
pub fn flush() {
    end_unless_written(io::stdout().flush());
}

/// Writes to standard error. Where that cannot be, there is nobody to tell it to.
pub fn err(text: Arguments<'_>) {
    drop(io::stderr().lock().write_fmt(text));
}

fn end_unless_written(result: io::Result<()>) {
    let Err(error) = result else {
        return;
    };
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(BROKEN_PIPE);
    }
    err(format_args!(
        "westwork-gen: writing to standard output: {error}\n"
    ));
    std::process::exit(1);
}

macro_rules! print {
    ($($part:tt)*) => { $crate::base::print::out(format_args!($($part)*)) };
}
macro_rules! println {
    () => { $crate::base::print::out(format_args!("\n")) };
    ($($part:tt)*) => { $crate::base::print::out(format_args!("{}\n", format_args!($($part)*))) };
}
macro_rules! eprint {
    ($($part:tt)*) => { $crate::base::print::err(format_args!($($part)*)) };
}
macro_rules! eprintln {
    () => { $crate::base::print::err(format_args!("\n")) };
    ($($part:tt)*) => { $crate::base::print::err(format_args!("{}\n", format_args!($($part)*))) };
}
