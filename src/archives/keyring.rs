//! The keys that sign archives other than Debian's: each is known by its fingerprint, and a
//! key file counts only for the key with that fingerprint in it.

use super::gpg::{self, Remedy};
use crate::base::problem::Problem;
use crate::base::work;
use crate::config::{Base, Config, Distro};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// An archive with a pinned key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// The Raspberry Pi archive.
    RaspberryPi,
    /// Raspbian, for the ARMv6.
    Raspbian,
}

impl Signed {
    /// The archives with a pinned key that an image takes packages from.
    pub fn of(config: &Config) -> Vec<Self> {
        let mut all = Vec::new();
        if config.base() == Base::Raspbian {
            all.push(Self::Raspbian);
        }
        if config.distro == Distro::Raspios {
            all.push(Self::RaspberryPi);
        }
        all
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::RaspberryPi => "the Raspberry Pi archive",
            Self::Raspbian => "Raspbian",
        }
    }

    /// The config key that says where it is.
    pub fn mirror_key(self) -> &'static str {
        match self {
            Self::RaspberryPi => "RASPBERRYPI_MIRROR",
            Self::Raspbian => "MIRROR",
        }
    }

    fn config_key(self) -> &'static str {
        match self {
            Self::RaspberryPi => "RASPBERRYPI_KEY",
            Self::Raspbian => "RASPBIAN_KEY",
        }
    }

    fn given(self, config: &Config) -> Option<&Path> {
        match self {
            Self::RaspberryPi => config.raspberrypi_key.as_deref(),
            Self::Raspbian => config.raspbian_key.as_deref(),
        }
    }

    fn fingerprint(self, config: &Config) -> &str {
        match self {
            Self::RaspberryPi => &config.raspberrypi_fingerprint,
            Self::Raspbian => &config.raspbian_fingerprint,
        }
    }

    /// Package whose keyring a device with this archive has.
    fn package(self) -> &'static str {
        match self {
            Self::RaspberryPi => "raspberrypi-archive-keyring",
            Self::Raspbian => "raspbian-archive-keyring",
        }
    }

    /// Where that package puts it.
    fn installed(self) -> [PathBuf; 2] {
        ["pgp", "gpg"]
            .map(|end| PathBuf::from(format!("/usr/share/keyrings/{}.{end}", self.package())))
    }

    /// Where the archive's owners publish the key.
    fn address(self) -> &'static str {
        match self {
            Self::RaspberryPi => "https://archive.raspberrypi.com/debian/raspberrypi.gpg.key",
            Self::Raspbian => "https://archive.raspbian.org/raspbian.public.key",
        }
    }

    /// Where the key alone is kept once it has been judged.
    fn cached(self, config: &Config) -> PathBuf {
        let name = format!("{}.pgp", self.fingerprint(config));
        config.cache_dir.join("keys").join(name)
    }

    /// The key as it was found for an earlier build.
    pub fn known(self, config: &Config) -> Option<PathBuf> {
        Some(self.cached(config)).filter(|path| path.is_file())
    }

    /// A problem with the key file that the config names.
    pub fn problem(self, config: &Config) -> Option<Problem> {
        let file = self.given(config)?;
        let reason = gpg::key_of(file, self.fingerprint(config)).err()?;
        Some(
            Problem::new(
                format!("{}: {reason}", self.config_key()),
                self.remedy(config),
            )
            .at(file),
        )
    }

    fn remedy(self, config: &Config) -> String {
        format!(
            "name a file with the key {} of {}, or, if another key is right, its fingerprint in {}",
            self.fingerprint(config),
            self.name(),
            self.config_key().replace("_KEY", "_FINGERPRINT")
        )
    }

    /// Finds the key: the config's file, else the one this machine has installed, else the one
    /// found before, else, unless `offline`, the one that the archive's owners publish. The
    /// result is a file with this key and no other.
    ///
    /// # Errors
    /// When no file has the key, or only one that no verifier takes any more; the message has
    /// the reason for each and the remedy.
    pub fn find(self, config: &Config, offline: bool) -> Result<PathBuf> {
        let fingerprint = self.fingerprint(config);
        let cached = self.cached(config);
        if let Some(problem) = self.problem(config) {
            bail!("{problem}");
        }
        let mut reasons = Vec::new();
        let files = match self.given(config) {
            Some(file) => vec![file.to_owned()],
            None => self
                .installed()
                .into_iter()
                .chain([cached.clone()])
                .collect(),
        };
        for file in files.iter().filter(|file| file.is_file()) {
            match gpg::key_of(file, fingerprint) {
                Ok(key) => return keep(&cached, &key),
                Err(reason) => reasons.push(format!("{}: {reason}", file.display())),
            }
        }
        let published = tempfile::NamedTempFile::new().context("making a temporary file")?;
        let judged = if offline {
            Err("not fetched, because of --offline".to_owned())
        } else if crate::archives::download::fetch_to(self.address(), published.path(), config)
            .is_ok()
        {
            gpg::key_of(published.path(), fingerprint)
        } else {
            Err("it cannot be fetched".to_owned())
        };
        match judged {
            Ok(key) => keep(&cached, &key),
            Err(reason) => {
                reasons.push(format!("{}: {reason}", self.address()));
                bail!(
                    "there is no key to verify {} with: {}; install {}, or {}",
                    self.name(),
                    reasons.join("; "),
                    self.package(),
                    self.remedy(config)
                );
            }
        }
    }

    /// Judges the signature of the release file `text` by the key in `key`.
    ///
    /// # Errors
    /// When it is not one of this key that holds: the message names key, reason and remedy.
    pub fn verify(self, config: &Config, key: &Path, text: &str) -> Result<()> {
        let said = gpg::status_of(key, text)?;
        if let Err((reason, remedy)) = gpg::verdict(&said, self.fingerprint(config)) {
            bail!(
                "{} ({}) is not to be trusted: {reason}; {remedy}",
                self.name(),
                self.mirror_key(),
                remedy = match remedy {
                    Remedy::NewerKey => format!(
                        "install a newer {} or name a newer key file in {}",
                        self.package(),
                        self.config_key()
                    ),
                    Remedy::OtherMirror => format!(
                        "set {} to another copy of the archive, or try again later",
                        self.mirror_key()
                    ),
                    Remedy::OtherKey => format!(
                        "set {} to the real archive, or {} and {} to the key of this one",
                        self.mirror_key(),
                        self.config_key(),
                        self.config_key().replace("_KEY", "_FINGERPRINT")
                    ),
                }
            );
        }
        Ok(())
    }
}

fn keep(path: &Path, key: &[u8]) -> Result<PathBuf> {
    if fs::read(path).is_ok_and(|before| before == key) {
        return Ok(path.to_owned());
    }
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    }
    work::write(path, key)?;
    // apt may read it as a user of its own.
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
        .with_context(|| format!("setting the mode of {}", path.display()))?;
    Ok(path.to_owned())
}
