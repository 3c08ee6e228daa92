//! The variables of the stage contract: the one place where a script's environment is made.

use crate::archives::keyring::Signed;
use crate::archives::mirror::Mirrors;
use crate::base::command::{Env, PATH};
use crate::config::{Compression, Config};
use crate::plan::Stage;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Where a script is in the build.
pub struct Place<'a> {
    pub stage: &'a Stage,
    pub previous: Option<&'a Stage>,
    pub sub_stage: Option<&'a Path>,
    /// The stage whose image an export step is for.
    pub exported: Option<&'a Stage>,
    /// Directory of this image's build, with the log.
    pub work: &'a Path,
    pub img_suffix: &'a str,
}

impl Place<'_> {
    /// Where the stage's root file system is mounted.
    pub fn rootfs(&self) -> PathBuf {
        stage_work_dir(self.work, self.stage).join("rootfs")
    }
}

/// Mount point of a stage: its layers are seen there while a step runs.
pub fn stage_work_dir(work: &Path, stage: &Stage) -> PathBuf {
    work.join(&stage.name)
}

/// `DEPLOY_DIR` of export steps, in the stage's work directory: what they leave there is published
/// with the image.
pub const EXPORT_DEPLOY: &str = "export-deploy";

/// Variables that say where things are or how a build is run, but not what: they do not make
/// a layer another one.
const NOT_IN_KEY: &[&str] = &[
    "APT_PROXY",
    "APT_TIMEOUT",
    "BASE_DIR",
    "CACHE_DIR",
    "CLEAN",
    "COMPRESSION_LEVEL",
    "DEPLOY_COMPRESSION",
    "DEPLOY_DIR",
    "EXPORT_CONFIG_DIR",
    "EXPORT_DIR",
    "EXPORT_ROOTFS_DIR",
    "PREV_ROOTFS_DIR",
    "PREV_STAGE_DIR",
    "RASPBERRYPI_KEYRING",
    "RASPBIAN_KEYRING",
    "ROOTFS_DIR",
    "SCRIPT_DIR",
    "STAGE_DIR",
    "STAGE_LIST",
    "STAGE_WORK_DIR",
    "SUB_STAGE_DIR",
    "WESTWORK_BIN",
    "WORK_DIR",
];

/// The program's own, which every program of a step needs.
const PLUMBING: &[&str] = &[
    "LOG_FILE",
    "TERM",
    "WESTWORK_GEN",
    crate::sandbox::rootfs::QEMU_CPU_VAR,
    crate::sandbox::rootfs::EMULATOR_VAR,
];

/// Names of the output. They count where a script names them, not where it merely could.
const OUTPUT_NAMES: &[&str] = &["ARCHIVE_FILENAME", "IMG_DATE", "IMG_FILENAME", "IMG_SUFFIX"];

/// What programs other than scripts may see, and what the functions of the contract use.
const CORE: &[&str] = &[
    "ARCH",
    "ARCHIVE_KEYS",
    "BOOTSTRAP",
    "COMPONENTS",
    "DEBCONF_NONINTERACTIVE_SEEN",
    "DEBIAN_FRONTEND",
    "DEBIAN_MIRROR",
    "DEBIAN_SECURITY_MIRROR",
    "DEBIAN_SUITES",
    "DISTRO",
    "EXTRA_SUITES",
    "HOME",
    "LC_ALL",
    "MIRROR",
    "PATH",
    "QUILT_NO_DIFF_INDEX",
    "QUILT_NO_DIFF_TIMESTAMPS",
    "QUILT_PATCHES",
    "QUILT_REFRESH_ARGS",
    "RASPBERRYPI_MIRROR",
    "RELEASE",
    "SECURITY_MIRROR",
    "SOURCE_DATE_EPOCH",
];

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

/// How the variable `name` bears on what a step makes.
pub fn bearing(name: &str) -> Bearing {
    if CORE.contains(&name) {
        Bearing::Core
    } else if NOT_IN_KEY.contains(&name) || PLUMBING.contains(&name) {
        Bearing::Never
    } else if OUTPUT_NAMES.contains(&name) {
        Bearing::Named
    } else {
        Bearing::Visible
    }
}

/// The environment of programs that are not scripts of the tree: so that a variable cannot
/// change what they do without being in their layer's key.
pub fn without_settings(env: &Env) -> Env {
    env.iter()
        .filter(|(name, _)| CORE.contains(&name.as_str()) || PLUMBING.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Everything exported to a script at `place`.
pub fn of(config: &Config, mirrors: &Mirrors, place: &Place) -> Env {
    let mut env = Env::new();
    let mut set = |name: &str, value: &str| {
        env.insert(name.to_owned(), value.to_owned());
    };
    settings(config, mirrors, &mut set);
    places(config, place, &mut set);
    for (name, value) in &config.exports {
        set(name, value);
    }
    // Not as exported: Raspbian has none of Debian's.
    set("EXTRA_SUITES", &config.extra_suites().join(" "));
    set("PATH", PATH);
    set("HOME", "/root");
    set("LC_ALL", "C.UTF-8");
    set("TERM", "dumb");
    set("DEBIAN_FRONTEND", "noninteractive");
    set("DEBCONF_NONINTERACTIVE_SEEN", "true");
    set(crate::sandbox::rootfs::QEMU_CPU_VAR, config.qemu_cpu());
    env
}

fn flag(value: bool) -> &'static str {
    if value { "1" } else { "0" }
}

fn settings(config: &Config, mirrors: &Mirrors, set: &mut dyn FnMut(&str, &str)) {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    set("IMG_NAME", &config.img_name);
    set("IMG_DATE", &config.img_date);
    set("IMG_FILENAME", &config.img_filename);
    set("ARCHIVE_FILENAME", &config.archive_filename);
    set("RELEASE", &config.release);
    set("ARCH", config.arch.debian());
    set("TARGET_HOSTNAME", &config.target_hostname);
    set("FIRST_USER_NAME", &config.first_user_name);
    set("FIRST_USER_PASS", &text(&config.first_user_pass));
    set(
        "DISABLE_FIRST_BOOT_USER_RENAME",
        flag(config.disable_first_boot_user_rename),
    );
    set("PASSWORDLESS_SUDO", flag(config.passwordless_sudo));
    set("WPA_COUNTRY", &text(&config.wpa_country));
    set("ENABLE_SSH", flag(config.enable_ssh));
    set("PUBKEY_ONLY_SSH", flag(config.pubkey_only_ssh));
    set(
        "PUBKEY_SSH_FIRST_USER",
        &text(&config.pubkey_ssh_first_user),
    );
    set("LOCALE_DEFAULT", &config.locale_default);
    set("KEYBOARD_KEYMAP", &config.keyboard_keymap);
    set("KEYBOARD_LAYOUT", &config.keyboard_layout);
    set("TIMEZONE_DEFAULT", &config.timezone_default);
    set("ENABLE_CLOUD_INIT", flag(config.enable_cloud_init));
    set("PI_GEN", "westwork-gen");
    set("PI_GEN_REPO", env!("CARGO_PKG_NAME"));
    set("PI_GEN_RELEASE", env!("CARGO_PKG_VERSION"));
    set("GIT_HASH", "");
    set("CLEAN", flag(config.clean));
    set("APT_PROXY", &text(&config.apt_proxy));
    set("APT_TIMEOUT", &config.apt_timeout.to_string());
    set("TEMP_REPO", &text(&config.temp_repo));
    set("USE_QEMU", "0");
    set("SETFCAP", "1");
    set(
        "DEPLOY_COMPRESSION",
        &Compression::words(&config.compression),
    );
    let level = config.compression_level.map(|level| level.to_string());
    set("COMPRESSION_LEVEL", &level.unwrap_or_default());
    set("MIRROR", &mirrors.build);
    set("SECURITY_MIRROR", &mirrors.security);
    set("COMPONENTS", config.components());
    set("DISTRO", config.distro.word());
    set("RASPBERRYPI_MIRROR", &mirrors.raspberrypi);
    let debian = mirrors.debian();
    set("DEBIAN_MIRROR", &debian.build);
    set("DEBIAN_SECURITY_MIRROR", &debian.security);
    set("DEBIAN_SUITES", &config.debian_suites().join(" "));
    keyrings(config, set);
    set("IMAGE_MIRROR", &text(&config.image_mirror));
    set(
        "BOOTSTRAP",
        match config.bootstrap {
            crate::config::Bootstrap::Mmdebstrap => "mmdebstrap",
            crate::config::Bootstrap::Debootstrap => "debootstrap",
        },
    );
}

/// Files with the keys of archives other than Debian's. What is in them counts in a layer's key,
/// not where they lie.
fn keyrings(config: &Config, set: &mut dyn FnMut(&str, &str)) {
    let mut sums = Vec::new();
    for signed in Signed::of(config) {
        let Some(path) = signed.known(config) else {
            continue;
        };
        let sum = std::fs::read(&path).map(|bytes| hex::encode(Sha256::digest(bytes)));
        sums.push(sum.unwrap_or_default());
        let name = match signed {
            Signed::RaspberryPi => "RASPBERRYPI_KEYRING",
            Signed::Raspbian => "RASPBIAN_KEYRING",
        };
        set(name, &path.to_string_lossy());
    }
    set("ARCHIVE_KEYS", &sums.join(" "));
}

fn places(config: &Config, place: &Place, set: &mut dyn FnMut(&str, &str)) {
    let mut path = |name: &str, path: &Path| set(name, &path.to_string_lossy());
    let stage_work = stage_work_dir(place.work, place.stage);
    path("BASE_DIR", &config.base_dir);
    path("CACHE_DIR", &config.cache_dir);
    path(
        "WESTWORK_BIN",
        config.westwork_bin.as_deref().unwrap_or(Path::new("")),
    );
    path("SCRIPT_DIR", &config.base_dir.join("scripts"));
    path("WORK_DIR", place.work);
    path("LOG_FILE", &place.work.join("build.log"));
    path("EXPORT_CONFIG_DIR", &config.export_config_dir);
    path("STAGE_DIR", &place.stage.dir);
    path("STAGE_WORK_DIR", &stage_work);
    path("ROOTFS_DIR", &stage_work.join("rootfs"));
    match place.exported {
        Some(exported) => {
            path("EXPORT_DIR", &exported.dir);
            let work = stage_work_dir(place.work, exported);
            path("EXPORT_ROOTFS_DIR", &work.join("rootfs"));
            path("DEPLOY_DIR", &stage_work.join(EXPORT_DEPLOY));
        }
        None => {
            path("EXPORT_DIR", Path::new(""));
            path("EXPORT_ROOTFS_DIR", Path::new(""));
            path("DEPLOY_DIR", &config.deploy_dir);
        }
    }
    if let Some(dir) = place.sub_stage {
        path("SUB_STAGE_DIR", dir);
    }
    let previous = place.previous;
    path(
        "PREV_STAGE_DIR",
        previous.map_or(Path::new(""), |stage| &stage.dir),
    );
    let rootfs = previous.map(|stage| stage_work_dir(place.work, stage).join("rootfs"));
    path("PREV_ROOTFS_DIR", &rootfs.unwrap_or_default());
    if let Ok(own) = crate::base::command::own_program() {
        path("WESTWORK_GEN", &own);
    }
    // What the program is counts in a layer's key, not where it lies.
    let sum = config.westwork_bin.as_ref().and_then(|path| {
        let bytes = std::fs::read(path).ok()?;
        Some(hex::encode(Sha256::digest(bytes)))
    });
    set("WESTWORK_BIN_SUM", &sum.unwrap_or_default());
    set("STAGE", &place.stage.name);
    set("PREV_STAGE", previous.map_or("", |stage| &stage.name));
    set("IMG_SUFFIX", place.img_suffix);
    let list: Vec<_> = config
        .stage_list
        .iter()
        .map(|dir| dir.to_string_lossy())
        .collect();
    set("STAGE_LIST", &list.join(" "));
    set("QUILT_PATCHES", "");
    set("QUILT_NO_DIFF_INDEX", "1");
    set("QUILT_NO_DIFF_TIMESTAMPS", "1");
    set("QUILT_REFRESH_ARGS", "-p ab");
}
