//! What each kind of value must look like. Each function takes the text and says what is
//! wrong with it and what to write instead.

use super::nearest::nearest_of;
use crate::base::size::parse_size;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What is wrong, and the remedy.
pub(super) type Fault = (String, String);

pub(super) fn fault(what: impl Into<String>, remedy: impl Into<String>) -> Fault {
    (what.into(), remedy.into())
}

/// `0`, `1`, and the words people write for them; empty is no.
pub(super) fn flag(text: &str) -> Result<bool, Fault> {
    match text.to_ascii_lowercase().as_str() {
        "" | "0" | "no" | "false" => Ok(false),
        "1" | "yes" | "true" => Ok(true),
        _ => Err(fault(format!("{text} is neither 0 nor 1"), "write 0 or 1")),
    }
}

/// One of several words.
pub(super) fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, Fault> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let remedy = match nearest_of(text, known.iter().copied()) {
        Some(word) => format!("did you mean {word}? (one of {})", known.join(", ")),
        None => format!("write one of {}", known.join(", ")),
    };
    Err(fault(format!("{text} is not known"), remedy))
}

/// A number of bytes with K, M or G after it (powers of 1024).
pub(super) fn size(text: &str) -> Result<u64, Fault> {
    parse_size(text).map_err(|_| {
        fault(
            format!("{text} is not a size"),
            "write a number with K, M or G, such as 512M",
        )
    })
}

/// An address apt can fetch from.
pub(super) fn url(text: &str) -> Result<(), Fault> {
    let host = ["http://", "https://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    match host {
        Some(host)
            if !host.is_empty() && !text.contains(char::is_whitespace) && !text.contains('"') =>
        {
            Ok(())
        }
        _ => Err(fault(
            format!("{text} is not a web address"),
            "write http://… or https://…",
        )),
    }
}

/// Part of a file name.
pub(super) fn file_name(text: &str) -> Result<(), Fault> {
    let bad = |c: char| c == '/' || c.is_whitespace() || c.is_control();
    match text.chars().find(|c| bad(*c)) {
        Some(c) => Err(fault(
            format!("{text:?} has {c:?} in it, which a file name here cannot have"),
            "use letters, digits, dots and dashes",
        )),
        None if text.starts_with(['.', '-']) => Err(fault(
            format!("{text} begins with a dot or a dash"),
            "begin with a letter",
        )),
        None => Ok(()),
    }
}

/// A Linux program for the target.
pub(super) fn program(path: &Path) -> Result<PathBuf, Fault> {
    let mut magic = [0; 4];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    if read.is_ok() && magic == *b"\x7fELF" {
        return Ok(path.to_owned());
    }
    Err(fault(
        format!("{} is no Linux program", path.display()),
        "correct the path, or leave the key out to have the program compiled",
    ))
}

/// Seconds since 1970.
pub(super) fn seconds(text: &str) -> Result<i64, Fault> {
    text.parse().map_err(|_| {
        fault(
            format!("{text} is not a number of seconds"),
            "write seconds since 1970, such as $(date +%s)",
        )
    })
}

/// `YYYY-MM-DD`.
pub(super) fn date(text: &str) -> Result<(), Fault> {
    match text.parse::<jiff::civil::Date>() {
        Ok(_) => Ok(()),
        Err(_) => Err(fault(format!("{text} is not a date"), "write YYYY-MM-DD")),
    }
}

/// An OpenPGP fingerprint; spaces between its groups are those of printed ones.
pub(super) fn fingerprint(text: &str) -> Result<String, Fault> {
    let digits: String = text.split_ascii_whitespace().collect();
    if digits.len() == 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(digits.to_ascii_uppercase());
    }
    Err(fault(
        format!("{text} is not a key's fingerprint"),
        "write all of its 40 hexadecimal digits, as `gpg --show-keys FILE` prints them",
    ))
}

/// A file that can be read.
pub(super) fn readable(path: &Path) -> Result<PathBuf, Fault> {
    match File::open(path) {
        Ok(_) if path.is_file() => Ok(path.to_owned()),
        Ok(_) => Err(fault(
            format!("{} is not a file", path.display()),
            "correct the path",
        )),
        Err(error) => Err(fault(
            format!("{} cannot be read: {error}", path.display()),
            "correct the path",
        )),
    }
}

/// A whole number from `LOW` to `HIGH`.
pub(super) fn number<const LOW: u32, const HIGH: u32>(text: &str) -> Result<u32, Fault> {
    match text.parse() {
        Ok(number) if (LOW..=HIGH).contains(&number) => Ok(number),
        _ => Err((
            format!("{text} is none of the numbers that it can be"),
            format!("write one from {LOW} to {HIGH}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::releases::{country, names};
    use crate::config::people::{host_name, user};

    fn user_name(text: &str) -> Result<(), Fault> {
        user(names("trixie"), text)
    }

    #[test]
    fn good_values_pass_and_bad_ones_do_not() {
        let good = [
            url("http://m.example/debian").is_ok(),
            user_name("anna-b_2").is_ok(),
            host_name("a.b-c").is_ok(),
            country("GB").is_ok(),
            file_name("My-Image_1.0").is_ok(),
            date("2026-02-28").is_ok(),
            fingerprint("CF8A 1AF5 02A2 AA2D 763B  AE7E 82B1 2992 7FA3 303E").is_ok(),
        ];
        assert_eq!(good, [true; 7]);
        let bad = [
            url("ftp://x").is_ok(),
            user_name("Anna").is_ok(),
            user_name("root").is_ok(),
            user_name("nobody").is_ok(),
            host_name("-a").is_ok(),
            country("UK").is_ok(),
            file_name("a b").is_ok(),
            date("2026-02-30").is_ok(),
            fingerprint("82B129927FA3303E").is_ok(),
            number::<1, 600>("0").is_ok(),
        ];
        assert_eq!(bad, [false; 10]);
    }
}
