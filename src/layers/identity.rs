//! What a layer is called, and what is written down of it.

use crate::base::digest::is_sha256;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Length of a layer's directory name. Mount options must fit a page (4096 bytes) with all
/// lower layers in them; 48 bits are plenty to tell the layers of one store apart.
pub(super) const ID_LENGTH: usize = 12;

/// What a layer is made from: every input by name, in a fixed order.
pub type Inputs = BTreeMap<String, String>;

/// Identity of a committed layer: the hash of its parent's key and its inputs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Key(String);

impl TryFrom<String> for Key {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match is_sha256(&text) {
            true => Ok(Self(text)),
            false => Err("no key of a layer"),
        }
    }
}

impl Key {
    /// Key of the layer that `inputs` make on top of `parent`.
    pub fn new(parent: Option<&Self>, inputs: &Inputs) -> Self {
        let mut hash = Sha256::new();
        hash.update(parent.map_or("", |key| key.0.as_str()));
        for (name, value) in inputs {
            // Lengths keep neighbouring texts apart.
            hash.update(format!("\n{}:{name}={}:{value}", name.len(), value.len()));
        }
        Self(hex::encode(hash.finalize()))
    }

    /// All of it, in hex.
    pub fn hash(&self) -> &str {
        &self.0
    }

    /// The layer's directory name.
    pub fn id(&self) -> &str {
        &self.0[..ID_LENGTH]
    }
}

/// Metadata kept beside a layer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// The hash of all the rest.
    pub key: Key,
    /// Of the layer that it lies on.
    pub parent: Option<Key>,
    /// Step name, for people.
    pub name: String,
    /// What the step saw.
    pub inputs: Inputs,
    /// The key that it would have if only that counted which is known before the step runs: by
    /// this it is found, whatever it turned out to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Key>,
    /// Files that the step has left outside of the layer, which has no part in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<PathBuf>,
    /// Since which start of the machine the layer is there; set when it is committed.
    #[serde(default)]
    pub boot: String,
    /// Of what the layer has in it (see `layers::digest`); set some time after it was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl Record {
    /// The record of the layer that the step `name` makes of `inputs` on top of `parent`.
    pub fn new(name: &str, parent: Option<Key>, inputs: Inputs) -> Self {
        Self {
            key: Key::new(parent.as_ref(), &inputs),
            parent,
            name: name.to_owned(),
            inputs,
            before: None,
            left: Vec::new(),
            boot: String::new(),
            digest: None,
        }
    }

    /// Whether it is the record of the layer `key`, and parent and inputs are those of that key.
    pub fn is_of(&self, key: &Key) -> bool {
        self.key == *key && Key::new(self.parent.as_ref(), &self.inputs) == *key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_changes_with_its_parent_and_every_input() {
        let inputs = |value: &str| Inputs::from([("script".to_owned(), value.to_owned())]);
        let base = Key::new(None, &inputs("a"));
        assert_eq!(base, Key::new(None, &inputs("a")));
        assert_ne!(base, Key::new(None, &inputs("b")));
        assert_ne!(base, Key::new(Some(&base), &inputs("a")));
    }

    #[test]
    fn neighbouring_inputs_do_not_run_together() {
        let one = Inputs::from([("a".to_owned(), "1\n1:b=1:2".to_owned())]);
        let two = Inputs::from([
            ("a".to_owned(), "1".to_owned()),
            ("b".to_owned(), "2".to_owned()),
        ]);
        assert_ne!(Key::new(None, &one), Key::new(None, &two));
    }

    #[test]
    fn a_record_whose_inputs_are_not_its_keys_is_of_no_layer() {
        let inputs = Inputs::from([("script".to_owned(), "a".to_owned())]);
        let mut record = Record::new("step", None, inputs);
        let key = record.key.clone();
        assert!(record.is_of(&key));
        record.parent = Some(Key::new(None, &Inputs::new()));
        assert!(!record.is_of(&key));
        assert!(serde_json::from_str::<Key>("\"12\"").is_err());
    }
}
