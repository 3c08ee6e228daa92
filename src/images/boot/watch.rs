//! Reading a serial console and judging what it says.

use super::Verdict;
use super::qemu::MARK;
use crate::base::command::Command;
use anyhow::Result;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Runs `command` until it has reported, ended, or `limit` is over. The console goes
/// to standard output, and to `record` if given. True with the verdict: the machine
/// ended by itself, which it does when its system restarts it.
pub(super) fn watch(
    command: &Command,
    limit: Duration,
    mut record: Option<&mut File>,
) -> Result<(Verdict, bool)> {
    let begin = Instant::now();
    let console = command.console()?;
    let (send, receive) = mpsc::channel();
    let output = console.reader();
    std::thread::spawn(move || forward(output, &send));
    let mut verdict = Verdict::default();
    let mut text = String::new();
    let mut ended = false;
    let mut restarts = false;
    while !(ended && verdict.reached_login) {
        let left = limit.saturating_sub(begin.elapsed());
        let bytes = match receive.recv_timeout(left) {
            Ok(bytes) => bytes,
            Err(error) => {
                restarts = error == RecvTimeoutError::Disconnected;
                break;
            }
        };
        crate::base::print::bytes(&bytes);
        if let Some(file) = &mut record {
            file.write_all(&bytes)?;
        }
        text.push_str(&String::from_utf8_lossy(&bytes));
        while let Some(end) = text.find('\n') {
            ended |= take_line(text[..end].trim(), &mut verdict);
            text.drain(..=end);
        }
        // A prompt has no line end.
        verdict.reached_login |= is_prompt(&text);
    }
    verdict.elapsed = begin.elapsed();
    Ok((verdict, restarts))
}

fn forward(mut console: impl Read, to: &mpsc::Sender<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = console.read(&mut buffer) {
        if to.send(buffer[..n].to_vec()).is_err() {
            break;
        }
    }
}

/// agetty's `HOST login: `.
fn is_prompt(line: &str) -> bool {
    line.trim_end().ends_with(" login:")
}

/// Takes one line of the console into the verdict; true when the report is complete.
fn take_line(line: &str, verdict: &mut Verdict) -> bool {
    verdict.reached_login |= is_prompt(line);
    let Some((_, report)) = line.split_once(MARK) else {
        return false;
    };
    match report.trim().split_once(' ') {
        Some(("failed", unit)) => verdict.failed.push(unit.to_owned()),
        Some(("size", size)) => verdict.root_size = size.parse().ok(),
        Some(("state", state)) => verdict.state = Some(state.to_owned()),
        _ => return report.trim() == "end",
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_lines_become_a_verdict() {
        let mut verdict = Verdict::default();
        assert!(!take_line(
            "host login: westwork-report: failed a.service",
            &mut verdict
        ));
        assert!(!take_line("westwork-report: size 4096", &mut verdict));
        assert!(!take_line("westwork-report: state running", &mut verdict));
        assert!(!verdict.reached_login);
        verdict.reached_login |= is_prompt("host login: ");
        assert!(!verdict.good(), "{verdict:?}");
        assert!(take_line("westwork-report: end", &mut verdict));
        assert_eq!(verdict.failed, ["a.service"]);
    }
}
