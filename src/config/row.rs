//! What a row of the table of settings says of its key.

use super::Config;
use super::written::Written;
use serde_json::Value;

/// A key of the config: everything that the program knows of it.
pub struct Row {
    /// Its name in config files, in the environment and for `--set`.
    pub name: &'static str,
    /// What it means: lines of one text.
    pub help: &'static [&'static str],
    /// What differs from key to key.
    pub facts: Facts,
    /// Its field in [`Config`]. Keys without one are read together with another key, or handed on
    /// to scripts alone.
    pub field: Option<Field>,
}

/// Where a key's judged value is.
pub struct Field {
    /// Its name in [`Config`], and in the build record.
    pub name: &'static str,
    /// Its value as text; `None` when it is not set.
    pub text: fn(&Config) -> Option<String>,
    /// Its value with its type.
    pub typed: fn(&Config) -> Value,
}

/// What differs from key to key. There are no defaults: a row says all of it.
pub struct Facts {
    /// The part of config.example it stands in.
    pub group: Group,
    /// How its value is written.
    pub kind: Kind,
    /// As written in a config; empty when it is unset, or worked out from other keys.
    pub default: &'static str,
    /// A value to show where there is no default, as bash takes it.
    pub example: &'static str,
    /// Who may see its value.
    pub secrecy: Secrecy,
    /// Whether scripts find it in their environment.
    pub scripts: Scripts,
    /// How it bears on the layers that steps make.
    pub layers: Bearing,
    /// Whether it bears on what an export makes of the same layers.
    pub image: bool,
    /// What a container must mount for it.
    pub mount: Mount,
}

/// Parts of config.example, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Name, date, architecture and distribution.
    Image,
    /// Archives, keys and proxies.
    Packages,
    /// The first user, passwords, SSH.
    Access,
    /// Language, keyboard, time zone, radio.
    Place,
    /// Which stages there are, and what they may see.
    Stages,
    /// Folders, caches and how a build is run.
    Build,
    /// Formats and partitions of what is deployed.
    Artefacts,
    /// Keys that do nothing here, for scripts that read them.
    PiGen,
}

impl Group {
    /// Every part, in order.
    pub const ALL: [Self; 8] = [
        Self::Image,
        Self::Packages,
        Self::Access,
        Self::Place,
        Self::Stages,
        Self::Build,
        Self::Artefacts,
        Self::PiGen,
    ];

    /// Its heading.
    pub fn heading(self) -> &'static str {
        match self {
            Self::Image => "The image",
            Self::Packages => "Where packages come from",
            Self::Access => "First user and access",
            Self::Place => "Place and language",
            Self::Stages => "Stages",
            Self::Build => "The build",
            Self::Artefacts => "Artefacts",
            Self::PiGen => "Keys of pi-gen that only scripts read",
        }
    }
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// 0 or 1.
    Flag,
    /// A whole number within these bounds.
    Number(i64, i64),
    /// Bytes, with K, M or G for powers of 1024.
    Size,
    /// `YYYY-MM-DD`.
    Date,
    /// An http or https address.
    Url,
    /// A path; one that is not absolute begins at the tree.
    Path,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One or more of these, with spaces between them.
    SomeOf(&'static [&'static str]),
    /// Words with spaces between them; in TOML also an array.
    List,
}

/// Who may see a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// Everybody.
    Open,
    /// Nobody's business, but no secret: left out of the build record.
    Personal,
    /// A secret: nothing that the program writes has it, in clear or as a hash that can be tried.
    Secret,
}

/// Whether scripts of stages find the key in their environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scripts {
    /// They do not find it.
    No,
    /// Its judged value.
    Value,
    /// Something that depends on the archive or on the step; see `layers/variables.rs`.
    Placed,
    /// What the config says, or the default, unjudged.
    Passed,
}

/// How a variable bears on what a step makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bearing {
    /// On every step.
    Core,
    /// On a script that names it, or that could see it without naming it.
    Visible,
    /// On a script that names it.
    Named,
    /// On none.
    Never,
}

/// What a container must have mounted for the value to mean the same in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mount {
    /// Nothing.
    No,
    /// One file or folder, to be read.
    Place,
    /// Folders with spaces between them, to be read.
    Folders,
    /// Paths with spaces between them, to be read, or with `:rw` after them also written.
    Marked,
    /// `minisign:FILE`, to be read.
    SigningKey,
    /// A folder that is made and written, unless it is a URL.
    Cache,
    /// The folder that the artefacts go to.
    Deploy,
}

impl Row {
    /// The key's value for scripts, if they find it in their environment and it is set.
    pub fn for_scripts(&self, config: &Config) -> Option<String> {
        let field = self.field.as_ref()?;
        match self.facts.scripts {
            Scripts::Value => (field.text)(config),
            Scripts::No | Scripts::Placed | Scripts::Passed => None,
        }
    }
}

/// The text of any field.
pub(super) fn text_of(value: &dyn Written) -> Option<String> {
    value.written()
}
