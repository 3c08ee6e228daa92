//! JSON held against the schemas in `tests/schemas`.
#![allow(dead_code, reason = "each test binary uses its share of it")]

use jsonschema::{Retrieve, Uri, Validator};
use serde_json::Value;
use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;

pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Schemas that refer to each other are files side by side.
struct Schemas;

impl Retrieve for Schemas {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn Error + Send + Sync>> {
        let name = uri.as_str().rsplit('/').next().unwrap_or_default();
        let text = fs::read(format!("tests/schemas/{name}"))?;
        Ok(serde_json::from_slice(&text)?)
    }
}

pub(crate) fn schema(name: &str) -> Validator {
    jsonschema::options()
        .with_retriever(Schemas)
        .should_validate_formats(true)
        .build(&json(&Path::new("tests/schemas").join(name)))
        .unwrap()
}

/// A schema that the program prints: `schema WHAT`.
pub(crate) fn printed(what: &str) -> Validator {
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_westwork-gen"));
    let out = program.args(["schema", what]).output().unwrap();
    let schema = serde_json::from_slice(&out.stdout).unwrap();
    let options = jsonschema::options().should_validate_formats(true);
    options.build(&schema).unwrap()
}

/// What `build --events` has written: every line holds against the schema.
pub(crate) fn events(text: &str) -> Vec<Value> {
    let schema = printed("events");
    let lines = text.lines().map(|line| {
        let event = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_valid(&schema, &event);
        event
    });
    assert!(text.ends_with('\n'), "{text}");
    lines.collect()
}

/// Those of `events` that are called `name`.
pub(crate) fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|it| it["event"] == name).collect()
}

pub(crate) fn assert_valid(schema: &Validator, value: &Value) {
    let faults: Vec<_> = schema
        .iter_errors(value)
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

/// All that lies beside the artefacts as JSON, and what schemas do not say of it.
pub(crate) fn assert_beside(deploy: &Path, name: &str) {
    let file = |extension: &str| json(&deploy.join(format!("{name}{extension}")));
    assert_valid(
        &schema("rpi-imager-manifest.schema.json"),
        &file(".rpi-imager-manifest"),
    );
    assert_valid(&schema("bom-1.6.schema.json"), &file(".cdx.json"));
    let spdx = file(".spdx.json");
    assert_valid(&schema("spdx-2.3.schema.json"), &spdx);

    let texts = |list: &str, field: &str| -> Vec<String> {
        let entries = spdx[list].as_array().unwrap().iter();
        entries
            .map(|entry| entry[field].as_str().unwrap().to_owned())
            .collect()
    };
    let ids = texts("packages", "SPDXID");
    let unique: BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len());
    let extracted = texts("hasExtractedLicensingInfos", "licenseId");
    for expression in texts("packages", "licenseDeclared") {
        if expression == "NOASSERTION" {
            continue;
        }
        if let Err(error) = spdx::Expression::parse(&expression) {
            panic!("{error}");
        }
        let words = expression.split([' ', '(', ')']);
        for word in words.filter(|word| word.starts_with("LicenseRef-")) {
            assert!(extracted.iter().any(|id| id == word), "{word}");
        }
    }
}
