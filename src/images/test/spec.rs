//! Tests as they are written: the types of `tests.toml`. docs/testing.md has them for users.

use super::words::{Digest, Growth, Mode, Pattern, Relation, Size, Texts, When};
use crate::images::image::accounts::Password;
use crate::images::image::tree::Kind;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// One file of tests.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Spec {
    #[serde(default)]
    #[schemars(with = "Vec<File>")]
    pub(super) file: Vec<Spanned<File>>,
    #[serde(default)]
    #[schemars(with = "Vec<Package>")]
    pub(super) package: Vec<Spanned<Package>>,
    #[serde(default)]
    #[schemars(with = "Vec<Unit>")]
    pub(super) unit: Vec<Spanned<Unit>>,
    #[serde(default)]
    #[schemars(with = "Vec<User>")]
    pub(super) user: Vec<Spanned<User>>,
    #[serde(default)]
    #[schemars(with = "Vec<ConfigTxt>")]
    pub(super) config_txt: Vec<Spanned<ConfigTxt>>,
    #[schemars(with = "Option<Cmdline>")]
    pub(super) cmdline: Option<Spanned<Cmdline>>,
    #[schemars(with = "Option<Forbid>")]
    pub(super) forbid: Option<Spanned<Forbid>>,
    #[schemars(with = "Option<Sizes>")]
    pub(super) size: Option<Spanned<Sizes>>,
    #[serde(default)]
    #[schemars(with = "Vec<Port>")]
    pub(super) port: Vec<Spanned<Port>>,
    #[serde(default)]
    #[schemars(with = "Vec<Command>")]
    pub(super) command: Vec<Spanned<Command>>,
    #[schemars(with = "Option<Live>")]
    pub(super) live: Option<Spanned<Live>>,
}

/// A file system of the image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum On {
    #[default]
    Root,
    Boot,
}

/// A file, directory or link.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    pub(super) name: Option<String>,
    pub(super) path: String,
    #[serde(default)]
    pub(super) on: On,
    #[serde(default = "yes")]
    pub(super) exists: bool,
    #[serde(rename = "type")]
    pub(super) kind: Option<Type>,
    pub(super) mode: Option<Mode>,
    /// `user:group`, by name or number.
    pub(super) owner: Option<String>,
    pub(super) contains: Option<Texts>,
    pub(super) lacks: Option<Texts>,
    pub(super) matches: Option<Pattern>,
    pub(super) sha256: Option<Digest>,
    /// Where a symbolic link leads to, as it is written in the link.
    pub(super) target: Option<String>,
    /// Changed at this time or later.
    pub(super) not_before: Option<When>,
}

/// What a path can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Type {
    File,
    Directory,
    Symlink,
}

impl Type {
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::File => Kind::File,
            Self::Directory => Kind::Directory,
            Self::Symlink => Kind::Symlink,
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Package {
    pub(super) name: Option<String>,
    pub(super) package: String,
    #[serde(default = "yes")]
    pub(super) installed: bool,
    /// As `>= 1.2-3`.
    pub(super) version: Option<Relation>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Unit {
    pub(super) name: Option<String>,
    pub(super) unit: String,
    /// Whether something starts it.
    pub(super) enabled: Option<bool>,
    pub(super) masked: Option<bool>,
    /// Whether it is active once the system has started. Needs a running system.
    pub(super) active: Option<bool>,
    /// Seconds that it has for that, after the start of all that starts by itself.
    pub(super) within: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct User {
    pub(super) name: Option<String>,
    pub(super) user: String,
    #[serde(default = "yes")]
    pub(super) exists: bool,
    pub(super) password: Option<Password>,
    pub(super) uid: Option<u32>,
    pub(super) shell: Option<String>,
    pub(super) home: Option<String>,
    /// Groups that the user is in, among others.
    #[serde(default)]
    pub(super) groups: Vec<String>,
    /// Whether there are SSH keys that let somebody in.
    pub(super) keys: Option<bool>,
}

/// A setting of the firmware.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ConfigTxt {
    pub(super) name: Option<String>,
    pub(super) key: String,
    /// The value that counts, the last one; without it the setting must not be there.
    pub(super) value: Option<String>,
    /// Section, such as `pi4`; all models by default.
    #[serde(default = "all")]
    pub(super) section: String,
}

/// Words of the kernel's command line.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Cmdline {
    #[serde(default)]
    pub(super) has: Vec<String>,
    #[serde(default)]
    pub(super) lacks: Vec<String>,
}

/// What no image should have.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Forbid {
    /// SSH host keys, which all copies of the image would share.
    pub(super) host_keys: bool,
    /// A machine id, likewise.
    pub(super) machine_id: bool,
    /// Users whom no password is asked for.
    pub(super) empty_passwords: bool,
    /// Private keys, tokens and passwords in files.
    pub(super) secrets: bool,
    /// Directories of the search path in which everybody may write.
    pub(super) writable_path: bool,
    /// Units that fail while the system starts. Needs a running system.
    pub(super) failed_units: bool,
    /// Paths (patterns) in which secrets are meant to be.
    pub(super) allow: Vec<String>,
}

/// What the image may be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Sizes {
    /// The raw image.
    pub(super) image: Option<Size>,
    /// The file as it is, compressed or not.
    pub(super) file: Option<Size>,
    /// What is used of the root file system.
    pub(super) root: Option<Size>,
    /// What is used of the boot partition.
    pub(super) boot: Option<Size>,
    /// By how much the used part of the root file system may have grown since `--against`.
    pub(super) growth: Option<Growth>,
}

/// A port at which something listens. Needs a running system.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Port {
    pub(super) name: Option<String>,
    pub(super) port: u16,
    #[serde(default)]
    pub(super) protocol: Protocol,
    #[serde(default = "yes")]
    pub(super) open: bool,
    pub(super) within: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Protocol {
    #[default]
    Tcp,
    Udp,
}

/// A command that root runs in the image. Needs a running system.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Command {
    pub(super) name: Option<String>,
    pub(super) run: String,
    #[serde(default)]
    pub(super) exit: u8,
    pub(super) contains: Option<Texts>,
    pub(super) lacks: Option<Texts>,
    pub(super) matches: Option<Pattern>,
    /// Seconds that one try may take, 60 by default.
    pub(super) within: Option<u32>,
    /// Seconds in which it is tried again, once a second, until it succeeds.
    #[serde(default)]
    pub(super) retry: u32,
}

/// How the system is started.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Live {
    /// How often it is restarted; everything is looked at again after each.
    pub(super) restarts: u8,
    /// Cut the power once, and start it again.
    pub(super) power_cut: bool,
    /// A network with an address for the image, but without a way out.
    pub(super) network: bool,
    /// Seconds for each start, 900 by default.
    pub(super) timeout: Option<u32>,
}

fn yes() -> bool {
    true
}

fn all() -> String {
    "all".to_owned()
}

/// Names that a test gives to numbers and back: of users or of groups.
pub(super) type Names = BTreeMap<String, u32>;
