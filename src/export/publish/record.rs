//! The build record: how an image came about, without anybody's secrets.

use serde_json::{Value, json};

/// Words in a key that say its value is nobody's business.
const SECRET: [&str; 7] = [
    "pass",
    "secret",
    "token",
    "psk",
    "pubkey",
    "credential",
    "key_",
];

/// Stands in for what is not shown.
const SET: &str = "(set)";

/// `value` without passwords, keys and the user part of addresses; what stages were
/// handed under names of the user's own (`exports`) is shown by name only.
pub fn without_secrets(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| {
                let lower = key.to_ascii_lowercase();
                let secret = SECRET.iter().any(|word| lower.contains(word));
                let value = match value {
                    Value::Object(exports) if lower == "exports" => exports
                        .into_iter()
                        .map(|(key, _)| (key, json!(SET)))
                        .collect(),
                    Value::String(text) if secret && !text.is_empty() => json!(SET),
                    value => without_secrets(value),
                };
                (key, value)
            })
            .collect(),
        Value::Array(values) => values.into_iter().map(without_secrets).collect(),
        Value::String(text) => Value::String(without_user(&text)),
        other => other,
    }
}

/// `http://user:password@host` without what stands before the `@`.
fn without_user(text: &str) -> String {
    let address = |word: &str| -> String {
        let Some((scheme, rest)) = word.split_once("://") else {
            return word.to_owned();
        };
        let end = rest.find('/').unwrap_or(rest.len());
        match rest[..end].rfind('@') {
            Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
            None => word.to_owned(),
        }
    };
    text.split_inclusive(char::is_whitespace)
        .map(address)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_left_out() {
        let record = without_secrets(json!({
            "first_user_pass": "hunter2",
            "pubkey_ssh_first_user": "ssh-ed25519 AAAA",
            "apt_proxy": "http://me:hunter2@proxy:3142/x",
            "temp_repo": "deb http://me:hunter2@h/debian x main",
            "passwordless_sudo": true,
            "first_user_name": "me",
            "exports": {"WIFI": "hunter2"},
            "layers": [{"wifi_psk": "hunter2"}],
            "wpa_passphrase": null,
        }));
        let text = record.to_string();
        assert!(
            !text.contains("hunter2") && !text.contains("AAAA"),
            "{text}"
        );
        assert_eq!(record["apt_proxy"], "http://proxy:3142/x");
        assert_eq!(record["temp_repo"], "deb http://h/debian x main");
        assert_eq!(record["passwordless_sudo"], true);
        assert_eq!(record["exports"]["WIFI"], SET);
        assert_eq!(record["wpa_passphrase"], Value::Null);
    }
}
