//! `explain`: what a key, a variable, a step or a message is.

mod messages;

use super::{plan, request};
use crate::base::problem::{Problem, Problems};
use crate::check;
use crate::cli::ConfigArgs;
use crate::config::describe::text;
use crate::config::row::{Kind, Row, Secrecy};
use crate::config::variables::Variable;
use crate::config::{self, Config, Settings};
use crate::plan::Plan;
use crate::plan::step::{Step, StepKind};
use anyhow::Result;
use std::fs;

/// Prints what `words` are.
///
/// # Errors
/// [`Problems`] when they are nothing that is known.
pub(super) fn explain(args: &ConfigArgs, words: &[String]) -> Result<u8> {
    let text = words.join(" ");
    let text = text.trim();
    if let Some(row) = config::row(text).or_else(|| config::row(&text.to_ascii_uppercase())) {
        print!("{}", of_key(row));
        return Ok(0);
    }
    let settings = Settings::read(&request(args)?);
    let loaded = settings.judge().config;
    let variables = loaded.as_ref().map_or(&[][..], |config| &config.variables);
    if let Some(variable) = variables.iter().find(|one| one.name == text) {
        print!("{}", of_variable(variable));
        return Ok(0);
    }
    let tree = loaded.as_ref().map(|config| Plan::discover(config).0);
    let steps = tree
        .as_ref()
        .map_or_else(Vec::new, |plan| named(plan, text));
    if !steps.is_empty() {
        for step in &steps {
            print!("{}", of_step(step, loaded.as_ref()));
        }
        print!("{}", why(args, &settings, text));
        return Ok(0);
    }
    of_message(text, variables)
}

fn of_key(row: &Row) -> String {
    let facts = &row.facts;
    let kind = match facts.kind {
        Kind::Text => "text".to_owned(),
        Kind::Flag => "0 or 1".to_owned(),
        Kind::Number(low, high) => format!("a number from {low} to {high}"),
        Kind::Size => "bytes, with K, M or G for powers of 1024".to_owned(),
        Kind::Date => "YYYY-MM-DD".to_owned(),
        Kind::Url => "an http or https address".to_owned(),
        Kind::Path => "a path".to_owned(),
        Kind::OneOf(words) => format!("one of {}", words.join(", ")),
        Kind::SomeOf(words) => format!("some of {}, with spaces between them", words.join(", ")),
        Kind::List => "words with spaces between them; in TOML also an array".to_owned(),
    };
    let mut lines = vec![
        format!(
            "{} is a key of the config ({})",
            row.name,
            facts.group.heading()
        ),
        format!("  {}", text(row.help)),
        format!("  value: {kind}"),
    ];
    if !facts.default.is_empty() {
        lines.push(format!("  default: {}", facts.default));
    }
    if !facts.example.is_empty() {
        lines.push(format!("  example: {}={}", row.name, facts.example));
    }
    if facts.secrecy == Secrecy::Secret {
        lines.push("  It is a secret: nothing that the program writes has it.".to_owned());
    }
    lines.push(format!(
        "  Set it in `config`, in `config.toml`, in the environment, or with --set {}=…",
        row.name
    ));
    lines.join("\n") + "\n"
}

fn of_variable(variable: &Variable) -> String {
    let declared = &variable.declared;
    let mut lines = vec![
        format!(
            "{} is a variable of a stage ({}:{})",
            variable.name,
            variable.file.display(),
            variable.line
        ),
        format!("  {}", declared.help.trim().replace('\n', "\n  ")),
        format!("  type: {}", declared.kind),
    ];
    let allowed = variable.allowed();
    if !allowed.is_empty() {
        lines.push(format!("  allowed: {allowed}"));
    }
    if let Some(default) = &declared.default {
        lines.push(format!("  default: {}", default.text()));
    }
    if declared.required {
        lines.push("  It must be set.".to_owned());
    }
    if declared.secret {
        lines.push("  It is a secret: nothing that the program writes has it.".to_owned());
    } else if let Some(value) = &variable.value {
        lines.push(format!("  now: {value}"));
    }
    lines.join("\n") + "\n"
}

/// The step of this name, or those of the stage or sub-stage.
fn named<'a>(plan: &'a Plan, text: &str) -> Vec<&'a Step> {
    let name = text.trim_end_matches('/');
    let below = format!("{name}/");
    let is_it = |step: &&Step| step.name == name || step.name.starts_with(&below);
    plan.steps().filter(is_it).collect()
}

fn of_step(step: &Step, config: Option<&Config>) -> String {
    let mut lines = vec![
        format!("{}: {}", step.name, what(step.kind)),
        format!("  {}", step.path.display()),
    ];
    let text = match step.kind {
        StepKind::Patches => fs::read(step.path.join("series")),
        _ => fs::read(&step.path),
    };
    let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
    let does = does(step.kind, &text);
    if !does.is_empty() {
        lines.push(format!("  {does}"));
    }
    let keys = config::rows().map(|row| row.name);
    let own = config.map_or(&[][..], |config| &config.variables);
    let names = keys.chain(own.iter().map(|one| one.name.as_str()));
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words: Vec<&str> = text.split(|c| !word(c)).collect();
    let read: Vec<&str> = names.filter(|name| words.contains(name)).collect();
    if !read.is_empty() {
        lines.push(format!("  names the settings {}", read.join(", ")));
    }
    lines.join("\n") + "\n"
}

fn what(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Prerun => "a script on the build machine, the first step of its stage",
        StepKind::Debconf => "answers for debconf, given before packages are installed",
        StepKind::PackagesNoRecommends => "packages, installed without those they recommend",
        StepKind::PackagesNonInteractive | StepKind::Packages => {
            "packages, installed with those they recommend"
        }
        StepKind::Patches => "patches, applied with quilt",
        StepKind::RunHost => {
            "a script on the build machine, which changes the image below ROOTFS_DIR"
        }
        StepKind::RunChroot => "a script in the image",
    }
}

/// What a step's text says that it does: a script's first comment, a list's lines.
fn does(kind: StepKind, text: &str) -> String {
    let is_comment = |line: &&str| line.starts_with('#');
    let lines = text.lines().map(str::trim);
    let found: Vec<&str> = match kind {
        StepKind::Prerun | StepKind::RunHost | StepKind::RunChroot => lines
            .skip_while(|line| {
                line.starts_with("#!") || line.starts_with("# inputs:") || line.is_empty()
            })
            .take_while(is_comment)
            .map(|line| line.trim_start_matches('#').trim())
            .collect(),
        _ => lines
            .filter(|line| !is_comment(line) && !line.is_empty())
            .collect(),
    };
    found.join(" ")
}

/// Why it runs or not; where a schedule cannot be made, what to ask.
fn why(args: &ConfigArgs, settings: &Settings, at: &str) -> String {
    let text = check::plan(settings).and_then(|_| plan::why_text(args, at.trim_end_matches('/')));
    text.unwrap_or_else(|_| {
        "`westwork-gen check` says what stands in the way of a build\n".to_owned()
    })
}

fn of_message(text: &str, variables: &[Variable]) -> Result<u8> {
    let found = messages::find(text);
    if let Some(message) = found {
        println!("why: {}\nwhat helps: {}", message.cause, message.remedy);
    }
    let word = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let mut keys = Vec::new();
    for name in text.split(|c| !word(c)) {
        if !keys.contains(&name) && text != name {
            if let Some(row) = config::row(name) {
                print!("{}", of_key(row));
                keys.push(name);
            } else if let Some(one) = variables.iter().find(|one| one.name == name) {
                print!("{}", of_variable(one));
                keys.push(name);
            }
        }
    }
    if found.is_some() || !keys.is_empty() {
        return Ok(0);
    }
    let what = format!("nothing is known of {text:?}");
    let remedy = match config::nearest(text) {
        Some(key) => format!("did you mean {key}?"),
        None => {
            "name a key, a variable or a step as `westwork-gen plan` and config.example have it, \
                 or the text of a message in quotes"
                .to_owned()
        }
    };
    Err(Problems(vec![Problem::new(what, remedy)]).into())
}
