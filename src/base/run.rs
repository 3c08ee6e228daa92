//! How the exporter and `boot` run their tools.

use crate::base::command::Command;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
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
    program: &str,
    args: &[OsString],
    env: &[(&str, String)],
    log: Log<'_>,
) -> Result<()> {
    let mut all: BTreeMap<String, String> = std::env::vars().collect();
    let fixed = [("LC_ALL", "C".to_owned()), ("TZ", "UTC".to_owned())];
    for (key, value) in fixed.iter().chain(env) {
        all.insert((*key).to_owned(), value.clone());
    }
    let mut last = String::new();
    let result = Command::new(program)
        .args(args)
        .env(all)
        .stream(&mut |line| {
            if !line.trim().is_empty() {
                log(line);
                line.clone_into(&mut last);
            }
        });
    result.with_context(|| format!("running {program} ({last})"))
}
