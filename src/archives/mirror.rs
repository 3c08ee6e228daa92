//! Where packages come from: the config, else the host's own apt sources.

use crate::base::command::Command;
use crate::base::tool::Tool;
use crate::config::{Base, Config, Distro};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// Raspbian, unless `MIRROR` says otherwise. The host's sources have no say: a machine that
/// uses Raspbian may well use another release or a mirror that is gone.
const RASPBIAN: &str = "http://raspbian.raspberrypi.com/raspbian";

/// Archive addresses of one build. An empty text leaves the choice to the bootstrap tool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirrors {
    /// Main archive of the image's base system: Debian's, or Raspbian.
    pub build: String,
    /// Debian's security archive; empty where the base system is not Debian.
    pub security: String,
    /// The Raspberry Pi archive; empty where the image takes nothing from it.
    pub raspberrypi: String,
    /// Debian's archives, where the base system's is another.
    debian: Option<Box<Self>>,
}

impl Mirrors {
    /// `MIRROR` if set, else the first Debian archive the host itself uses, or Raspbian.
    pub fn resolve(config: &Config) -> Self {
        let host = Self::of_host(&config.cache_dir);
        // Some servers do not take two slashes for one.
        let plain = |address: &str| address.trim_end_matches('/').to_owned();
        let raspberrypi = match config.distro {
            Distro::Debian => String::new(),
            Distro::Raspios => plain(&config.raspberrypi_mirror),
        };
        let given = config.mirror.as_deref();
        match config.base() {
            Base::Debian => Self {
                build: plain(given.unwrap_or(&host.build)),
                raspberrypi,
                ..host
            },
            Base::Raspbian => Self {
                build: plain(given.unwrap_or(RASPBIAN)),
                security: String::new(),
                raspberrypi,
                debian: Some(Box::new(host)),
            },
        }
    }

    /// One archive alone: `build`, with Debian's `security` where it is Debian's.
    pub fn of_debian(build: String, security: String) -> Self {
        Self {
            build,
            security,
            ..Self::default()
        }
    }

    /// Debian's own archives, which programs of the build machine come from.
    pub fn debian(&self) -> &Self {
        self.debian.as_deref().unwrap_or(self)
    }

    /// The lines of apt sources for the base system: `suites` are those besides the release
    /// itself (`updates`, `security`), `key` is the file with the one key that signs it. Its
    /// path must not have spaces, for which these lines have no escape.
    pub fn sources(
        &self,
        release: &str,
        components: &str,
        suites: &[&str],
        key: Option<&Path>,
    ) -> Vec<String> {
        let signed = key.map_or_else(String::new, |key| format!("[signed-by={}] ", key.display()));
        let mut lines = vec![format!("deb {signed}{} {release} {components}", self.build)];
        for suite in suites {
            let mirror = if *suite == "security" {
                &self.security
            } else {
                &self.build
            };
            if !mirror.is_empty() {
                lines.push(format!("deb {mirror} {release}-{suite} {components}"));
            }
        }
        lines
    }

    /// apt reads every list it has for the answer, unless it has done so before and may keep what it
    /// found. Of the machine's own such file an ordinary user cannot make a new one, and in Debian's
    /// container images there is none. So there is one in `cache_dir`, if that is there already.
    fn of_host(cache_dir: &Path) -> Self {
        let keep = cache_dir.join("host-apt");
        let kept = cache_dir.is_dir() && fs::create_dir_all(&keep).is_ok();
        let file = keep.join("pkgcache.bin");
        let caches = [
            "-o".to_owned(),
            format!("Dir::Cache::pkgcache={}", file.display()),
            "-oDir::Cache::srcpkgcache=".to_owned(),
        ];
        // A host without apt has no sources to offer; that is an answer, not an error.
        let targets = Command::new(Tool::AptGet)
            .args(caches.into_iter().filter(|_| kept))
            .args([
                "indextargets",
                "--format",
                "$(LABEL)|$(REPO_URI)",
                "Created-By: Packages",
            ])
            .read()
            .unwrap_or_default();
        Self::from_targets(&targets)
    }

    /// From lines of `LABEL|URI`, as apt-get(8) `indextargets` prints them.
    fn from_targets(text: &str) -> Self {
        let first = |wanted: &str| {
            text.lines()
                .filter_map(|line| line.split_once('|'))
                .find(|(label, uri)| *label == wanted && uri.starts_with("http"))
                .map(|(_, uri)| uri.trim_end_matches('/').to_owned())
                .unwrap_or_default()
        };
        Self::of_debian(first("Debian"), first("Debian-Security"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_come_from_the_archive_that_has_them() {
        let mirrors = Mirrors::of_debian("http://m/debian".to_owned(), String::new());
        let lines = mirrors.sources("trixie", "main", &["updates", "security"], None);
        assert_eq!(
            lines,
            [
                "deb http://m/debian trixie main",
                "deb http://m/debian trixie-updates main"
            ]
        );
    }

    #[test]
    fn the_hosts_debian_archives_are_told_apart() {
        let text = "Other|http://other.example/apt/\nDebian|http://m.example/debian/\nDebian-Security|http://m.example/sec/\nDebian|http://n.example/debian/\n";
        let mirrors = Mirrors::from_targets(text);
        assert_eq!(mirrors.build, "http://m.example/debian");
        assert_eq!(mirrors.security, "http://m.example/sec");
    }

    #[test]
    fn what_apt_found_is_kept_and_the_answer_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let without = Mirrors::of_host(&missing);
        assert!(!missing.exists());
        let keep = dir.path().join("a cache, with a comma");
        fs::create_dir(&keep).unwrap();
        for _ in 0..2 {
            assert_eq!(Mirrors::of_host(&keep), without);
            assert!(keep.join("host-apt/pkgcache.bin").is_file());
        }
    }

    #[test]
    fn raspbian_is_not_the_hosts_and_native_programs_are_debians() {
        let root = Path::new("/tree");
        let mut config = crate::plan::fixture::config(root, &[]);
        assert_eq!(Mirrors::resolve(&config).raspberrypi, "");
        config.distro = Distro::Raspios;
        let arm64 = Mirrors::resolve(&config);
        assert_eq!(arm64.raspberrypi, "http://archive.raspberrypi.com/debian");
        assert_eq!(arm64.debian(), &arm64);
        config.arch = crate::config::Arch::Armhf;
        let armhf = Mirrors::resolve(&config);
        assert_eq!((&*armhf.build, &*armhf.security), (RASPBIAN, ""));
        assert_eq!(armhf.debian(), &Mirrors::of_host(&config.cache_dir));
        let lines = armhf.sources("trixie", "main rpi", &[], Some(Path::new("/k")));
        assert_eq!(
            lines,
            [format!("deb [signed-by=/k] {RASPBIAN} trixie main rpi")]
        );
        assert_eq!(
            (config.qemu_cpu(), config.extra_suites().len()),
            ("arm1176", 0)
        );
    }
}
