//! A package file of an archive.

use serde::{Deserialize, Serialize};

/// One package file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub architecture: String,
    /// Bytes.
    pub size: u64,
    pub sha256: String,
    pub source: String,
    /// Below the source's address.
    pub path: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub priority: String,
}

impl Package {
    /// The name apt gives the file in its archive directory.
    pub fn file_name(&self) -> String {
        format!(
            "{}_{}_{}.deb",
            self.name,
            self.version.replace(':', "%3a"),
            self.architecture
        )
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn package(name: &str, version: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "all".to_owned(),
            size: 1,
            sha256: "ab".to_owned(),
            source: "mirror".to_owned(),
            path: format!("pool/{name}.deb"),
            priority: String::new(),
        }
    }

    #[test]
    fn epochs_are_escaped_in_file_names() {
        assert_eq!(package("a", "1:2").file_name(), "a_1%3a2_all.deb");
    }
}
