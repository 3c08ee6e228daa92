//! Commands as people read them: lines for a shell, and how a program ended.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// Words as one line that a shell takes apart into the same words.
pub(super) fn line(words: &[impl AsRef<OsStr>]) -> String {
    let words: Vec<String> = words.iter().map(|it| word(it.as_ref())).collect();
    words.join(" ")
}

/// One word, quoted if need be.
pub(super) fn word(word: &OsStr) -> String {
    let bytes = word.as_bytes();
    // A NUL byte, which nothing can quote, cannot be in an argument.
    let quoted = shlex::bytes::try_quote(bytes).unwrap_or(bytes.into());
    without_passwords(&String::from_utf8_lossy(&quoted))
}

/// What stands before the @ of an address, such as a proxy's, is nobody's business.
fn without_passwords(text: &str) -> String {
    let mut parts = text.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let host = part.find(|c: char| c == '/' || c.is_whitespace());
        let (place, rest) = part.split_at(host.unwrap_or(part.len()));
        let place = place
            .rsplit_once('@')
            .map_or(place.to_owned(), |(_, host)| format!("***@{host}"));
        shown = format!("{shown}://{place}{rest}");
    }
    shown
}

/// What follows the name of a program that did not end well.
pub(super) fn end(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with {code}"),
        (None, Some(number)) => {
            let name = nix::sys::signal::Signal::try_from(number);
            let name = name.map_or_else(|_| format!("signal {number}"), |it| it.to_string());
            format!("was ended by {name}")
        }
        (None, None) => format!("ended with {status}"),
    }
}
