//! The table of settings for people and for editors: config.example, docs/config.md, and the
//! schema of config.toml.

mod docs;
mod example;
mod schema;

pub use docs::docs;
pub use example::example;
pub use schema::schema;

/// `value` as bash takes it.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+./:,@%".contains(c);
    if value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("'{value}'")
    }
}

/// A row's text on one line.
pub fn text(help: &[&str]) -> String {
    let lines: Vec<_> = help.iter().map(|line| line.trim()).collect();
    lines.join(" ")
}

#[cfg(test)]
mod tests;
