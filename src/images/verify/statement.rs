//! The provenance: what it says of the files, and who signed it.

use super::image::bytes;
use super::keys::{self, Key};
use super::outcome::{Verdict, Verified};
use crate::base::dsse;
use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Compares the statement about the image called `stem` with files whose `sums` are known.
pub(super) fn compare(
    dir: &Path,
    stem: &str,
    sums: &BTreeMap<String, String>,
    keys: &[Key],
    verified: &mut Verified,
) -> Result<()> {
    let name = format!("{stem}.provenance.json");
    let plain = bytes(dir, &name)?;
    let envelope_name = format!("{stem}.intoto.jsonl");
    match bytes(dir, &envelope_name)? {
        Some(text) => {
            envelope(&envelope_name, &text, plain.as_deref(), keys, verified);
        }
        None if !keys.is_empty() => {
            let why = "the build was not signed with a key of minisign: SIGN_WITH=minisign:FILE";
            verified.push(&envelope_name, "its signature", Verdict::Missing, why);
        }
        None => {}
    }
    if let Some(text) = plain {
        subjects(&name, &text, sums, verified);
    }
    Ok(())
}

/// Each file that the statement names has the checksum that it says.
fn subjects(name: &str, text: &[u8], sums: &BTreeMap<String, String>, verified: &mut Verified) {
    let statement: Value = match serde_json::from_slice(text) {
        Ok(statement) => statement,
        Err(error) => {
            verified.add(name, "it is JSON", Err(error.to_string()));
            return;
        }
    };
    let is_one = statement["_type"] == "https://in-toto.io/Statement/v1"
        && statement["predicateType"] == "https://slsa.dev/provenance/v1";
    if !is_one {
        let why = "it is not; it was changed or damaged";
        verified.add(
            name,
            "it is an in-toto statement of provenance",
            Err(why.to_owned()),
        );
        return;
    }
    let mut wrong = Vec::new();
    for subject in statement["subject"].as_array().into_iter().flatten() {
        let (file, wanted) = (&subject["name"], &subject["digest"]["sha256"]);
        let (Some(file), Some(wanted)) = (file.as_str(), wanted.as_str()) else {
            wrong.push("a subject has no name or checksum".to_owned());
            continue;
        };
        // The raw image need not be there; it is compared with what the others say of it.
        if sums
            .get(file)
            .is_some_and(|sum| !sum.eq_ignore_ascii_case(wanted))
        {
            wrong.push(format!("{file} is another one"));
        }
    }
    let result = if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join(", "))
    };
    verified.add(name, "the checksums in it", result);
}

/// The envelope holds the same statement, and one of `keys` signed it.
fn envelope(name: &str, text: &[u8], plain: Option<&[u8]>, keys: &[Key], verified: &mut Verified) {
    let envelope: Value = serde_json::from_slice(text).unwrap_or(Value::Null);
    let payload = envelope["payload"]
        .as_str()
        .and_then(|it| STANDARD.decode(it).ok());
    let (Some(payload), Some(kind)) = (payload, envelope["payloadType"].as_str()) else {
        verified.add(name, "it is a DSSE envelope", Err("it is none".to_owned()));
        return;
    };
    if plain.is_some_and(|plain| plain != payload) {
        let why = "it holds another statement than the .provenance.json";
        verified.add(name, "the statement in it", Err(why.to_owned()));
    }
    if keys.is_empty() {
        verified.push(name, "its signature", Verdict::Unchecked, "say --key FILE");
        return;
    }
    let signed = dsse::signed_bytes(kind, &payload);
    let one = envelope["signatures"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|it| {
            let signature = it["sig"].as_str().and_then(|sig| STANDARD.decode(sig).ok());
            let id = it["keyid"].as_str().unwrap_or_default();
            signature.is_some_and(|signature| keys::signed_bare(keys, id, &signed, &signature))
        });
    let why = || "was not made by a key that --key names, or of another statement".to_owned();
    verified.add(name, "its signature", one.then_some(()).ok_or_else(why));
}
