//! The build's settings, judged once and typed from then on.

mod address;
mod bash;
mod disk;
mod judge;
mod keys;
mod setting;
mod signer;
mod source;
mod values;

pub use crate::base::arch::Arch;
pub use address::Address;
pub use disk::{Disk, Extra, ExtraFormat, RootKind, TableKind};
pub use keys::known_keys;
pub use signer::Signer;

use crate::base::problem::Problem;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where the settings come from.
#[derive(Debug, Clone, Default)]
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
    pub problems: Vec<Problem>,
}

/// Everything the user may choose. Made by `Config::load`, never changed afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// `IMG_NAME`: first part of every file name in `deploy_dir`.
    pub img_name: String,
    /// `DISTRO`.
    pub distro: Distro,
    /// `ARCH`.
    pub arch: Arch,
    /// `RELEASE`: Debian suite.
    pub release: String,
    /// `MIRROR`: where packages are fetched from during the build.
    pub mirror: Option<String>,
    /// `IMAGE_MIRROR`: what the image's own apt sources name.
    pub image_mirror: Option<String>,
    /// `APT_PROXY`: used for the build, never written to the image.
    pub apt_proxy: Option<String>,
    /// `APT_TIMEOUT`: seconds without a byte after which a download is tried again.
    pub apt_timeout: u32,
    /// `RASPBERRYPI_MIRROR`: the Raspberry Pi archive, or a copy of it.
    pub raspberrypi_mirror: String,
    /// `RASPBERRYPI_KEY`: file with the key that signs it.
    pub raspberrypi_key: Option<PathBuf>,
    /// `RASPBERRYPI_FINGERPRINT`: the only key that may.
    pub raspberrypi_fingerprint: String,
    /// `RASPBIAN_KEY`, the same for Raspbian.
    pub raspbian_key: Option<PathBuf>,
    /// `RASPBIAN_FINGERPRINT`.
    pub raspbian_fingerprint: String,
    /// `BOOTSTRAP`.
    pub bootstrap: Bootstrap,
    /// `STAGE_LIST`, absolute, in build order; default `stages/stage*` of the tree.
    pub stage_list: Vec<PathBuf>,
    /// `WESTWORK_BIN`: the device program, compiled already.
    pub westwork_bin: Option<PathBuf>,
    /// Directory the tree lives in (exported as `BASE_DIR`), absolute.
    pub base_dir: PathBuf,
    /// `WORK_DIR`, absolute.
    pub work_dir: PathBuf,
    /// `DEPLOY_DIR`, absolute.
    pub deploy_dir: PathBuf,
    /// `CACHE_DIR`: downloaded packages, shared by all builds; absolute.
    pub cache_dir: PathBuf,
    /// `CACHE_FROM`: the shared cache that layers, tools and packages are taken from.
    pub cache_from: Option<Address>,
    /// `CACHE_TO`: the one they are given to.
    pub cache_to: Option<Address>,
    /// `MIN_FREE`: room in `work_dir` without which no build is begun, bytes.
    pub min_free: u64,
    /// `EXPORT_CONFIG_DIR`, absolute.
    pub export_config_dir: PathBuf,
    /// `DEPLOY_COMPRESSION`: one or more, none twice.
    pub compression: Vec<Compression>,
    /// `COMPRESSION_LEVEL`, 0–9; `None` leaves it to the format's default.
    pub compression_level: Option<u8>,
    /// `DEPLOY_URL`: where the files of `deploy_dir` will be published.
    pub deploy_url: Option<String>,
    /// `SIGN_WITH`: who signs the checksums.
    pub sign_with: Option<Signer>,
    /// `BOOT_SIZE`: FAT boot partition, bytes.
    pub boot_size: u64,
    /// `ROOT_MARGIN`: free space in the root file system, bytes.
    pub root_margin: u64,
    /// `PARTITION_TABLE`, `ROOT_FILESYSTEM`, `DATA_SIZE`, `EXTRA_PARTITIONS`.
    pub disk: Disk,
    /// `TARGET_HOSTNAME`.
    pub target_hostname: String,
    /// `FIRST_USER_NAME`.
    pub first_user_name: String,
    /// `FIRST_USER_PASS`: no default; without it the account has no password.
    pub first_user_pass: Option<String>,
    /// `DISABLE_FIRST_BOOT_USER_RENAME`.
    pub disable_first_boot_user_rename: bool,
    /// `PASSWORDLESS_SUDO`.
    pub passwordless_sudo: bool,
    /// `WPA_COUNTRY`: ISO 3166 code.
    pub wpa_country: Option<String>,
    /// `ENABLE_SSH`.
    pub enable_ssh: bool,
    /// `PUBKEY_ONLY_SSH`.
    pub pubkey_only_ssh: bool,
    /// `PUBKEY_SSH_FIRST_USER`: an authorized_keys line.
    pub pubkey_ssh_first_user: Option<String>,
    /// `LOCALE_DEFAULT`, e.g. `en_GB.UTF-8`.
    pub locale_default: String,
    /// `KEYBOARD_KEYMAP`, e.g. `gb`.
    pub keyboard_keymap: String,
    /// `KEYBOARD_LAYOUT`, e.g. `English (UK)`.
    pub keyboard_layout: String,
    /// `TIMEZONE_DEFAULT`, e.g. `Europe/London`.
    pub timezone_default: String,
    /// `ENABLE_CLOUD_INIT`.
    pub enable_cloud_init: bool,
    /// `SOURCE_DATE_EPOCH`: seconds; governs every time stamp of the image.
    pub source_date_epoch: Option<i64>,
    /// `IMG_DATE`, `YYYY-MM-DD`.
    pub img_date: String,
    /// `IMG_FILENAME`: image name without suffix and extension.
    pub img_filename: String,
    /// `ARCHIVE_FILENAME`: compressed artefact's name without suffix and extension.
    pub archive_filename: String,
    /// `QEMU_CPU`: the core that qemu-user emulates; see [`Config::qemu_cpu`].
    pub qemu_cpu: Option<String>,
    /// `CLEAN`: forget earlier layers.
    pub clean: bool,
    /// `CONTINUE`: resume the interrupted build.
    pub resume: bool,
    /// `TEMP_REPO`: extra apt source line used during the build only.
    pub temp_repo: Option<String>,
    /// Files the settings were read from, in order.
    pub sources: Vec<PathBuf>,
    /// Variables the config itself exported; passed on to scripts as they are.
    pub exports: BTreeMap<String, String>,
}

impl Config {
    /// Reads every source of settings and judges all of it. Writes nothing; runs nothing but
    /// the bash fragments themselves.
    pub fn load(request: &ConfigRequest) -> Loaded {
        let mut problems = Vec::new();
        let raw = source::read_all(request, &mut problems);
        let config = judge::judge(request, &raw, &mut problems);
        Loaded { config, problems }
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

/// The architectures that `ARCH` lists, which are several in a request for several images.
/// What is wrong with the settings shows when each is loaded.
pub fn architectures(request: &ConfigRequest) -> Vec<String> {
    let raw = source::read_all(request, &mut Vec::new());
    let list = raw.settings.get("ARCH").map(|setting| &setting.value);
    list.into_iter()
        .flat_map(|list| list.split_ascii_whitespace())
        .map(str::to_owned)
        .collect()
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
    Mmdebstrap,
    Debootstrap,
}

/// `DEPLOY_COMPRESSION`: a form the image takes in the deploy directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compression {
    None,
    Zip,
    Gz,
    Xz,
    Zst,
}

impl Compression {
    /// The config's word for it.
    pub fn word(self) -> &'static str {
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
