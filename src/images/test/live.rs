//! Tests of the running system: one script that does them all, and its answers.

use super::outcome::{Outcome, Verdict, rounded};
use super::read::Source;
use super::spec::{Command, Live, Port, Protocol, Unit};
use super::system::full_name;
use super::texts;
use crate::images::boot::live::{Answer, LiveRequest, ask};
use crate::images::boot::machine::Machine;
use crate::images::printable::printable;
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Seconds for a start, and for a command, where the tests do not say.
const START: u32 = 900;
const COMMAND: u32 = 60;

/// Functions of the script. Each answer is a line: number, exit code, milliseconds, text in
/// base64. Only what every Debian has is used.
const FUNCTIONS: &str = r#"
now() { IFS='. ' read -r s f r </proc/uptime; echo $((s * 1000 + ${f#0} * 10)); }
say() { printf '%s %s %s ' "$1" "$2" $(($(now) - began)); head -c 16000 | base64 -w0; echo; }
# until SECONDS COMMAND…: once a second until it succeeds.
until_() { w=$1; shift; while ! "$@"; do [ "$w" -gt 0 ] || return 1; w=$((w - 1)); sleep 1; done; }
unit() { began=$(now); until_ "$2" systemctl is-active --quiet "$3"; c=$?
	systemctl show --property=ActiveState,SubState,Result "$3" | tr '\n' ' ' | say "$1" $c; }
listens() { grep -qiE "^ *[0-9]+: [0-9A-F]+:$1 [0-9A-F]+:0000 $2 " $3; }
port() { began=$(now); until_ "$2" listens "$3" "$4" "$5"; c=$?; say "$1" $c </dev/null; }
failed() { began=$(now); systemctl --failed --no-legend --plain | cut -d' ' -f1 | tr '\n' ' ' | say "$1" 0; }
try() { timeout "$1" sh /run/ww-command >/run/ww-said 2>&1; c=$?; [ $c = "$2" ]; }
command_() { printf %s "$5" | base64 -d >/run/ww-command; began=$(now); c=0
	until_ "$4" try "$2" "$3"; say "$1" $c </run/ww-said; }
began=$(now); systemctl is-system-running --wait | say state 0
"#;

/// A test of one of the files, by its number.
enum Asked<'a> {
    Unit(&'a Unit),
    Failed,
    Port(&'a Port),
    Command(&'a Command),
}

struct Question<'a> {
    asked: Asked<'a>,
    place: String,
}

/// What `sources` ask of a running system.
fn questions(sources: &[Source]) -> Vec<Question<'_>> {
    let mut all = Vec::new();
    for source in sources {
        let mut add = |asked, at: std::ops::Range<usize>| {
            let place = source.place(at.start);
            all.push(Question { asked, place });
        };
        let spec = &source.spec;
        if let Some(forbid) = &spec.forbid {
            if forbid.get_ref().failed_units {
                add(Asked::Failed, forbid.span());
            }
        }
        for unit in &spec.unit {
            if unit.get_ref().active.is_some() {
                add(Asked::Unit(unit.get_ref()), unit.span());
            }
        }
        for port in &spec.port {
            add(Asked::Port(port.get_ref()), port.span());
        }
        for command in &spec.command {
            add(Asked::Command(command.get_ref()), command.span());
        }
    }
    all
}

impl Question<'_> {
    fn kind(&self) -> &'static str {
        match self.asked {
            Asked::Unit(_) => "unit",
            Asked::Failed => "failed-units",
            Asked::Port(_) => "port",
            Asked::Command(_) => "command",
        }
    }

    fn title(&self) -> String {
        let named = |name: &Option<String>, usual: String| name.clone().unwrap_or(usual);
        match &self.asked {
            Asked::Failed => "no unit fails".to_owned(),
            Asked::Unit(unit) => {
                let word = if unit.active == Some(true) {
                    "is"
                } else {
                    "is not"
                };
                named(&unit.name, format!("{} {word} active", unit.unit))
            }
            Asked::Port(port) => {
                let word = if port.open { "open" } else { "closed" };
                let protocol = match port.protocol {
                    Protocol::Tcp => "tcp",
                    Protocol::Udp => "udp",
                };
                named(
                    &port.name,
                    format!("port {}/{protocol} is {word}", port.port),
                )
            }
            Asked::Command(command) => named(&command.name, command.run.trim().to_owned()),
        }
    }

    /// The line of the script.
    fn line(&self, number: usize) -> String {
        match &self.asked {
            Asked::Failed => format!("failed {number}"),
            Asked::Unit(unit) => {
                let name = full_name(&unit.unit);
                let name = shlex::try_quote(&name).unwrap_or_default().into_owned();
                format!("unit {number} {} {name}", unit.within.unwrap_or(0))
            }
            Asked::Port(port) => {
                // States of /proc/net/tcp and udp: the kernel's include/net/tcp_states.h.
                let (state, files) = match port.protocol {
                    Protocol::Tcp => ("0A", "/proc/net/tcp /proc/net/tcp6"),
                    Protocol::Udp => ("07", "/proc/net/udp /proc/net/udp6"),
                };
                let within = if port.open {
                    port.within.unwrap_or(0)
                } else {
                    0
                };
                format!("port {number} {within} {:04X} {state} '{files}'", port.port)
            }
            Asked::Command(command) => format!(
                "command_ {number} {} {} {} {}",
                command.within.unwrap_or(COMMAND),
                command.exit,
                command.retry,
                STANDARD.encode(&command.run)
            ),
        }
    }

    /// What is wrong with the answer.
    fn judge(&self, code: i32, text: &[u8]) -> Vec<String> {
        let shown = printable(String::from_utf8_lossy(text).trim());
        let one = |fault: Option<String>| fault.into_iter().collect();
        match &self.asked {
            Asked::Failed => one((!shown.is_empty()).then(|| format!("failed: {shown}"))),
            Asked::Unit(unit) => {
                let active = code == 0;
                let field = |name: &str| {
                    let mut words = shown.split(' ').filter_map(|word| word.split_once('='));
                    words
                        .find(|(key, _)| *key == name)
                        .map_or("unknown", |(_, value)| value)
                };
                one((unit.active != Some(active)).then(|| {
                    format!(
                        "it is {} ({}), its result {}",
                        field("ActiveState"),
                        field("SubState"),
                        field("Result")
                    )
                }))
            }
            Asked::Port(port) => {
                let open = code == 0;
                let word = if open {
                    "something listens"
                } else {
                    "nothing listens"
                };
                one((port.open != open).then(|| word.to_owned()))
            }
            Asked::Command(command) => {
                let mut faults = Vec::new();
                if code != i32::from(command.exit) {
                    // timeout(1) ends with 124 when it ended the command.
                    if code == 124 {
                        let seconds = command.within.unwrap_or(COMMAND);
                        return vec![format!("it took longer than {seconds} s")];
                    }
                    let end = end(&shown);
                    faults.push(format!("it ended with {code}, not {}: {end}", command.exit));
                }
                faults.extend(texts::look(
                    text,
                    command.contains.as_ref(),
                    command.lacks.as_ref(),
                    command.matches.as_ref(),
                ));
                faults
            }
        }
    }
}

/// The last words of a text.
fn end(text: &str) -> String {
    let from = text.char_indices().rev().nth(200).map_or(0, |(at, _)| at);
    text[from..].to_owned()
}

/// How the image is started: what any of the files asks for.
fn how(sources: &[Source]) -> Live {
    let mut how = Live::default();
    for live in sources
        .iter()
        .filter_map(|source| source.spec.live.as_ref())
    {
        let live = live.get_ref();
        how.restarts = how.restarts.max(live.restarts);
        how.power_cut |= live.power_cut;
        how.network |= live.network;
        how.timeout = how.timeout.max(live.timeout);
    }
    how
}

/// How a running system is reached.
pub(super) struct Place<'a> {
    pub(super) image: &'a Path,
    pub(super) machine: Option<Machine>,
    pub(super) record: Option<PathBuf>,
}

/// Starts the image and looks.
pub(super) fn run(place: &Place<'_>, sources: &[Source]) -> Vec<Outcome> {
    let questions = questions(sources);
    if questions.is_empty() {
        return Vec::new();
    }
    match answers(place, sources, &questions) {
        Ok(answers) => {
            let each = answers.iter().map(|answer| outcomes(&questions, answer));
            each.flatten().collect()
        }
        Err(error) => {
            let why = Verdict::Unclear(format!("{error:#}"));
            let each = questions.iter();
            each.map(|question| question.outcome(None, why.clone(), 0.0))
                .collect()
        }
    }
}

/// What is asked of a running system, where none is started.
pub(super) fn left_out(sources: &[Source]) -> Vec<Outcome> {
    let questions = questions(sources);
    let each = questions.iter();
    each.map(|question| question.outcome(None, super::not_started(), 0.0))
        .collect()
}

fn answers(
    place: &Place<'_>,
    sources: &[Source],
    questions: &[Question<'_>],
) -> Result<Vec<Answer>> {
    let mut script = FUNCTIONS.to_owned();
    for (number, question) in questions.iter().enumerate() {
        let _ = writeln!(script, "{}", question.line(number));
    }
    let how = how(sources);
    let beside = place
        .image
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty());
    let scratch = beside.unwrap_or(Path::new("."));
    let scratch = scratch
        .canonicalize()
        .context("finding the image's directory")?;
    let request = LiveRequest {
        image: place.image,
        scratch: &scratch,
        machine: place.machine,
        network: how.network,
        limit: Duration::from_secs(u64::from(how.timeout.unwrap_or(START))),
        restarts: how.restarts,
        power_cut: how.power_cut,
        record: place.record.clone(),
    };
    ask(&request, &script)
}

impl Question<'_> {
    fn outcome(&self, moment: Option<&str>, verdict: Verdict, seconds: f64) -> Outcome {
        Outcome {
            test: self.title(),
            kind: self.kind(),
            place: self.place.clone(),
            moment: moment.map(str::to_owned),
            verdict,
            seconds,
        }
    }
}

/// The outcome of each question after one start, and that of the start itself.
fn outcomes(questions: &[Question<'_>], answer: &Answer) -> Vec<Outcome> {
    let moment = answer.moment.as_str();
    let started = |verdict| Outcome {
        test: "the system starts".to_owned(),
        kind: "start",
        place: String::new(),
        moment: Some(moment.to_owned()),
        verdict,
        seconds: rounded(answer.elapsed),
    };
    let text = match &answer.said {
        Ok(text) => String::from_utf8_lossy(text).into_owned(),
        Err(why) => {
            let mut all = vec![started(Verdict::Failed(why.clone()))];
            let why = Verdict::Failed("the system did not start".to_owned());
            let each = questions.iter();
            all.extend(each.map(|question| question.outcome(Some(moment), why.clone(), 0.0)));
            return all;
        }
    };
    let lines: HashMap<&str, Said> = text.lines().filter_map(read).collect();
    let mut all = vec![started(Verdict::Passed)];
    for (number, question) in questions.iter().enumerate() {
        all.push(match lines.get(number.to_string().as_str()) {
            Some((code, seconds, text)) => {
                let verdict = Verdict::of(Ok(question.judge(*code, text)));
                question.outcome(Some(moment), verdict, *seconds)
            }
            None => {
                let why = "the image did not answer; it needs base64, timeout and systemctl";
                question.outcome(Some(moment), Verdict::Unclear(why.to_owned()), 0.0)
            }
        });
    }
    all
}

/// What the script says of one question: exit code, seconds, text.
type Said = (i32, f64, Vec<u8>);

/// A line of the answer, by the question's number.
fn read(line: &str) -> Option<(&str, Said)> {
    let mut words = line.split(' ');
    let (number, code, time) = (words.next()?, words.next()?, words.next()?);
    let text = STANDARD.decode(words.next().unwrap_or_default()).ok()?;
    let seconds = time.parse::<f64>().ok()? / 1000.0;
    Some((number, (code.parse().ok()?, seconds, text)))
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
