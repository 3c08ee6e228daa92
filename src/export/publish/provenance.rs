//! How an image came to be: an in-toto statement (https://github.com/in-toto/attestation, v1) with the
//! predicate SLSA provenance 1 (https://slsa.dev/spec/v1.0/provenance), and its DSSE envelope
//! (https://github.com/secure-systems-lab/dsse) where a minisign key signs.

use crate::base::dsse::{self, PAYLOAD_TYPE};
use crate::config::{Base, Config, Signer};
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// What is stated.
pub(super) struct Facts<'a> {
    /// Name and SHA-256 in hex of each file.
    pub(super) subjects: Vec<(String, String)>,
    pub(super) name: &'a str,
    pub(super) config: &'a Config,
    pub(super) epoch: i64,
    /// The build record's part about the build.
    pub(super) record: &'a Value,
}

/// The statement as JSON. The same build gives the same bytes.
pub(super) fn statement(facts: &Facts<'_>) -> Result<String> {
    let subject = |(name, sum): &(String, String)| json!({"name": name, "digest": {"sha256": sum}});
    let config = facts.config;
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": facts.subjects.iter().map(subject).collect::<Vec<_>>(),
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:westwork-gen:build:1",
                "externalParameters": {
                    "image": facts.name,
                    "release": config.release,
                    "architecture": config.arch.debian(),
                    "distribution": Base::of(config.distro, config.arch).word(),
                    "source_date_epoch": facts.epoch,
                },
                "resolvedDependencies": dependencies(facts.record),
            },
            "runDetails": {
                "builder": {
                    "id": "urn:westwork-gen:builder",
                    "version": {"westwork-gen": env!("CARGO_PKG_VERSION")},
                },
            },
        },
    });
    let mut text = serde_json::to_string_pretty(&statement).context("writing the provenance")?;
    text.push('\n');
    Ok(text)
}

/// What the image was made of: the lock file, the archive's state, and the last layer, whose key is a
/// hash of all files, scripts and settings of the tree that had a part in it.
fn dependencies(record: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    if let Some(sum) = record["lock"]["sha256"].as_str() {
        all.push(json!({"name": "westwork.lock", "uri": "file:westwork.lock", "digest": {"sha256": sum}}));
    }
    if let Some(id) = record["archive"]["id"].as_str() {
        all.push(json!({"name": "archive", "uri": format!("urn:westwork-gen:archive:{id}")}));
    }
    let last = record["layers"].as_array().and_then(|layers| layers.last());
    if let Some(key) = last.and_then(|layer| layer[1].as_str()) {
        all.push(json!({"name": "tree", "uri": format!("urn:westwork-gen:layer:{key}")}));
    }
    all
}

/// The statement in an envelope, on one line; `None` if `signer` has no key for that.
pub(super) fn envelope(statement: &str, signer: &Signer) -> Result<Option<String>> {
    let signed = signer
        .sign_bytes(&dsse::signed_bytes(PAYLOAD_TYPE, statement.as_bytes()))
        .context("signing the provenance")?;
    let envelope = signed.map(|(key, signature)| {
        json!({
            "payload": STANDARD.encode(statement),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": key, "sig": STANDARD.encode(signature)}],
        })
    });
    Ok(envelope.map(|envelope| format!("{envelope}\n")))
}
