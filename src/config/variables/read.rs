//! From `variables.toml` to declarations, each with its line.

use super::{Declared, FILE, RESERVED, Type, Variable};
use crate::base::problem::Problem;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The variables of these stages, each once; none of them has a value yet. `is_key` knows the keys
/// of the config.
pub(in crate::config) fn of_stages(
    stages: &[PathBuf],
    is_key: fn(&str) -> bool,
    problems: &mut Vec<Problem>,
) -> Vec<Variable> {
    let mut found: Vec<Variable> = Vec::new();
    for dir in stages {
        for variable in of_file(&dir.join(FILE), is_key, problems) {
            match found.iter().find(|other| other.name == variable.name) {
                None => found.push(variable),
                Some(other) if other.declared == variable.declared => {}
                Some(other) => problems.push(
                    Problem::new(
                        format!(
                            "{} is not what {} says of it",
                            variable.name,
                            other.file.display()
                        ),
                        "say the same in both, or give one of them another name",
                    )
                    .at(&variable.file)
                    .line(variable.line),
                ),
            }
        }
    }
    found
}

fn of_file(path: &Path, is_key: fn(&str) -> bool, problems: &mut Vec<Problem>) -> Vec<Variable> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            problems.push(Problem::unreadable(path, &error));
            return Vec::new();
        }
    };
    let tables: BTreeMap<String, Declared> = match toml::from_str(&text) {
        Ok(tables) => tables,
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..at]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
            let what = error.message().trim().replace('\n', " ");
            problems.push(
                Problem::new(
                    what,
                    "write a table for each variable: [NAME], then help = \"…\" and type = \"text\"",
                )
                .at(path)
                .line(line + 1),
            );
            return Vec::new();
        }
    };
    let mut variables = Vec::new();
    for (name, declared) in tables {
        let line = line_of(&text, &name, None);
        match fault(&name, &declared, is_key) {
            None => variables.push(Variable {
                name,
                file: path.to_owned(),
                line,
                declared,
                value: None,
                set: false,
            }),
            Some((key, what, remedy)) => {
                let line = line_of(&text, &name, key);
                problems.push(
                    Problem::new(format!("{name}: {what}"), remedy)
                        .at(path)
                        .line(line),
                );
            }
        }
    }
    variables
}

/// Line, from 1, of a variable's table, or of a key in it.
fn line_of(text: &str, name: &str, key: Option<&str>) -> usize {
    let mut lines = (1..).zip(text.lines().map(str::trim));
    let header = |line: &str| {
        let inner = line
            .strip_prefix('[')
            .and_then(|line| line.split(']').next());
        inner.is_some_and(|inner| inner.trim().trim_matches('"') == name)
            || line
                .strip_prefix(name)
                .is_some_and(|rest| rest.trim_start().starts_with(['=', '.']))
    };
    let Some((start, _)) = lines.find(|(_, line)| header(line)) else {
        return 1;
    };
    let Some(key) = key else { return start };
    lines
        .take_while(|(_, line)| !line.starts_with('['))
        .find(|(_, line)| line.starts_with(key))
        .map_or(start, |(line, _)| line)
}

/// The key that is wrong, what is wrong, and the remedy.
type Wrong = (Option<&'static str>, String, &'static str);

/// What is wrong with a declaration in itself.
fn fault(name: &str, declared: &Declared, is_key: fn(&str) -> bool) -> Option<Wrong> {
    let found = of_name(name, is_key)
        .or_else(|| of_form(declared))
        .or_else(|| of_default(declared));
    if let Some((key, what, remedy)) = found {
        return Some((key, what.to_owned(), remedy));
    }
    if let Some(Err(error)) = declared.pattern.as_deref().map(super::judge::whole) {
        let error = error.to_string();
        let last = error.lines().last().unwrap_or_default().trim();
        let what = format!("has a pattern that is no regular expression ({last})");
        return Some((Some("pattern"), what, "correct the pattern"));
    }
    let default = declared.default.as_ref()?.text();
    let (what, remedy) = super::judge::value(declared, &default).err()?;
    Some((
        Some("default"),
        format!("has a default that it may not have: {what}; {remedy}"),
        "correct the default",
    ))
}

type Known = (Option<&'static str>, &'static str, &'static str);

fn of_name(name: &str, is_key: fn(&str) -> bool) -> Option<Known> {
    let upper = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if !name.starts_with(|c: char| c.is_ascii_uppercase()) || !name.bytes().all(upper) {
        let remedy = "write capital letters, digits and _, such as MQTT_HOST";
        return Some((None, "is no name for a variable", remedy));
    }
    if is_key(name) {
        let remedy = "take it out; scripts find the key's value without it";
        return Some((None, "is a key of the config", remedy));
    }
    if RESERVED.contains(&name) {
        let remedy = "choose another name, such as one that begins with your stage's";
        return Some((None, "has a meaning of its own in scripts", remedy));
    }
    None
}

/// What of the form does not go with the type.
fn of_form(declared: &Declared) -> Option<Known> {
    if declared.help.trim().is_empty() {
        let remedy = "say what it does in a sentence";
        return Some((Some("help"), "has no help", remedy));
    }
    if declared.kind != Type::Number && (declared.min.is_some() || declared.max.is_some()) {
        let key = if declared.min.is_some() { "min" } else { "max" };
        let remedy = "take them out, or write type = \"number\"";
        return Some((Some(key), "is no number, so it has no bounds", remedy));
    }
    if declared
        .min
        .zip(declared.max)
        .is_some_and(|(min, max)| min > max)
    {
        let remedy = "correct one of the two";
        return Some((Some("min"), "has a min above its max", remedy));
    }
    let texts = matches!(declared.kind, Type::Text | Type::List | Type::Url);
    let remedy = "take it out, or write type = \"text\"";
    if !texts && declared.pattern.is_some() {
        return Some((Some("pattern"), "is no text, so it has no pattern", remedy));
    }
    if !texts && !declared.values.is_empty() {
        let what = "is no text, so it has no list of values";
        return Some((Some("values"), what, remedy));
    }
    None
}

/// What does not go with a default.
fn of_default(declared: &Declared) -> Option<Known> {
    declared.default.as_ref()?;
    if declared.required {
        let what = "is required and has a default";
        return Some((Some("required"), what, "leave out one of the two"));
    }
    if declared.secret {
        let what = "is a secret and has a default, which all can read";
        return Some((Some("default"), what, "take the default out"));
    }
    None
}
