//! docs/config.md.

use super::text;
use crate::config::row::{Group, Kind, Row, Scripts, Secrecy};
use crate::config::rows;

const BEGINNING: &str = r#"# Settings

<!-- Made of the table in src/config/table by `cargo run --example settings`; a test compares. -->

`config` in the directory where the program is started is a bash fragment and is sourced by bash;
`config.toml` says the same in TOML. `-c FILE` names a file that is read after it, in either form;
several of them are several images. Precedence: `--set KEY=VALUE`, the environment, the file given
with `-c`, `config`, default. `config.example` shows every key; `westwork-gen schema` prints a JSON
Schema of `config.toml` for editors.

A key that is not listed here is an error, unless it is exported (`export FLAVOUR=plain`): then
scripts of stages find it in their environment.

"#;

const SECRETS: &str = r#"## Secrets

Keys marked "secret" below, and exported names with a word such as PASS, SECRET, TOKEN, PSK, KEY,
CREDENTIAL or PRIVATE in them, are written nowhere but where a script puts them: not into the log,
the build record, the output of `why`, or the description of a layer. What a layer was made from
has a keyed hash in their place. The key of that hash is random, is made by the first build and
lies in `WORK_DIR` (mode 0600). An address with a user or password before the `@` is treated the
same way. A layer that depends on such a value, and every layer above it, is not given to a shared
cache: other machines make their own.

"#;

/// The text of docs/config.md.
pub fn docs() -> String {
    let mut all = BEGINNING.to_owned() + SECRETS;
    for group in Group::ALL {
        all += &format!("## {}\n\n", group.heading());
        all += "| key | value | default | meaning |\n|---|---|---|---|\n";
        for row in rows().filter(|row| row.facts.group == group) {
            all += &line(row);
        }
        all += "\n";
    }
    all.truncate(all.trim_end().len());
    all + "\n"
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
