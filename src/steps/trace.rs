//! Where a bash script failed: its file, line and command.
//!
//! bash tells it by two traps, which a script does not notice: ERR knows the line of a command
//! at the top level, EXIT the command and the calls that led to it, functions too. Both are set
//! before the script begins, by `BASH_ENV`, and write to a file in memory that only a descriptor
//! leads to, so that no output of the script changes. `errtrace` would tell more, but would make
//! a script's own ERR trap run in its functions as well; `xtrace` would take a script's own
//! `set -x` away. A script that sets these traps for itself replaces ours, and is told without a
//! line at worst. Other interpreters than bash are left alone.

use crate::sandbox::isolate::AT_VAR;
use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

/// Descriptors that scripts use for themselves have low numbers.
const LOWEST: RawFd = 200;
/// A longer command is cut in messages, characters.
const LONGEST: usize = 100;

/// Where bash finds what it reads first.
pub(super) const FIRST: &str = "/run/westwork-gen/first.sh";

/// What a script reports.
pub(super) struct Trace {
    report: File,
}

impl Trace {
    /// # Errors
    /// Where the kernel has no files in memory, or no more descriptors.
    pub(super) fn new() -> Result<Self> {
        let report = memory("report")?;
        fcntl(&report, FcntlArg::F_SETFL(OFlag::O_APPEND)).context("opening a file to append")?;
        Ok(Self { report })
    }

    /// Number of the descriptor that reports go to.
    pub(super) fn report(&self) -> String {
        self.report.as_raw_fd().to_string()
    }

    /// File, line and command of what ended `script`, if it was told.
    pub(super) fn place(&self, script: &Path, code: i32) -> Option<String> {
        let mut text = Vec::new();
        let mut report = &self.report;
        report.rewind().ok()?;
        report.read_to_end(&mut text).ok()?;
        Report::new(&String::from_utf8_lossy(&text)).place(script, code)
    }
}

/// A file in memory that a child process inherits, by a number that scripts leave alone.
pub(super) fn memory(name: &str) -> Result<File> {
    let file = memfd_create(name, MFdFlags::MFD_CLOEXEC).context("making a file in memory")?;
    let number = fcntl(&file, FcntlArg::F_DUPFD(LOWEST)).context("passing on a file in memory")?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows of it.
    #[allow(unsafe_code)]
    let file = unsafe { OwnedFd::from_raw_fd(number) };
    Ok(file.into())
}

/// What bash reads before a script, told to report to `descriptor`.
pub(super) fn first(descriptor: RawFd) -> String {
    format!("{}; unset BASH_ENV\n", traps("", descriptor))
}

/// The traps, whose records have `kind` before their names. One command each, since a DEBUG trap
/// of the script may print before any command.
fn traps(kind: &str, report: RawFd) -> String {
    let err = format!(
        r#"{{ case $- in *e*) builtin printf "%s\0" $'\''\1{kind}err'\'' "${{BASH_SOURCE[0]}}" "$LINENO" "$BASH_COMMAND" $'\''\2'\'' >&{report} ;; esac; }} 2>/dev/null"#
    );
    let exit = format!(
        r#"{{ builtin printf "%s\0" $'\''\1{kind}exit'\'' "$?" "$BASH_COMMAND" "${{FUNCNAME[@]}}" "" "${{BASH_LINENO[@]}}" "" "${{BASH_SOURCE[@]}}" $'\''\2'\'' >&{report} || :; }} 2>/dev/null"#
    );
    format!("trap '{err}' ERR; trap '{exit}' EXIT")
}

/// `script` for bash in a chroot, told to report to `descriptor` where it fails; its lines keep
/// their numbers. `at` is where it was called, `FILE:LINE`, or empty.
pub(super) fn traced(script: Vec<u8>, descriptor: &str, at: &str) -> Vec<u8> {
    let Ok(number) = descriptor.parse() else {
        return script;
    };
    if would_notice(&script) {
        return script;
    }
    let report = OpenOptions::new()
        .append(true)
        .open(format!("/proc/self/fd/{number}"));
    let begun = report.and_then(|mut report| write!(report, "\u{1}begin\0{at}\0\u{2}\0"));
    if begun.is_err() {
        return script;
    }
    let mut text = format!("{}; ", traps("chroot-", number)).into_bytes();
    text.extend(script);
    text
}

/// Whether the first line of `script` asks for bash.
pub(super) fn is_for_bash(script: &[u8]) -> bool {
    let first = script.split(|byte| *byte == b'\n').next();
    let first = String::from_utf8_lossy(first.unwrap_or_default()).into_owned();
    let line = first.strip_prefix("#!");
    let mut words = line.unwrap_or_default().split_whitespace();
    let name = |word: &str| word.rsplit('/').next().map(str::to_owned);
    match words.next().and_then(name).as_deref() {
        Some("bash") => true,
        Some("env") => words.find(|word| !word.starts_with('-')) == Some("bash"),
        _ => false,
    }
}

/// Whether traps of ours would show in `script`: it has a DEBUG trap, which runs before their
/// commands too, sends its `set -x` to a file, has bash print what it reads, or lists the traps.
pub(super) fn would_notice(script: &[u8]) -> bool {
    let text = String::from_utf8_lossy(script);
    let lists = |rest: &str| {
        let rest = rest.trim_start_matches([' ', '\t']);
        let ends = [';', '|', '&', ')', '>', '\n', '`'];
        rest.is_empty() || rest.starts_with("-p") || rest.starts_with(ends)
    };
    let mut named = text.match_indices("trap");
    text.contains("DEBUG")
        || text.contains("BASH_XTRACEFD")
        || text.lines().any(echoes)
        || named.any(|(at, word)| {
            let before = text[..at].chars().next_back().unwrap_or('\n');
            let is_word = !before.is_alphanumeric() && !"_-./".contains(before);
            is_word && lists(&text[at + word.len()..])
        })
}

/// Whether a line is for bash's option `verbose`: in a call of `set`, or the first of a script.
fn echoes(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let is_option = |word: &str| word == "verbose" || (word.starts_with('-') && word.contains('v'));
    words.any(|word| word == "set" || word.starts_with("#!")) && words.any(is_option)
}

/// A path as `STAGE/SUB_STAGE/FILE`, however deep it is in the stage.
pub(super) fn name(path: &Path, stage: Option<&str>) -> String {
    let tree = stage.and_then(|dir| Path::new(dir).parent());
    let short = tree.and_then(|tree| path.strip_prefix(tree).ok());
    short.unwrap_or(path).display().to_string()
}

/// The records of one script, in their order.
struct Report<'a>(Vec<(&'a str, Vec<&'a str>)>);

/// How bash ended: the last command, and the calls that led to it, the innermost first.
struct End<'a> {
    command: &'a str,
    functions: Vec<&'a str>,
    lines: Vec<&'a str>,
    files: Vec<&'a str>,
}

impl<'a> Report<'a> {
    fn new(text: &'a str) -> Self {
        let records = text.split('\u{1}').filter_map(|record| {
            let record = record.split("\0\u{2}\0").next()?;
            let mut fields = record.split('\0');
            Some((fields.next()?, fields.collect()))
        });
        Self(records.collect())
    }

    fn last(&self, kind: &str) -> Option<&[&'a str]> {
        let mut back = self.0.iter().rev();
        back.find(|(it, _)| *it == kind)
            .map(|(_, fields)| &fields[..])
    }

    /// The last record of `kind`'s EXIT trap, and the status in it.
    fn end(&self, kind: &str) -> Option<(i32, End<'a>)> {
        let fields = self.last(kind)?;
        let (status, command) = (fields.first()?.parse().ok()?, *fields.get(1)?);
        let mut lists = fields[2..].split(|field| field.is_empty());
        let mut list = || lists.next().map(<[&str]>::to_vec).unwrap_or_default();
        let end = End {
            command,
            functions: list(),
            lines: list(),
            files: list(),
        };
        Some((status, end))
    }

    fn place(&self, script: &Path, code: i32) -> Option<String> {
        let text = fs::read_to_string(script).unwrap_or_default();
        let own = script.to_str()?;
        // A step that is a script for the chroot.
        if self.last("begin").is_some_and(|at| at == [""]) {
            let (line, command) = self.inner()?;
            return Some(told(own, Some(line), whole(&text, line, &command), code));
        }
        let err = self.last("err");
        let err = err.map(|it| (it[0], it[1].parse().ok(), it[2]));
        let ours =
            |(status, end): &(i32, End<'_>)| *status == code && end.files.last() == Some(&own);
        let Some((_, end)) = self.end("exit").filter(ours) else {
            // The script has an EXIT trap of its own.
            let (file, line, command) = err?;
            return Some(told(file, line, command, code));
        };
        let is_contract = |file: &&&str| **file == "environment";
        let depth = end.files.iter().take_while(is_contract).count();
        let function = depth.checked_sub(1).and_then(|it| end.functions.get(it));
        if end.command.starts_with(AT_VAR) {
            return self.of_chroot(function.copied(), code);
        }
        if let (Some(function), Some(file)) = (function, end.files.get(depth)) {
            let line = end.lines.get(depth - 1)?.parse().ok();
            return Some(told(file, line, function, code));
        }
        let (file, command) = (*end.files.first()?, end.command);
        let elsewhere;
        let text = if file == own {
            &text
        } else {
            elsewhere = fs::read_to_string(file).unwrap_or_default();
            &elsewhere
        };
        if let Some((file, line, command)) = err.filter(|it| it.0 == file) {
            let command = whole(text, line.unwrap_or(0), command);
            return Some(told(file, line, command, code));
        }
        // A redirection of its call hides a function.
        let hidden = command.strip_prefix("\"$WESTWORK_GEN\" internal ");
        let hidden = hidden.and_then(|rest| rest.split(' ').next());
        let command = hidden.map_or_else(|| command.to_owned(), |name| name.replace('-', "_"));
        let line = only_line(text, &command);
        let caller = end.files.get(1).zip(end.lines.first());
        if let Some((caller, at)) = caller.filter(|_| line.is_none()) {
            let command = format!("{}: {}", end.functions.first()?, cut(&command));
            return Some(told(caller, at.parse().ok(), &command, code));
        }
        Some(told(file, line, &command, code))
    }

    /// The last call of `on_chroot` failed, by `function` of the contract if that is another.
    fn of_chroot(&self, function: Option<&str>, code: i32) -> Option<String> {
        let (file, number) = self.last("begin")?.first()?.rsplit_once(':')?;
        let number: usize = number.parse().ok()?;
        let function = function.unwrap_or("on_chroot");
        let Some((inside, command)) = self.inner() else {
            return Some(told(file, Some(number), function, code));
        };
        if function != "on_chroot" {
            let command = format!("{function}: {}", cut(&command));
            return Some(told(file, Some(number), &command, code));
        }
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = |number: usize| text.lines().nth(number.checked_sub(1)?);
        let word = command.split_whitespace().next().unwrap_or_default();
        let here = line(number).is_some_and(|it| it.contains("<<") && !it.contains("<<<"))
            && line(number + inside).is_some_and(|it| it.contains(word));
        if here {
            let (line, command) = (number + inside, &command);
            return Some(told(file, Some(line), whole(&text, line, command), code));
        }
        let command = format!("line {inside} for the chroot: {}", cut(&command));
        Some(told(file, Some(number), &command, code))
    }

    /// Line and command of the last script in the chroot.
    fn inner(&self) -> Option<(usize, String)> {
        let begun = self.0.iter().rposition(|(kind, _)| *kind == "begin")?;
        let last = Report(self.0[begun..].to_vec());
        let err = last.last("chroot-err");
        let (_, end) = last.end("chroot-exit")?;
        if let Some(err) = err.filter(|it| it[2] == end.command) {
            return Some((err[1].parse().ok()?, end.command.to_owned()));
        }
        // In a function: where it was called.
        let line = end.lines.first().filter(|line| **line != "0")?;
        let command = format!("{}: {}", end.functions.first()?, end.command);
        Some((line.parse().ok()?, command))
    }
}

/// The whole line of `text`, where `command` alone would mislead: how a function ended, or the
/// last command of a pipeline.
fn whole<'a>(text: &'a str, line: usize, command: &'a str) -> &'a str {
    let line = line.checked_sub(1).and_then(|line| text.lines().nth(line));
    let more = |line: &&str| {
        let pipeline = line.contains(" | ") && line.contains(command);
        pipeline || command.starts_with("return")
    };
    line.filter(more).map_or(command, str::trim)
}

fn told(file: &str, line: Option<usize>, command: &str, code: i32) -> String {
    let line = line.map_or_else(String::new, |line| format!("{line}: "));
    format!("{file}:{line}{} ended with {code}", cut(command))
}

/// The first line of a command, as far as it is of use in a message.
fn cut(command: &str) -> String {
    let first = command.lines().next().unwrap_or_default();
    match first.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &first[..end]),
        None => first.to_owned(),
    }
}

/// Number of the one line of `text` that has `command` in it.
fn only_line(text: &str, command: &str) -> Option<usize> {
    // bash tells a command with blanks of its own.
    let plain = |text: &str| text.split_whitespace().collect::<String>();
    let first = plain(command.lines().next()?);
    let mut found = text
        .lines()
        .enumerate()
        .filter(|(_, line)| plain(line).contains(&first));
    match (found.next(), found.next()) {
        (Some((index, _)), None) => Some(index + 1),
        _ => None,
    }
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
