//! A package file of an archive.

use serde::{Deserialize, Serialize};

/// Debian's architectures and those of its ports that a package may be for.
const ARCHITECTURES: [&str; 13] = [
    "all", "amd64", "arm64", "armel", "armhf", "i386", "loong64", "mips64el", "mipsel", "ppc64el",
    "riscv64", "s390x", "x32",
];

/// Kinds of addresses that apt fetches packages from.
const ADDRESSES: [&str; 3] = ["http://", "https://", "file:///"];

/// One package file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Debian's name of the package.
    pub name: String,
    /// As Debian writes it, with the epoch.
    pub version: String,
    /// Debian's name, or `all`.
    pub architecture: String,
    /// Bytes.
    pub size: u64,
    /// In hexadecimal.
    pub sha256: String,
    /// The address of its archive, or `mirror` for the one that the build uses; empty if it is not known.
    pub source: String,
    /// Below the source's address.
    pub path: String,
    /// As the package says; empty if it says nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub priority: String,
}

/// The name apt gives the file of a package in its archive directory.
pub(crate) fn file_name(name: &str, version: &str, architecture: &str) -> String {
    format!("{name}_{}_{architecture}.deb", version.replace(':', "%3a"))
}

impl Package {
    /// The name apt gives the file in its archive directory.
    pub fn file_name(&self) -> String {
        file_name(&self.name, &self.version, &self.architecture)
    }

    /// What is wrong with it, if it comes from elsewhere: what has passed is safe as part of a
    /// file's name, of an address, and of a line in a package index.
    ///
    /// # Errors
    /// A sentence for each thing, in which the package is named where its name can be.
    pub fn check(&self) -> Result<(), String> {
        if !is_name(&self.name) {
            return Err(format!(
                "{:?} cannot be the name of a package: that has small letters, digits and `+-.`, at least two, the first one a letter or digit",
                self.name
            ));
        }
        let wrong = |what: &str, value: &str, why: &str| {
            Err(format!("{what} of {}, {value:?}, {why}", self.name))
        };
        if !is_version(&self.version) {
            return wrong("the version", &self.version, "is none of a Debian package");
        }
        if !is_architecture(&self.architecture) {
            return wrong(
                "the architecture",
                &self.architecture,
                "is not one of Debian's",
            );
        }
        if !crate::base::digest::is_sha256(&self.sha256) {
            return wrong(
                "the sha256",
                &self.sha256,
                "does not have 64 hexadecimal digits",
            );
        }
        if !is_source(&self.source) {
            let why = "is neither `mirror`, `security` nor an address (http, https or file)";
            return wrong("the source", &self.source, why);
        }
        if !is_path(&self.path) {
            return wrong(
                "the path",
                &self.path,
                "does not lead to a file below the archive",
            );
        }
        if !self
            .priority
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        {
            return wrong("the priority", &self.priority, "is not one word");
        }
        Ok(())
    }
}

/// Debian Policy 5.6.1.
fn is_name(text: &str) -> bool {
    let part = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.len() > 1
        && text.bytes().next().is_some_and(part)
        && text.bytes().all(|b| part(b) || b"+-.".contains(&b))
}

/// Debian Policy 5.6.12: `[epoch:]upstream[-revision]`.
fn is_version(text: &str) -> bool {
    let (epoch, rest) = text.split_once(':').unwrap_or(("0", text));
    let digits = !epoch.is_empty() && epoch.bytes().all(|b| b.is_ascii_digit());
    let part = |b: u8| b.is_ascii_alphanumeric() || b".+-~".contains(&b);
    digits && !rest.is_empty() && !rest.starts_with(['.', '-']) && rest.bytes().all(part)
}

/// One of Debian's architectures, or `all`.
pub(crate) fn is_architecture(text: &str) -> bool {
    ARCHITECTURES.contains(&text)
}

/// Empty is the source of a package whose archive was not known when it was locked.
fn is_source(text: &str) -> bool {
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_graphic() && !b"\"'\\<>".contains(&b));
    let known = ["", "mirror", "security"].contains(&text);
    known || (plain && ADDRESSES.iter().any(|start| text.starts_with(start)))
}

/// Relative, of plain characters, and nowhere a step up.
fn is_path(text: &str) -> bool {
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_graphic() && !b"\"'\\<>".contains(&b));
    plain && !text.starts_with('/') && !text.split('/').any(|part| part == "..")
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
            sha256: "ab".repeat(32),
            source: "mirror".to_owned(),
            path: format!("pool/{name}.deb"),
            priority: String::new(),
        }
    }

    #[test]
    fn epochs_are_escaped_in_file_names() {
        assert_eq!(package("a", "1:2").file_name(), "a_1%3a2_all.deb");
    }

    #[test]
    fn what_debian_has_passes() {
        for (name, version) in [
            ("libstdc++6", "14.2.0-19"),
            ("0ad", "0.27.0-2+b1"),
            ("dbus.x11-compat", "1:1.16~rc1+dfsg-2~deb13u1"),
            ("linux-image-6.12.41+deb13-arm64", "6.12.41-1"),
        ] {
            assert_eq!(package(name, version).check(), Ok(()));
        }
        let mut flat = package("tool", "1");
        flat.source = "https://packages.example.com/apt/./".to_owned();
        flat.path = "./tool_1_all.deb".to_owned();
        assert_eq!(flat.check(), Ok(()));
    }

    #[test]
    fn nothing_else_becomes_a_file_name() {
        for name in [
            "", "a", "/etc/x", "../x", "a/../x", "Tool", "a b", "a\nb", "-a", "a_b", "é1",
        ] {
            assert!(package(name, "1").check().is_err(), "{name}");
        }
        for version in [
            "",
            "/1",
            "1/../../x",
            "1 2",
            "x:1",
            ":1",
            "1_2",
            "1\n",
            "..",
            "1%2f",
        ] {
            assert!(package("tool", version).check().is_err(), "{version}");
        }
        let wrong = |change: fn(&mut Package)| {
            let mut wrong = package("tool", "1");
            change(&mut wrong);
            let said = wrong.check().unwrap_err();
            assert!(said.contains("of tool, "), "{said}");
        };
        wrong(|p| p.architecture = "arm64/../..".to_owned());
        wrong(|p| p.architecture = String::new());
        wrong(|p| p.sha256 = "ab".to_owned());
        wrong(|p| p.sha256 = "../".repeat(21) + "a");
        wrong(|p| p.source = "/srv".to_owned());
        wrong(|p| p.source = "http://a b".to_owned());
        wrong(|p| p.path = "/etc/passwd".to_owned());
        wrong(|p| p.path = "pool/../../x.deb".to_owned());
        wrong(|p| p.priority = "optional\nEssential: yes".to_owned());
    }
}
