//! What a value must look like to stand in a file of a certain format.
//!
//! | file | where `{{x}}` may stand | what happens to the value |
//! |---|---|---|
//! | `.php` | between single quotes | `\` and `'` are escaped |
//! | `.yaml` `.yml` `.json` `.toml` | between double quotes | escaped as in JSON |
//! | `.html` | text, quoted attributes | escaped as HTML |
//! | every other | anywhere | refused unless it is letters, digits, space and `. _ @ : / + = , -` |
//!
//! So a value never begins a comment, a directive, a variable or a second line in nginx, dovecot,
//! postfix, slapd, nftables, hostapd, dnsmasq or a shell.

use crate::mustache::Escape;
use std::path::Path;

/// The escape for the file that a template becomes.
pub fn escape_for(target: &Path) -> Escape {
    match target.extension().and_then(|extension| extension.to_str()) {
        Some("php") => php,
        Some("yaml" | "yml" | "json" | "toml") => double_quoted,
        Some("html") => html,
        _ => plain,
    }
}

/// Escapes text and quoted attributes of HTML.
pub fn html(value: &str) -> Result<String, String> {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    Ok(out)
}

fn plain(value: &str) -> Result<String, String> {
    match value
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || " ._@:/+=,-".contains(*c)))
    {
        Some(c) => Err(format!("has {c:?}, which this file's format cannot hold")),
        None => Ok(value.to_owned()),
    }
}

fn php(value: &str) -> Result<String, String> {
    no_control(value)?;
    Ok(value.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn double_quoted(value: &str) -> Result<String, String> {
    no_control(value)?;
    Ok(value.replace('\\', "\\\\").replace('"', "\\\""))
}

fn no_control(value: &str) -> Result<(), String> {
    match value.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!("has the control character {c:?}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_refuses_or_escapes_what_is_special_in_it() {
        let escape = |file: &str, value: &str| escape_for(Path::new(file))(value);
        for evil in [
            "a;b", "a\nb", "$a", "a{b", "a}b", "a#b", "a\"b", "a'b", "a\\b", "`a`", "a%b", "ü",
        ] {
            assert!(escape("nginx.conf", evil).is_err(), "{evil:?}");
        }
        assert_eq!(escape("nginx.conf", "example.org").unwrap(), "example.org");
        assert_eq!(escape("config.inc.php", r"O'Neil\").unwrap(), r"O\'Neil\\");
        assert_eq!(escape("homeserver.yaml", r#"a"b\"#).unwrap(), r#"a\"b\\"#);
        assert!(escape("homeserver.yaml", "a\nb").is_err());
        assert_eq!(
            escape("index.html", "<a b='c'>").unwrap(),
            "&lt;a b=&#39;c&#39;&gt;"
        );
    }
}
