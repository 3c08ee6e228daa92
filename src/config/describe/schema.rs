//! The JSON Schema of config.toml.

use super::text;
use crate::config::row::{Kind, Row, Secrecy};
use crate::config::rows;
use serde_json::{Map, Value, json};

/// A JSON Schema (draft 2020-12) of `config.toml`: names of keys and forms of their values. What
/// only the build machine or the tree can tell, such as whether a file is there, is not in it.
pub fn schema() -> Value {
    let keys: Map<String, Value> = rows().map(|row| (row.name.to_owned(), key(row))).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "westwork-gen config.toml",
        "type": "object",
        "properties": keys,
        "additionalProperties": false,
    })
}

fn key(row: &Row) -> Value {
    let mut schema = form(row.facts.kind);
    schema.insert("description".to_owned(), json!(text(row.help)));
    if !row.facts.default.is_empty() {
        schema.insert("default".to_owned(), json!(row.facts.default));
    }
    if row.facts.secrecy == Secrecy::Secret {
        schema.insert("writeOnly".to_owned(), json!(true));
    }
    Value::Object(schema)
}

/// A value is a text everywhere, as in bash; an empty one is none.
fn form(kind: Kind) -> Map<String, Value> {
    let pattern = |pattern: &str| json!({"type": "string", "pattern": format!("^$|{pattern}")});
    let either = |first: Value, second: Value| json!({"anyOf": [first, second]});
    let schema = match kind {
        Kind::Text | Kind::Path => json!({"type": "string"}),
        Kind::Flag => {
            json!({"enum": [true, false, 0, 1, "0", "1", "yes", "no", "true", "false", ""]})
        }
        Kind::Number(low, high) => either(
            json!({"type": "integer", "minimum": low, "maximum": high}),
            pattern("^[0-9]+$"),
        ),
        Kind::Size => either(
            json!({"type": "integer", "minimum": 0}),
            pattern("^[0-9]+[KMG]?$"),
        ),
        Kind::Date => pattern("^[0-9]{4}-[0-9]{2}-[0-9]{2}$"),
        Kind::Url => pattern("^https?://[^\\s\"]+$"),
        Kind::OneOf(words) => {
            let mut all = words.to_vec();
            all.push("");
            json!({"enum": all})
        }
        Kind::SomeOf(words) => {
            let one = words.join("|");
            either(
                pattern(&format!("^[ ,]*({one})([ ,]+({one}))*[ ,]*$")),
                json!({"type": "array", "items": {"enum": words}}),
            )
        }
        Kind::List => json!({
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
        }),
    };
    match schema {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
