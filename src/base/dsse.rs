//! What a DSSE signature is of (https://github.com/secure-systems-lab/dsse, protocol.md), and keys in
//! minisign's form (https://jedisct1.github.io/minisign, "Signature format").

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The type of an in-toto statement in an envelope.
pub(crate) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// The bytes that are signed: the "pre-authentication encoding" of `payload`.
pub(crate) fn signed_bytes(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}

/// A public key or signature of minisign: the key's identifier in hex, and the `N` bytes behind it.
/// `None` if `line` is none, or of another algorithm than plain Ed25519.
pub(crate) fn of_minisign<const N: usize>(line: &str) -> Option<(String, [u8; N])> {
    let bytes = STANDARD.decode(line.trim()).ok()?;
    let (algorithm, rest) = bytes.split_at_checked(2)?;
    let (key, value) = rest.split_at_checked(8)?;
    // minisign shows it as a number, whose first byte is the last one here.
    let key: Vec<u8> = key.iter().rev().copied().collect();
    (algorithm == b"Ed").then_some((hex::encode_upper(key), value.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_part_of_what_is_signed() {
        let bytes = signed_bytes("http://example.com/HelloWorld", b"hello world");
        assert_eq!(
            bytes,
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
        assert_eq!(of_minisign::<32>("RWQ="), None);
    }
}
