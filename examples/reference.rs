//! Writes the pages of the documentation that the program says of itself: `DIR/commands.md`,
//! `DIR/tests.md` and `DIR/events.md`, by the command line's description and by what `westwork-gen
//! schema tests` and `westwork-gen schema events` have printed into `DIR/tests.json` and
//! `DIR/events.json`.

use clap::{Arg, Command, CommandFactory};
use serde_json::Value;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use westwork_gen::cli::Cli;

fn main() -> io::Result<()> {
    let usage = || io::Error::other("usage: cargo run --example reference -- DIR");
    let dir = std::env::args_os().nth(1).map(PathBuf::from);
    let dir = dir.ok_or_else(usage)?;
    std::fs::create_dir_all(&dir)?;
    let mut cli = Cli::command();
    cli.build();
    let mut commands =
        "# Commands\n\nWhat `westwork-gen help` says, for every command.\n".to_owned();
    for command in cli.get_subcommands().filter(|c| !c.is_hide_set()) {
        describe_command(command, "westwork-gen", &mut commands);
    }
    std::fs::write(dir.join("commands.md"), commands)?;
    let pages = [
        ("Expectations of an image", "tests"),
        ("All events", "events"),
    ];
    for (title, name) in pages {
        let schema = std::fs::read(dir.join(format!("{name}.json")))?;
        let schema = serde_json::from_slice(&schema)?;
        let mut page = format!(
            "# {title}\n\nMade of the JSON Schema that `westwork-gen schema {name}` prints.\n"
        );
        describe_schema(&schema, &mut page);
        std::fs::write(dir.join(format!("{name}.md")), page)?;
    }
    Ok(())
}

/// A command and those within it. Text that looks like HTML is put as text.
fn describe_command(command: &Command, before: &str, page: &mut String) {
    let name = format!("{before} {}", command.get_name());
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(page, "\n## {name}\n\n{}\n", escaped(&about));
    let usage = command.clone().render_usage().to_string();
    let _ = writeln!(page, "```text\n{}\n```\n", usage.trim());
    let told = command.get_arguments().filter(|arg| !arg.is_hide_set());
    for arg in told.filter(|arg| arg.get_id() != "help") {
        let help = arg.get_long_help().or(arg.get_help());
        let help = help.map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(
            page,
            "- `{}`: {}",
            words_of(arg),
            escaped(&help).replace('\n', "\n  ")
        );
    }
    for inner in command
        .get_subcommands()
        .filter(|c| !c.is_hide_set() && c.get_name() != "help")
    {
        describe_command(inner, &name, page);
    }
}

/// How an option is written.
fn words_of(arg: &Arg) -> String {
    let values = arg.get_value_names().unwrap_or_default().join(" ");
    let takes = arg.get_action().takes_values();
    match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) if takes => format!("-{short}, --{long} {values}"),
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (None, Some(long)) if takes => format!("--{long} {values}"),
        (None, Some(long)) => format!("--{long}"),
        (Some(short), None) => format!("-{short} {values}"),
        (None, None) => values,
    }
}

/// A schema, and every one that it names.
fn describe_schema(schema: &Value, page: &mut String) {
    if let Some(text) = schema["description"].as_str() {
        let _ = writeln!(page, "\n{}", escaped(text));
    }
    describe_fields(schema, page);
    for (name, inner) in schema["$defs"].as_object().into_iter().flatten() {
        let text = inner["description"].as_str().unwrap_or_default();
        let _ = writeln!(page, "\n## {name}\n\n{}", escaped(text));
        describe_fields(inner, page);
    }
}

/// The fields of an object, or of each form that it may have.
fn describe_fields(schema: &Value, page: &mut String) {
    let fields = schema["properties"].as_object();
    if fields.is_some_and(|fields| !fields.is_empty()) {
        let _ = writeln!(page, "\n| field | what it is | type |\n|---|---|---|");
    }
    for (name, field) in fields.into_iter().flatten() {
        let text = field["description"].as_str().unwrap_or_default();
        let _ = writeln!(
            page,
            "| `{name}` | {} | {} |",
            escaped(text).replace('\n', " ").replace('|', "\\|"),
            kind_of(field)
        );
    }
    for form in ["oneOf", "anyOf"] {
        for choice in schema[form].as_array().into_iter().flatten() {
            let text = choice["description"].as_str().unwrap_or_default();
            if let Some(word) = choice["const"].as_str() {
                let _ = writeln!(page, "- `{word}`: {}", escaped(text));
            } else if choice["properties"].is_object() {
                let _ = writeln!(page, "\n{}", escaped(text));
                describe_fields(choice, page);
            }
        }
    }
}

/// The type of a field in a few words, with a link where it is described on the same page.
fn kind_of(field: &Value) -> String {
    if let Some(word) = field["const"].as_str() {
        return format!("`{word}`");
    }
    if let Some(name) = field["$ref"]
        .as_str()
        .and_then(|path| path.rsplit('/').next())
    {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    for form in ["oneOf", "anyOf"] {
        if let Some(choices) = field[form].as_array() {
            let kinds: Vec<_> = choices.iter().map(kind_of).collect();
            return kinds.join(" or ");
        }
    }
    match &field["type"] {
        Value::String(kind) if kind == "array" => format!("list of {}", kind_of(&field["items"])),
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => {
            let kinds: Vec<_> = kinds.iter().filter_map(Value::as_str).collect();
            kinds.join(" or ")
        }
        _ => "any".to_owned(),
    }
}

fn escaped(text: &str) -> String {
    text.replace('<', "&lt;").replace('>', "&gt;")
}
