//! What is nobody's business: the one list of words that make a name a secret's, and the build
//! record's view of the settings.

use super::row::Secrecy;
use super::table::{self, Config};
use super::variables::Variable;
use serde_json::{Map, Value, json};

/// Words anywhere in a name that say that its value is a secret.
const ANYWHERE: [&str; 6] = ["PASS", "SECRET", "TOKEN", "PSK", "CREDENTIAL", "PRIVATE"];

/// The same as a word of their own, or as the end of one.
const AT_END: [&str; 5] = ["KEY", "KEYS", "PWD", "AUTH", "PIN"];

/// Stands in for what is not shown.
const SET: &str = "(set)";

/// Whether nothing may be written that has the value of the variable `name`: a key's row says so,
/// of a name of the user's own its words do.
pub fn is_secret(name: &str) -> bool {
    if let Some(row) = table::row(name) {
        return row.facts.secrecy == Secrecy::Secret;
    }
    let name = name.to_ascii_uppercase();
    ANYWHERE.iter().any(|word| name.contains(word))
        || name
            .split('_')
            .any(|part| AT_END.iter().any(|word| part.ends_with(word)))
}

/// Whether `value` has an address with a user or password before the `@`.
pub fn has_user(value: &str) -> bool {
    without_users(value) != value
}

/// `http://user:password@host` without what stands before the `@`, anywhere in `text`.
pub fn without_users(text: &str) -> String {
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

impl Config {
    /// The values of the variables that stages call secrets.
    pub fn declared_secrets(&self) -> Vec<String> {
        let secret = self.variables.iter().filter(|one| one.declared.secret);
        secret
            .filter_map(|one| self.exports.get(&one.name).cloned())
            .collect()
    }

    /// [`is_secret`], or a stage says so of the variable.
    pub fn is_secret(&self, name: &str) -> bool {
        let declared = |variable: &Variable| variable.declared.secret && variable.name == name;
        is_secret(name) || self.variables.iter().any(declared)
    }

    /// The settings as the build record has them: without passwords, keys and the user part of
    /// addresses; what stages were handed under names of the user's own by name only.
    pub fn for_record(&self) -> Value {
        let mut record = Map::new();
        for row in table::rows() {
            let Some(field) = &row.field else { continue };
            let value = match ((field.typed)(self), row.facts.secrecy) {
                (Value::Null, _) => Value::Null,
                (_, Secrecy::Secret | Secrecy::Personal) => json!(SET),
                (value, Secrecy::Open) => scrubbed(value),
            };
            record.insert(field.name.to_owned(), value);
        }
        let exports = self.exports.keys().map(|name| (name.clone(), json!(SET)));
        record.insert("exports".to_owned(), exports.collect::<Map<_, _>>().into());
        record.insert("sources".to_owned(), json!(self.sources));
        Value::Object(record)
    }
}

/// `value` with every text in it [`without_users`].
fn scrubbed(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| (key, scrubbed(value)))
            .collect(),
        Value::Array(values) => values.into_iter().map(scrubbed).collect(),
        Value::String(text) => Value::String(without_users(&text)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigRequest, Loaded};

    #[test]
    fn words_make_a_secret_but_a_keyboard_is_none() {
        for name in [
            "WIFI_PSK",
            "API_KEY",
            "SSH_PRIVATE_KEY",
            "X_CREDENTIALS",
            "FIRST_USER_PASS",
            "DB_PASSWORD",
            "GITHUB_TOKEN",
            "app_secret",
            "BASIC_AUTH",
            "DEPLOY_KEYS",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "KEYBOARD_LAYOUT",
            "KEYBOARD_KEYMAP",
            "RASPBERRYPI_KEY",
            "FLAVOUR",
            "MY_KEYMAP",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn the_record_has_no_secrets() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("stage0")).unwrap();
        std::fs::write(
            dir.path().join("config"),
            "export WIFI=hunter2\nexport WIFI_PSK=hunter2\n",
        )
        .unwrap();
        let set = [
            "IMG_NAME=a",
            "FIRST_USER_PASS=hunter2",
            "PUBKEY_SSH_FIRST_USER=ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f",
            "APT_PROXY=http://me:hunter2@proxy:3142/x",
            "TEMP_REPO=deb http://me:hunter2@h/debian x main",
            "PASSWORDLESS_SUDO=1",
            "FIRST_USER_NAME=me",
        ];
        let Loaded {
            config, problems, ..
        } = Config::load(&ConfigRequest {
            cwd: dir.path().to_owned(),
            set: set.map(str::to_owned).into(),
            ..ConfigRequest::default()
        });
        assert_eq!(problems, []);
        let record = config.unwrap().for_record();
        let text = record.to_string();
        assert!(
            !text.contains("hunter2") && !text.contains("AAAA"),
            "{text}"
        );
        assert_eq!(record["first_user_pass"], SET);
        assert_eq!(record["apt_proxy"], "http://proxy:3142/x");
        assert_eq!(record["temp_repo"], "deb http://h/debian x main");
        assert_eq!(record["passwordless_sudo"], true);
        assert_eq!(record["first_user_name"], "me");
        assert_eq!(record["exports"]["WIFI"], SET);
        assert_eq!(record["wpa_country"], Value::Null);
    }
}
