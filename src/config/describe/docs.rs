//! The keys in docs/config.md.

use super::text;
use crate::config::row::{Group, Kind, Row, Scripts, Secrecy};
use crate::config::rows;

/// Between these lines of docs/config.md the keys stand; all else there is written by hand.
const BEGIN: &str =
    "<!-- keys: made of the table in src/config/table by `cargo run --example settings` -->\n";
const END: &str = "<!-- end of keys -->";

/// `text`, which is docs/config.md, with the keys as the table has them; `None` if the lines
/// between which they stand are missing.
pub fn docs(text: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some([before, BEGIN, &keys(), END, after].concat())
}

/// A table a group.
fn keys() -> String {
    let mut all = "\n".to_owned();
    for group in Group::ALL {
        all += &format!("### {}\n\n", group.heading());
        all += "| key | value | default | meaning |\n|---|---|---|---|\n";
        for row in rows().filter(|row| row.facts.group == group) {
            all += &line(row);
        }
        all += "\n";
    }
    all
}

fn line(row: &Row) -> String {
    let default = match row.facts.default {
        "" => String::new(),
        default => format!("`{default}`"),
    };
    let mut meaning = text(row.help).replace('|', "\\|");
    if row.facts.secrecy == Secrecy::Secret {
        meaning += " (secret)";
    }
    if row.facts.scripts == Scripts::No {
        meaning += " Scripts do not find it.";
    }
    format!(
        "| `{}` | {} | {default} | {meaning} |\n",
        row.name,
        form(row.facts.kind)
    )
}

fn form(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Flag => "0 or 1".to_owned(),
        Kind::Number(low, i64::MAX) => format!("a number, {low} or more"),
        Kind::Number(low, high) => format!("a number, {low} to {high}"),
        Kind::Size => "a size, such as 64M".to_owned(),
        Kind::Date => "YYYY-MM-DD".to_owned(),
        Kind::Url => "http:// or https://".to_owned(),
        Kind::Path => "a path".to_owned(),
        Kind::OneOf(words) => words.join(", "),
        Kind::SomeOf(words) => format!("one or more of {}", words.join(", ")),
        Kind::List => "a list".to_owned(),
    }
}
