//! How the exporter runs its tools.

use crate::base::command::{Command, Program};
use anyhow::{Context, Result};
use std::ffi::OsString;

/// Where the output of programs and the exporter's own remarks go, line by line.
pub(crate) type Log<'a> = &'a mut dyn FnMut(&str);

/// Runs `program`, feeding every line it prints to `log` while it runs.
///
/// The environment is the caller's plus `LC_ALL=C`, `TZ=UTC` and `env`; standard
/// input is empty.
///
/// # Errors
/// A bad exit, with the last thing the program said.
pub(crate) fn run(
    program: impl Into<Program>,
    args: &[OsString],
    env: &[(&str, String)],
    log: Log<'_>,
) -> Result<()> {
    let mut last = String::new();
    Command::new(program)
        .args(args)
        .sets([("LC_ALL", "C"), ("TZ", "UTC")])
        .sets(env.iter().cloned())
        .stream(&mut |line| {
            if !line.trim().is_empty() {
                log(line);
                line.clone_into(&mut last);
            }
        })
        .with_context(|| format!("running a program ({last})"))
}
