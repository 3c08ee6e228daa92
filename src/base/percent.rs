//! Percent-encoding (RFC 3986, section 2.1): which bytes stay as they are.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but letters, digits, and the marks that are never encoded.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'.')
    .remove(b'-')
    .remove(b'_')
    .remove(b'~');

/// A path in an address: its slashes stay.
pub(crate) fn path(text: &str) -> String {
    const SET: &AsciiSet = &RESERVED.remove(b'/');
    utf8_percent_encode(text, SET).to_string()
}

/// A part of a package URL: its colons stay.
pub(crate) fn package_part(text: &str) -> String {
    const SET: &AsciiSet = &RESERVED.remove(b':');
    utf8_percent_encode(text, SET).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_keeps_its_own_marks() {
        assert_eq!(path("/a b/c:ä~+"), "/a%20b/c%3A%C3%A4~%2B");
        assert_eq!(package_part("1:2.0+dfsg-1~deb/x"), "1:2.0%2Bdfsg-1~deb%2Fx");
    }
}
