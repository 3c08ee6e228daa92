//! What a stage says of its variables: `variables.toml`, the stage's contract with whoever uses it.
//! Its variables are judged as keys of the config are, and handed to scripts as exports are.

mod judge;
mod read;

use crate::base::schema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

pub(super) use judge::judge;
pub(super) use read::of_stages;

/// Its name in a stage's directory.
pub const FILE: &str = "variables.toml";

/// Names that mean something to bash, to the linker, or to every program: no variable of a stage
/// can be called so, and neither by the name of a key or of a variable that the program makes.
pub(crate) const RESERVED: &[&str] = &[
    "ARCHIVE_KEYS",
    "BASHOPTS",
    "BASH_ENV",
    "BOOTSTRAP_OPTIONS",
    "COMPONENTS",
    "DEBCONF_NONINTERACTIVE_SEEN",
    "DEBIAN_FRONTEND",
    "DEBIAN_MIRROR",
    "DEBIAN_SECURITY_MIRROR",
    "DEBIAN_SUITES",
    "ENV",
    "EUID",
    "EXPORT_DIR",
    "EXPORT_ROOTFS_DIR",
    "HOME",
    "IFS",
    "IMG_SUFFIX",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "LOG_FILE",
    "OLDPWD",
    "PATH",
    "PPID",
    "PREV_ROOTFS_DIR",
    "PREV_STAGE",
    "PREV_STAGE_DIR",
    "PWD",
    "QEMU_CPU",
    "QUILT_NO_DIFF_INDEX",
    "QUILT_NO_DIFF_TIMESTAMPS",
    "QUILT_PATCHES",
    "QUILT_REFRESH_ARGS",
    "RASPBERRYPI_KEYRING",
    "RASPBIAN_KEYRING",
    "ROOTFS_DIR",
    "SCRIPT_DIR",
    "SECURITY_MIRROR",
    "SHELLOPTS",
    "STAGE",
    "STAGE_DIR",
    "STAGE_WORK_DIR",
    "SUB_STAGE_DIR",
    "TERM",
    "UID",
    "WESTWORK_BIN_SUM",
    "WESTWORK_GEN",
    "WESTWORK_GEN_EMULATOR",
];

/// All of a `variables.toml`: a table for each variable, by its name.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Contract(
    #[schemars(extend(
        "propertyNames" = {"pattern": "^[A-Z][A-Z0-9_]*$"}
    ))]
    BTreeMap<String, Declared>,
);

/// What a stage says of one variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// What it does, for people.
    #[schemars(length(min = 1))]
    pub help: String,
    /// How its value is written.
    #[serde(rename = "type", default)]
    pub kind: Type,
    /// Its value where the user sets none. Without a default it is then not set at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Plain>,
    /// The user must set it.
    #[serde(default)]
    pub required: bool,
    /// Nothing that the program writes has its value in clear.
    #[serde(default)]
    pub secret: bool,
    /// The only values there are; of a list, of its words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// A regular expression for all of the value; of a list, for each of its words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The smallest number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<i64>,
    /// The greatest number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
}

/// How a variable's value is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// Any text of one line.
    #[default]
    Text,
    /// 0 or 1.
    Flag,
    /// A whole number.
    Number,
    /// Bytes, with K, M or G for powers of 1024.
    Size,
    /// An http or https address.
    Url,
    /// Words with spaces between them.
    List,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Flag => "flag",
            Self::Number => "number",
            Self::Size => "size",
            Self::Url => "url",
            Self::List => "list",
        })
    }
}

/// A value as TOML has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Plain {
    /// true or false.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
    /// Several texts.
    List(Vec<String>),
}

impl Plain {
    /// The same as bash has it.
    pub fn text(&self) -> String {
        match self {
            Self::Flag(flag) => u8::from(*flag).to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
            Self::List(words) => words.join(" "),
        }
    }
}

/// A variable of a stage, as the stage and the settings have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Variable {
    /// Its name in scripts, in the config and for `--set`.
    pub name: String,
    /// The `variables.toml` that has it.
    #[serde(serialize_with = "schema::path")]
    #[schemars(with = "String")]
    pub file: PathBuf,
    /// Its line there, from 1.
    pub line: usize,
    /// What the stage says of it.
    #[serde(flatten)]
    pub declared: Declared,
    /// Its value: the user's, or the default; not there where it is not set, or is a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Whether the user has set it.
    pub set: bool,
}

impl Variable {
    /// What may be written in its place, in words; empty where any text may.
    pub fn allowed(&self) -> String {
        let one = &self.declared;
        let mut words = Vec::new();
        if !one.values.is_empty() {
            words.push(format!("one of {}", one.values.join(", ")));
        }
        if let Some(pattern) = &one.pattern {
            words.push(format!("like {pattern}"));
        }
        match (one.min, one.max) {
            (Some(min), Some(max)) => words.push(format!("{min} to {max}")),
            (Some(min), None) => words.push(format!("at least {min}")),
            (None, Some(max)) => words.push(format!("at most {max}")),
            (None, None) => {}
        }
        words.join(", ")
    }
}

impl fmt::Display for Variable {
    /// One line: name, value or what stands for it, and what it does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = if self.set { "" } else { " (default)" };
        let help = self.declared.help.trim().replace('\n', " ");
        match &self.value {
            _ if self.declared.secret && self.set => write!(f, "{}: (secret, set)", self.name)?,
            Some(value) => write!(f, "{}={value}{origin}", self.name)?,
            None => write!(f, "{}: not set", self.name)?,
        }
        write!(f, "; {help}")
    }
}
