//! config.example.

use super::{quoted, text};
use crate::config::row::{Group, Row};
use crate::config::rows;

const WIDTH: usize = 80;

const BEGINNING: &str = r##"# westwork-gen build configuration.
#
#     cp config.example config && $EDITOR config
#
# A bash fragment: it is sourced by bash, so quote values with spaces, and write
# no spaces around "=". A line with a leading "#" shows the key's default, or an
# example where there is none. What is exported here under any other name is
# handed on to the stages' scripts.
# Precedence: command line, environment, the file given with -c, ./config,
# default.
"##;

/// The text of config.example: every key with its meaning and its default.
pub fn example() -> String {
    let mut all = BEGINNING.to_owned();
    for group in Group::ALL {
        let heading = format!("# ── {} ", group.heading());
        let rest = WIDTH - heading.chars().count();
        all += &format!("\n{heading}{}\n", "─".repeat(rest));
        for row in rows().filter(|row| row.facts.group == group) {
            all += &entry(row);
        }
    }
    all
}

fn entry(row: &Row) -> String {
    let mut lines = String::from("\n");
    let mut line = String::from("#");
    for word in text(row.help).split(' ') {
        if line.chars().count() + 1 + word.chars().count() > WIDTH - 1 {
            lines += &format!("{line}\n");
            line = String::from("#");
        }
        line += " ";
        line += word;
    }
    let (default, example) = (row.facts.default, row.facts.example);
    let value = if default.is_empty() {
        example.to_owned()
    } else {
        quoted(default)
    };
    // The one key that must be set.
    let mark = if row.name == "IMG_NAME" { "" } else { "#" };
    format!("{lines}{line}\n{mark}{}={value}\n", row.name)
}
