//! Public SSH keys as authorized_keys(5) has them.

use super::values::{Fault, fault};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Beginnings of the names of kinds that OpenSSH takes.
const KINDS: [&str; 3] = ["ssh-", "ecdsa-sha2-", "sk-"];

/// One or more lines of authorized_keys: keys, options before them, comments.
pub(super) fn public_keys(text: &str) -> Result<(), Fault> {
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .peekable();
    if lines.peek().is_none() {
        return Err(no_key());
    }
    lines.try_for_each(line)
}

fn no_key() -> Fault {
    fault(
        "this is not a public SSH key",
        "paste the line of your id_ed25519.pub",
    )
}

fn line(line: &str) -> Result<(), Fault> {
    let is_kind = |word: &str| KINDS.iter().any(|start| word.starts_with(start));
    let first = first_word(line);
    let key = if is_kind(first) {
        line
    } else {
        line[first.len()..].trim_start()
    };
    let mut words = key.split_whitespace();
    let (Some(kind), Some(data)) = (words.next().filter(|word| is_kind(word)), words.next()) else {
        return Err(no_key());
    };
    if kind == "ssh-dss" {
        return Err(fault(
            "OpenSSH no longer takes DSA keys",
            "make another with `ssh-keygen -t ed25519` and paste its .pub file",
        ));
    }
    match STANDARD.decode(data).ok().as_deref().map(parts) {
        Some(Some(parts)) if parts.first() == Some(&kind.as_bytes()) => Ok(()),
        // A certificate's parts are not all texts.
        Some(_) if kind.contains("-cert-") => Ok(()),
        _ => Err(fault(
            format!("the {kind} key is cut off or was changed on the way"),
            "paste the whole line of the .pub file",
        )),
    }
}

/// What is before the first blank outside of quotation marks: options may have blanks in them.
fn first_word(line: &str) -> &str {
    let (mut quoted, mut escaped) = (false, false);
    let end = line.find(|c: char| {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            c => return c.is_whitespace() && !quoted,
        }
        false
    });
    &line[..end.unwrap_or(line.len())]
}

/// The texts of a key, each after its length (RFC 4253, 6.6); `None` if it ends within one.
fn parts(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (part, rest) = rest.split_at_checked(length)?;
        parts.push(part);
        bytes = rest;
    }
    (parts.len() > 1).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    #[test]
    fn several_keys_options_and_comments_are_taken() {
        for text in [
            KEY.to_owned(),
            format!("{KEY} me@here"),
            format!("# mine\n{KEY} a\n\n  {KEY} b\n"),
            format!("from=\"10.0.0.0/8,192.0.2.1\" {KEY}"),
            format!("restrict,command=\"echo \\\"two words\\\"\" {KEY} me"),
            format!("cert-authority {KEY}"),
        ] {
            assert_eq!(public_keys(&text), Ok(()), "{text}");
        }
    }

    #[test]
    fn keys_that_would_not_let_anybody_in_are_named() {
        for (text, what) in [
            ("AAAA".to_owned(), "not a public SSH key"),
            ("# nothing\n".to_owned(), "not a public SSH key"),
            (
                "-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(),
                "not a public SSH key",
            ),
            (KEY[..60].to_owned(), "cut off"),
            (KEY.replace("ssh-ed25519", "ssh-rsa"), "cut off"),
            (format!("{KEY}\nssh-ed25519 AAAA"), "cut off"),
            ("ssh-dss AAAAB3NzaC1kc3M= me".to_owned(), "DSA"),
        ] {
            let (said, _) = public_keys(&text).unwrap_err();
            assert!(said.contains(what), "{text}: {said}");
        }
    }
}
