//! Public keys and signatures of minisign.

use crate::base::dsse;
use crate::base::problem::{Problem, Problems};
use std::fs;
use std::path::Path;

/// A public key in both forms that are needed.
pub(super) struct Key {
    id: String,
    bare: ed25519_compact::PublicKey,
    minisign: minisign_verify::PublicKey,
}

/// The keys that are named: files of minisign's, or the line in them.
///
/// # Errors
/// [`Problems`] for those that are none.
pub(super) fn read(named: &[String]) -> Result<Vec<Key>, Problems> {
    let (mut keys, mut problems) = (Vec::new(), Vec::new());
    for name in named {
        let text = fs::read_to_string(name).unwrap_or_else(|_| name.clone());
        let mut lines = text.lines().map(str::trim);
        let line = lines.rfind(|line| !line.is_empty()).unwrap_or_default();
        match key(line) {
            Some(key) => keys.push(key),
            None => problems.push(Problem::new(
                format!("--key {name:?} is neither a file of minisign's with a public key nor one"),
                "name the .pub file that minisign -G wrote",
            )),
        }
    }
    Problems(problems).into_result()?;
    Ok(keys)
}

fn key(line: &str) -> Option<Key> {
    let (id, bytes) = dsse::of_minisign::<32>(line)?;
    Some(Key {
        id,
        bare: ed25519_compact::PublicKey::from_slice(&bytes).ok()?,
        minisign: minisign_verify::PublicKey::from_base64(line).ok()?,
    })
}

/// Whether one of `keys` made the file `signature` of `bytes`; otherwise why not.
pub(super) fn signed(keys: &[Key], bytes: &[u8], signature: &Path) -> Result<(), String> {
    let text = fs::read_to_string(signature).map_err(|error| format!("cannot be read: {error}"))?;
    let signature = minisign_verify::Signature::decode(&text)
        .map_err(|_| "is no signature of minisign's".to_owned())?;
    let one = keys
        .iter()
        .any(|key| key.minisign.verify(bytes, &signature, true).is_ok());
    one.then_some(())
        .ok_or_else(|| "was not made by a key that --key names, or of other bytes".to_owned())
}

/// Whether one of `keys` made the bare `signature` of `bytes`.
pub(super) fn signed_bare(keys: &[Key], key_id: &str, bytes: &[u8], signature: &[u8]) -> bool {
    let Ok(signature) = ed25519_compact::Signature::from_slice(signature) else {
        return false;
    };
    let named = keys.iter().filter(|key| key.id == key_id);
    named
        .into_iter()
        .any(|key| key.bare.verify(bytes, &signature).is_ok())
}
