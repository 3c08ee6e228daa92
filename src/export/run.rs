//! The exporter's one place that spawns programs.

use anyhow::{Context, Result, bail};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};

/// Where the output of programs and the exporter's own remarks go, line by line.
pub(crate) type Log<'a> = &'a mut dyn FnMut(&str);

/// Runs `program`, feeding every line it prints to `log` while it runs.
///
/// The environment is the caller's plus `LC_ALL=C`, `TZ=UTC` and `env`; standard
/// input is empty. A bad exit is an error with the command line and its last lines.
pub(crate) fn run(
    program: &str,
    args: &[OsString],
    env: &[(&str, String)],
    log: Log<'_>,
) -> Result<()> {
    let mut command = duct::cmd(program, args)
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .stdin_null()
        .stderr_to_stdout()
        .unchecked();
    for (key, value) in env {
        command = command.env(key, value);
    }
    let reader = command
        .reader()
        .with_context(|| format!("starting {program}"))?;
    let mut last = VecDeque::new();
    let mut lines = BufReader::new(&reader);
    let mut bytes = Vec::new();
    while lines.read_until(b'\n', &mut bytes)? > 0 {
        let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        bytes.clear();
        if line.is_empty() {
            continue;
        }
        log(&line);
        last.push_back(line);
        if last.len() > 30 {
            last.pop_front();
        }
    }
    let status = reader.try_wait()?.map(|output| output.status);
    if !status.is_some_and(|status| status.success()) {
        let status = status.map_or_else(|| "no exit status".to_owned(), |s| s.to_string());
        bail!(
            "{} ended with {status}\n{}",
            command_line(program, args),
            Vec::from(last).join("\n")
        );
    }
    Ok(())
}

/// The command as a line to read; quoted where a shell would need it.
fn command_line(program: &str, args: &[OsString]) -> String {
    let mut line = program.to_owned();
    for arg in args {
        let arg = arg.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.,=:@%+".contains(c);
        if !arg.is_empty() && arg.chars().all(plain) {
            line.push_str(&format!(" {arg}"));
        } else {
            line.push_str(&format!(" '{}'", arg.replace('\'', r"'\''")));
        }
    }
    line
}
