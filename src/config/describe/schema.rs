//! The JSON Schema of config.toml.

use super::text;
use crate::config::row::{Kind, Row, Secrecy};
use crate::config::rows;
use crate::config::variables::{Type, Variable};
use serde_json::{Map, Value, json};

/// A JSON Schema (draft 2020-12) of `config.toml`: names of keys and forms of their values. What
/// only the build machine or the tree can tell, such as whether a file is there, is not in it.
///
/// `variables` are those of the tree's stages, which are keys as well.
pub fn schema(variables: &[Variable]) -> Value {
    let mut keys: Map<String, Value> = rows().map(|row| (row.name.to_owned(), key(row))).collect();
    keys.extend(
        variables
            .iter()
            .map(|one| (one.name.clone(), variable(one))),
    );
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

fn variable(one: &Variable) -> Value {
    let declared = &one.declared;
    let text = |schema: &mut Map<String, Value>| {
        if let Some(pattern) = &declared.pattern {
            schema.insert("pattern".to_owned(), json!(format!("^(?:{pattern})?$")));
        }
    };
    let words: Vec<&str> = declared.values.iter().map(String::as_str).collect();
    let mut schema = match declared.kind {
        Type::Text | Type::Url if !words.is_empty() => {
            let all = [&words[..], &[""]].concat();
            Map::from_iter([("enum".to_owned(), json!(all))])
        }
        Type::Text => {
            let mut schema = form(Kind::Text);
            text(&mut schema);
            schema
        }
        Type::Flag => form(Kind::Flag),
        Type::Number => form(Kind::Number(
            declared.min.unwrap_or(i64::MIN),
            declared.max.unwrap_or(i64::MAX),
        )),
        Type::Size => form(Kind::Size),
        Type::Url => form(Kind::Url),
        Type::List => form(Kind::List),
    };
    schema.insert("description".to_owned(), json!(declared.help.trim()));
    if let Some(default) = &declared.default {
        schema.insert("default".to_owned(), json!(default));
    }
    if declared.secret {
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
