//! Values about the device's people and place: names, keys, languages, zones, countries.

use super::lists;
use super::reader::Reader;
use super::values::{Fault, fault};
use crate::base::releases::Names;
use crate::base::{names, ssh_key};

/// `FIRST_USER_NAME`.
pub(super) fn user_name(reader: &mut Reader<'_>) -> String {
    lists::named(reader, user)
}

/// adduser's `NAME_REGEX` of Debian; neither root nor another account that there is.
pub(super) fn user(release: &Names, text: &str) -> Result<(), Fault> {
    match (names::is_user(text, 32), text) {
        (_, "root") => Err(fault(
            "the first user cannot be root",
            "choose another name",
        )),
        (true, name) if release.has_account(name) => Err(fault(
            format!("the image has an account or a group {name} already"),
            "choose another name",
        )),
        (true, _) => Ok(()),
        _ => Err(fault(
            format!("{text} is not a user name"),
            "begin with a-z; then a-z, 0-9, - and _, 32 at most",
        )),
    }
}

/// Bytes that Linux has for its name, sethostname(2).
const HOST_NAME: usize = 64;

/// Labels of RFC 1123 with dots between them.
pub(super) fn host_name(text: &str) -> Result<(), Fault> {
    if names::is_host(text) && text.len() <= HOST_NAME {
        return Ok(());
    }
    if names::is_host(text) {
        return Err(fault(
            format!(
                "{text} has {} letters, and Linux takes {HOST_NAME}",
                text.len()
            ),
            "write a shorter one, such as westwork",
        ));
    }
    Err(fault(
        format!("{text} is not a host name"),
        "use letters, digits and dashes, such as westwork",
    ))
}

/// A text that is shown to people: one line without control characters.
pub(super) fn words(text: &str) -> Result<(), Fault> {
    match text.chars().find(|c| c.is_control()) {
        None => Ok(()),
        Some(c) => Err(fault(
            format!("{text:?} has {c:?} in it"),
            "write one line of plain text",
        )),
    }
}

/// Public SSH keys, a line each, as authorized_keys(5) has them.
pub(super) fn public_keys(text: &str) -> Result<(), Fault> {
    let mut keys = 0;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        ssh_key::check(line).map_err(|what| {
            let remedy = match what.as_str() {
                what if what.contains("DSA") => {
                    "make another with `ssh-keygen -t ed25519` and paste its .pub file"
                }
                _ => "paste the whole line of the .pub file",
            };
            fault(format!("line {number}: {what}"), remedy)
        })?;
        keys += 1;
    }
    if keys == 0 {
        return Err(fault(
            "this is no public SSH key",
            "paste the line of your id_ed25519.pub",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_keys_is_judged() {
        let key =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        for text in [
            key.to_owned(),
            format!("# mine\n{key} a\n\n  from=\"192.0.2.1\" {key} b\n"),
        ] {
            assert_eq!(public_keys(&text), Ok(()), "{text}");
        }
        for (text, what) in [
            ("# nothing\n".to_owned(), "no public SSH key"),
            (
                format!("{key}\nssh-ed25519 AAAA"),
                "line 2: the ssh-ed25519 key is cut off",
            ),
            (
                format!("{key}\nssh-dss AAAAB3NzaC1kc3M= me"),
                "line 2: this is a DSA key",
            ),
            (key.replace("ssh-ed25519", "ssh-foo"), "no public SSH key"),
        ] {
            let (said, _) = public_keys(&text).unwrap_err();
            assert!(said.contains(what), "{text}: {said}");
        }
    }

    #[test]
    fn a_host_name_has_what_linux_takes() {
        let label = "a".repeat(31);
        assert_eq!(
            host_name(&format!("{label}.{label}.b")),
            Err(fault(
                format!("{label}.{label}.b has 65 letters, and Linux takes 64"),
                "write a shorter one, such as westwork",
            ))
        );
        assert_eq!(host_name(&format!("{label}.{label}")), Ok(()));
    }
}
