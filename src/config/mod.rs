//! The build's settings, judged once and typed from then on.

mod address;
mod agreement;
mod bash;
mod choices;
pub mod describe;
mod disk;
mod host_paths;
mod judge;
mod lists;
pub mod mounts;
mod names;
mod nearest;
mod people;
mod pigen;
mod pigen_build;
mod pigen_past;
pub mod proxy;
mod reader;
mod root_word;
pub mod row;
mod secrecy;
mod setting;
mod settings;
mod signer;
mod source;
mod table;
mod tree;
mod values;
pub mod variables;
mod written;

pub use crate::base::arch::Arch;
pub use address::Address;
pub use disk::{Disk, Extra, ExtraFormat, RootKind, TableKind};
pub use host_paths::HostPath;
pub use pigen_build::exported;
pub use root_word::{RootWord, partition_names, root_of};
pub use secrecy::{has_user, is_secret, without_users};
pub use settings::Settings;
pub use signer::Signer;
pub use table::{Config, nearest, row, rows};

use crate::base::problem::Problem;
use row::Scripts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where the settings come from.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ConfigRequest {
    /// Directory that `config` is looked for in, absolute.
    pub cwd: PathBuf,
    /// Files read after it, in order (`-c`).
    pub files: Vec<PathBuf>,
    /// `KEY=VALUE` from the command line, over everything else.
    pub set: Vec<String>,
    /// The process's environment: known keys count, the rest is ignored.
    pub env: BTreeMap<String, String>,
}

/// What reading the settings gave.
#[derive(Debug)]
pub struct Loaded {
    /// Present even when there are problems, with defaults in place of bad values, so that
    /// the stage tree and the host can be judged in the same run.
    pub config: Option<Config>,
    /// Everything that is wrong with the settings.
    pub problems: Vec<Problem>,
    /// File and line of each setting that is from a file: for what the build machine has against
    /// it.
    pub places: BTreeMap<String, (PathBuf, usize)>,
}

impl Config {
    /// Reads every source of settings and judges all of it, see [`Settings`].
    pub fn load(request: &ConfigRequest) -> Loaded {
        Settings::read(request).judge()
    }

    /// What scripts find of the settings, by name: every key that the table hands on to them, and
    /// what the config itself exports. What depends on the step is not in it.
    pub fn for_scripts(&self) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        for row in rows() {
            let value = match row.facts.scripts {
                Scripts::Value => row.for_scripts(self),
                Scripts::Passed => Some(row.facts.default.to_owned()),
                Scripts::No | Scripts::Placed => None,
            };
            // What is not set is not there: `[ -v WPA_COUNTRY ]` is how stages ask.
            let value = value.filter(|value| !value.is_empty());
            env.extend(value.map(|value| (row.name.to_owned(), value)));
        }
        env.extend(self.exports.clone());
        env
    }

    /// Whether the tree has the shape of pi-gen, and so pi-gen's defaults.
    pub fn is_pigen(&self) -> bool {
        tree::is_pigen(&self.base_dir)
    }

    /// Where this image's build keeps its log and its mount points.
    pub fn work(&self) -> PathBuf {
        self.work_dir
            .join(format!("{}-{}", self.img_name, self.arch.debian()))
    }

    /// The core that qemu-user emulates, by its name there: the chosen one, else the
    /// architecture's.
    pub fn qemu_cpu(&self) -> &str {
        self.qemu_cpu
            .as_deref()
            .unwrap_or_else(|| match (self.base(), self.arch) {
                // Raspbian is for the ARMv6 of the first Pi and the Zero.
                (Base::Raspbian, _) => "arm1176",
                (Base::Debian, arch) => arch.qemu_cpu(),
            })
    }

    /// The archive that the image's base system is from.
    pub fn base(&self) -> Base {
        Base::of(self.distro, self.arch)
    }

    /// The pool of downloaded packages. Raspbian's have the names and versions of Debian's, and
    /// apt takes a file that it has downloaded by its name.
    pub fn pool(&self) -> &'static str {
        match self.base() {
            Base::Raspbian => "raspbian-armhf",
            Base::Debian => self.arch.debian(),
        }
    }

    /// Components of the base system's archive, with spaces between them.
    pub fn components(&self) -> &'static str {
        match (self.distro, self.base()) {
            (_, Base::Raspbian) => "main contrib non-free rpi",
            (Distro::Raspios, Base::Debian) => "main contrib non-free non-free-firmware",
            (Distro::Debian, Base::Debian) => "main non-free-firmware",
        }
    }

    /// Suites of the base system's archive besides the release itself, which stages read too.
    pub fn extra_suites(&self) -> Vec<&str> {
        match self.base() {
            // Updates go into the release itself.
            Base::Raspbian => Vec::new(),
            Base::Debian => self.debian_suites(),
        }
    }

    /// Debian's suites besides the release itself, from `EXTRA_SUITES`.
    pub fn debian_suites(&self) -> Vec<&str> {
        let default = "updates security";
        let suites = self
            .exports
            .get("EXTRA_SUITES")
            .map_or(default, String::as_str);
        if self.release == "sid" {
            Vec::new()
        } else {
            suites.split_ascii_whitespace().collect()
        }
    }
}

/// `DISTRO`: whose packages the image is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Distro {
    /// Debian, with the Raspberry Pi firmware and kernel from Debian's own archive.
    Debian,
    /// Raspberry Pi OS: Debian (64-bit) or Raspbian (32-bit), and the Raspberry Pi archive.
    Raspios,
}

impl Distro {
    /// The config's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Raspios => "raspios",
        }
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debian => "Debian",
            Self::Raspios => "Raspberry Pi OS",
        }
    }
}

/// Whose base system the image has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// Debian itself.
    Debian,
    /// Debian compiled anew for the ARMv6.
    Raspbian,
}

impl Base {
    /// What an image of `distro` for `arch` is made from.
    pub fn of(distro: Distro, arch: Arch) -> Self {
        match (distro, arch) {
            (Distro::Raspios, Arch::Armhf) => Self::Raspbian,
            _ => Self::Debian,
        }
    }

    /// The word for it in `ID` of os-release(5), and in package URLs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Raspbian => "raspbian",
        }
    }
}

/// `BOOTSTRAP`: the tool that makes the first root file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bootstrap {
    /// `mmdebstrap`.
    Mmdebstrap,
    /// `debootstrap`.
    Debootstrap,
}

impl Bootstrap {
    /// The config's word for it, and the program's name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Mmdebstrap => "mmdebstrap",
            Self::Debootstrap => "debootstrap",
        }
    }
}

/// `DEPLOY_COMPRESSION`: a form the image takes in the deploy directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compression {
    /// The `.img` itself.
    None,
    /// `.zip`.
    Zip,
    /// `.img.gz`.
    Gz,
    /// `.img.xz`.
    Xz,
    /// `.img.zst`.
    Zst,
}

impl Compression {
    /// Every form, in the order in which it is told of.
    pub const ALL: [Self; 5] = [Self::None, Self::Zip, Self::Gz, Self::Xz, Self::Zst];

    /// The config's words for them.
    pub const WORDS: [&'static str; 5] = {
        let mut words = [""; 5];
        let mut at = 0;
        while at < words.len() {
            words[at] = Self::ALL[at].word();
            at += 1;
        }
        words
    };

    /// The config's word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zip => "zip",
            Self::Gz => "gz",
            Self::Xz => "xz",
            Self::Zst => "zst",
        }
    }

    /// The config's words for several.
    pub fn words(all: &[Self]) -> String {
        let words: Vec<&str> = all.iter().map(|one| one.word()).collect();
        words.join(" ")
    }
}

/// Whether `name` is a key, of this program's or one of pi-gen's.
pub fn is_key(name: &str) -> bool {
    table::is_known(name)
}
