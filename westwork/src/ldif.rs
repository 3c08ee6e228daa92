//! Text for the directory: names (RFC 4514), filters (RFC 4515) and LDIF (RFC 2849).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A value inside a distinguished name.
pub(crate) fn dn_value(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut out = String::new();
    for (at, c) in value.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => out.extend(['\\', c]),
            '#' | ' ' if at == 0 => out.extend(['\\', c]),
            ' ' if at == last => out.push_str("\\ "),
            c if c.is_ascii_control() => out.push_str(&format!("\\{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// A value inside a search filter.
pub(crate) fn filter_value(value: &str) -> String {
    let mut out = String::new();
    for c in value.chars() {
        match c {
            '*' | '(' | ')' | '\\' | '\0' => out.push_str(&format!("\\{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// One `attribute: value` line, in base64 wherever RFC 2849 does not call the value safe.
pub(crate) fn line(attribute: &str, value: &str) -> String {
    let safe = |byte: u8| (0x20..0x7f).contains(&byte);
    let plain =
        value.bytes().all(safe) && !value.starts_with([' ', ':', '<']) && !value.ends_with(' ');
    if plain {
        format!("{attribute}: {value}\n")
    } else {
        format!("{attribute}:: {}\n", STANDARD.encode(value))
    }
}

/// An entry with its blank line.
pub(crate) fn entry(dn: &str, attributes: &[(&str, &str)]) -> String {
    let lines: String = attributes
        .iter()
        .map(|(name, value)| line(name, value))
        .collect();
    format!("{}{lines}\n", line("dn", dn))
}

/// The entries of LDIF text as attributes and values; comments are left out. Values that are not
/// UTF-8 lose what is not.
pub(crate) fn parse(text: &str) -> Vec<Vec<(String, String)>> {
    let unfolded = text.replace("\r\n", "\n").replace("\n ", "");
    let entries = unfolded
        .split("\n\n")
        .map(|block| block.lines().filter_map(parse_line).collect::<Vec<_>>());
    entries.filter(|entry| !entry.is_empty()).collect()
}

fn parse_line(line: &str) -> Option<(String, String)> {
    let (name, rest) = line.split_once(':').filter(|_| !line.starts_with('#'))?;
    let value = match rest.strip_prefix(':') {
        Some(encoded) => {
            String::from_utf8_lossy(&STANDARD.decode(encoded.trim()).ok()?).into_owned()
        }
        None => rest.strip_prefix(' ').unwrap_or(rest).to_owned(),
    };
    Some((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_special_is_escaped() {
        assert_eq!(
            dn_value(" a,b=c+\"d\"\\ "),
            "\\ a\\,b\\=c\\+\\\"d\\\"\\\\\\ "
        );
        assert_eq!(dn_value("#x"), "\\#x");
        assert_eq!(filter_value("*)(uid=*"), "\\2a\\29\\28uid=\\2a");
        assert_eq!(line("cn", "Ada"), "cn: Ada\n");
        assert_eq!(
            line("cn", "x\nuserPassword: y"),
            "cn:: eAp1c2VyUGFzc3dvcmQ6IHk=\n"
        );
    }

    proptest! {
        #[test]
        fn any_value_comes_back_as_one_attribute(value in any::<String>(), other in any::<String>()) {
            let text = entry("cn=x", &[("cn", &value), ("sn", &other)]);
            let expected = vec![("dn".to_owned(), "cn=x".to_owned()), ("cn".to_owned(), value), ("sn".to_owned(), other)];
            prop_assert_eq!(parse(&text), vec![expected]);
        }

        #[test]
        fn nothing_ends_a_name_or_filter_early(value in any::<String>()) {
            let name = dn_value(&value);
            let mut escaped = false;
            for c in name.chars() {
                prop_assert!(escaped || !",+;<>\"=\n\0".contains(c));
                escaped = c == '\\' && !escaped;
            }
            prop_assert!(!escaped);
            prop_assert!(!filter_value(&value).contains(['*', '(', ')', '\0']));
        }
    }
}
