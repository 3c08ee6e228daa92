//! Lines of authorized_keys as sshd(8) describes them: options if any, kind of key, the key in
//! base64, comment.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Kinds of keys that OpenSSH takes; certificates of them as well.
const KINDS: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// `RequiredRSASize` of sshd_config(5), in all releases that there are.
const SHORTEST_RSA: usize = 1024;

/// What follows the kind of a certificate, in place of an `@openssh.com` at its end.
const CERTIFICATE: &str = "-cert-v01@openssh.com";

/// Judges one line.
///
/// # Errors
/// What is wrong with it, in one clause.
pub(crate) fn check(line: &str) -> Result<(), String> {
    let line = line.trim();
    if line.contains("PRIVATE KEY") {
        return Err("this is a private key".to_owned());
    }
    let mut words = line.split_whitespace();
    let first = words.next().unwrap_or_default();
    let rest = if is_kind(first) || first == "ssh-dss" {
        line
    } else {
        let rest = after_options(line).ok_or_else(|| "this is no public SSH key".to_owned())?;
        rest.trim_start()
    };
    let mut words = rest.split_whitespace();
    let (kind, key) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    if kind == "ssh-dss" {
        return Err("this is a DSA key, which OpenSSH does not take any more".to_owned());
    }
    if !is_kind(kind) {
        return Err("this is no public SSH key".to_owned());
    }
    let bytes = STANDARD
        .decode(key)
        .map_err(|_| format!("the {kind} key is cut off or damaged"))?;
    let mut fields = Fields(&bytes);
    if fields.next() != Some(kind.as_bytes()) {
        return Err(format!("the {kind} key is cut off or damaged"));
    }
    // A certificate has numbers as well.
    if kind.ends_with(CERTIFICATE) {
        return Ok(());
    }
    let numbers: Vec<_> = fields
        .by_ref()
        .take_while(|field| !field.is_empty())
        .collect();
    let whole = match kind {
        "ssh-ed25519" => numbers.first().is_some_and(|key| key.len() == 32) && numbers.len() == 1,
        "ssh-rsa" => numbers.len() == 2,
        _ => !numbers.is_empty(),
    };
    if !whole || !fields.0.is_empty() {
        return Err(format!("the {kind} key is cut off or damaged"));
    }
    if kind == "ssh-rsa" && bits(numbers[1]) < SHORTEST_RSA {
        let bits = bits(numbers[1]);
        return Err(format!(
            "this RSA key has {bits} bits, and OpenSSH takes none of less than {SHORTEST_RSA}"
        ));
    }
    Ok(())
}

/// Bits of a number, the highest byte first.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    match number.get(zeros) {
        Some(first) => (number.len() - zeros) * 8 - first.leading_zeros() as usize,
        None => 0,
    }
}

fn is_kind(word: &str) -> bool {
    KINDS.iter().any(|kind| {
        let bare = kind.strip_suffix("@openssh.com").unwrap_or(kind);
        word == *kind || word.strip_suffix(CERTIFICATE) == Some(bare)
    })
}

/// What follows the options; `None` if a quote is not closed or nothing follows.
fn after_options(line: &str) -> Option<&str> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => return Some(&line[at..]),
            _ => {}
        }
    }
    None
}

/// The fields of a key: a length of four bytes, the highest first, and so many bytes.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_at_checked(4)?;
        let length = u32::from_be_bytes(length.try_into().ok()?);
        let (field, rest) = rest.split_at_checked(length as usize)?;
        self.0 = rest;
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIGOuxk/R9+LJSF46qiptoBKJQyMk80tw49Ih8anV+/G2";

    /// As `ssh-keygen` made them long ago.
    const RSA_768: &str = "AAAAB3NzaC1yc2EAAAADAQABAAAAYQCgJygr/jO95Hv7OgxtPDrXVWxSTTNlpQIHCCCyGmF4jCTcJSjxONzFq6PzW2PTEwbSrc2U9kPfUsnkK8x1yJAnF9BwLzHgfs0Oh/Qlqg5ELUpyVI3pHi10AguW+Q2XZBM=";

    #[test]
    fn lines_are_taken_as_sshd_takes_them() {
        for options in [
            "",
            "from=\"192.0.2.0/24\",no-agent-forwarding ",
            "restrict,command=\"echo \\\"a b\\\"\" ",
            "cert-authority\t",
        ] {
            let line = format!("{options}ssh-ed25519 {KEY} me at home\r");
            assert_eq!(check(&line), Ok(()), "{line}");
        }
    }

    #[test]
    fn what_is_no_key_is_told() {
        for (line, words) in [
            (format!("ssh-ed25519 {}", &KEY[..60]), "cut off"),
            (format!("ssh-ed25519 {}", &KEY[1..]), "cut off"),
            (format!("ssh-rsa {KEY}"), "cut off"),
            (format!("ssh-rsa {RSA_768}"), "has 768 bits"),
            ("ssh-dss AAAA".to_owned(), "DSA"),
            ("from=\"a ssh-ed25519 AAAA".to_owned(), "no public SSH key"),
            ("hello".to_owned(), "no public SSH key"),
            ("ssh-ed25519".to_owned(), "cut off"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(), "private"),
            (
                "---- BEGIN SSH2 PUBLIC KEY ----".to_owned(),
                "no public SSH key",
            ),
        ] {
            let said = check(&line).unwrap_err();
            assert!(said.contains(words), "{line}: {said}");
        }
    }
}
