//! What the function `bootstrap` was called with: debootstrap's words, in its order or with the
//! options last, for either tool.

use crate::config::Arch;
use anyhow::{Result, bail};
use std::path::PathBuf;

/// Words after `internal bootstrap`, as a shell has them.
#[derive(Debug, Clone, clap::Args)]
pub struct Words {
    /// [OPTION…] SUITE DIR [MIRROR [SCRIPT]] [OPTION…]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// The root file system that is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub suite: String,
    pub dir: PathBuf,
    /// Empty: the tool's own default.
    pub mirror: String,
    /// debootstrap's script for the suite, by another name than the suite's.
    pub script: Option<String>,
    pub variant: Option<String>,
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    /// With commas between them; those of the distribution if none were named.
    pub components: Option<String>,
    /// Suites besides this one; those of the config if nothing was said of them.
    pub extra_suites: Option<Vec<String>>,
    /// Options that are the tool's own.
    pub rest: Vec<String>,
}

/// Options whose value may be the next word.
const VALUED: &[&str] = &[
    "aptopt",
    "arch",
    "architectures",
    "ca-certificate",
    "cache-dir",
    "certificate",
    "components",
    "customize-hook",
    "dpkgopt",
    "essential-hook",
    "exclude",
    "extra-suites",
    "extract-hook",
    "include",
    "keyring",
    "private-key",
    "setup-hook",
    "skip",
    "variant",
];

/// Options that change nothing here: signatures are always checked, packages come from the
/// cache, and each release is merged as it is.
const WITHOUT_EFFECT: &[&str] = &[
    "cache-dir",
    "force-check-gpg",
    "keep-debootstrap-dir",
    "log-extra-deps",
    "merged-usr",
    "no-check-certificate",
    "no-check-gpg",
    "no-merged-usr",
    "verbose",
];

/// Options that end in something else than a root file system.
const REFUSED: &[&str] = &[
    "download-only",
    "foreign",
    "make-tarball",
    "print-debs",
    "second-stage",
    "second-stage-target",
    "unpack-tarball",
];

impl Words {
    /// Reads them, for an image of `arch`.
    ///
    /// # Errors
    /// When suite or directory is missing, or an option cannot be followed.
    pub(super) fn read(&self, arch: Arch) -> Result<Request> {
        let mut request = Request::default();
        let mut plain = Vec::new();
        let mut words = self.words.iter();
        while let Some(word) = words.next() {
            let Some(option) = word.strip_prefix("--") else {
                plain.push(word.clone());
                continue;
            };
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None if VALUED.contains(&option) => (option, words.next().cloned()),
                None => (option, None),
            };
            request.option(name, value, arch)?;
        }
        let mut plain = plain.into_iter();
        let (Some(suite), Some(dir)) = (plain.next(), plain.next()) else {
            bail!("bootstrap: write `bootstrap SUITE \"$ROOTFS_DIR\" MIRROR`");
        };
        (request.suite, request.dir) = (suite, dir.into());
        request.mirror = plain.next().unwrap_or_default();
        request.script = plain.next();
        if let Some(word) = plain.next() {
            bail!("bootstrap: {word} is one word too many; debootstrap takes four at most");
        }
        Ok(request)
    }
}

impl Request {
    fn option(&mut self, name: &str, value: Option<String>, arch: Arch) -> Result<()> {
        let list = || {
            let words = value.iter().flat_map(|value| value.split([',', ' ']));
            words.filter(|word| !word.is_empty()).map(str::to_owned)
        };
        // apt's patterns have commas of their own.
        let is_pattern = |value: &String| value.starts_with(['?', '~']);
        match name {
            "include" if value.as_ref().is_some_and(is_pattern) => {
                self.rest
                    .extend(value.map(|value| format!("--include={value}")));
            }
            "include" => self.include.extend(list()),
            "exclude" => self.exclude.extend(list()),
            "extra-suites" => self.extra_suites = Some(list().collect()),
            "components" => self.components = value,
            "variant" => self.variant = value,
            "arch" if value.as_deref() == Some(arch.debian()) => {}
            "arch" => bail!(
                "bootstrap: --arch={} is not the image's {}; set ARCH in the config",
                value.unwrap_or_default(),
                arch.debian()
            ),
            _ if WITHOUT_EFFECT.contains(&name) => {}
            _ if REFUSED.contains(&name) => {
                bail!("bootstrap: --{name} does not make a whole root file system; leave it out")
            }
            _ => self.rest.push(match value {
                Some(value) => format!("--{name}={value}"),
                None => format!("--{name}"),
            }),
        }
        Ok(())
    }

    /// What mmdebstrap is told of the packages: it has no word for those that are not wanted, so
    /// apt is asked for the rest of the variant.
    pub(super) fn for_mmdebstrap(&self, arch: Arch) -> Vec<String> {
        let variant = self.variant.as_deref().unwrap_or("important");
        let priorities = match variant {
            "minbase" => "?priority(required)",
            "important" | "standard" | "-" => "?or(?priority(required),?priority(important))",
            // The others have nothing that one would leave out.
            _ => "",
        };
        let mut options = Vec::new();
        if self.exclude.is_empty() || priorities.is_empty() {
            let word = if variant == "-" { "standard" } else { variant };
            options.push(format!("--variant={word}"));
        } else {
            let without: String = self
                .exclude
                .iter()
                .map(|name| format!(",?not(?exact-name({name}))"))
                .collect();
            options.push("--variant=apt".to_owned());
            options.push(format!(
                "--include=?narrow(?architecture({}),?and({priorities},?not(?essential){without}))",
                arch.debian()
            ));
        }
        if !self.include.is_empty() {
            options.push(format!("--include={}", self.include.join(",")));
        }
        options
    }

    /// As [`Self::for_mmdebstrap`].
    pub(super) fn for_debootstrap(&self) -> Vec<String> {
        let mut options = Vec::new();
        let none = Vec::new();
        let suites = self.extra_suites.as_ref().unwrap_or(&none);
        for (name, list) in [
            ("include", &self.include),
            ("exclude", &self.exclude),
            ("extra-suites", suites),
        ] {
            if !list.is_empty() {
                options.push(format!("--{name}={}", list.join(",")));
            }
        }
        options.extend(self.variant.iter().map(|word| format!("--variant={word}")));
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[&str]) -> Result<Request> {
        let words = line.iter().map(|word| (*word).to_owned()).collect();
        Words { words }.read(Arch::Arm64)
    }

    #[test]
    fn options_may_stand_anywhere_and_have_their_value_beside_them() {
        let words = [
            "--include",
            "gnupg",
            "--exclude=info,ifupdown",
            "--include=ca-certificates",
            "--extra-suites=",
            "--variant=minbase",
            "--no-check-gpg",
            "--arch",
            "arm64",
            "trixie",
            "/root",
            "http://mirror.example/debian/",
        ];
        let first = read(&words).unwrap();
        assert_eq!(
            (first.suite.as_str(), first.dir.as_path()),
            ("trixie", "/root".as_ref())
        );
        assert_eq!(first.mirror, "http://mirror.example/debian/");
        assert_eq!(first.include, ["gnupg", "ca-certificates"]);
        assert_eq!(first.exclude, ["info", "ifupdown"]);
        assert_eq!(first.extra_suites, Some(Vec::new()));
        assert_eq!(first.rest, [""; 0]);
        let (options, plain) = words.split_at(9);
        assert_eq!(first, read(&[plain, options].concat()).unwrap());
        let last = read(&["trixie", "/root", "", "sid", "--aptopt=A \"b\";"]).unwrap();
        assert_eq!(last.script.as_deref(), Some("sid"));
        assert_eq!(last.rest, ["--aptopt=A \"b\";"]);
    }

    #[test]
    fn what_cannot_be_followed_is_named() {
        for (line, said) in [
            (&["trixie"][..], "write `bootstrap SUITE"),
            (
                &["--arch=armhf", "trixie", "/r"],
                "--arch=armhf is not the image's arm64",
            ),
            (&["--foreign", "trixie", "/r"], "--foreign does not make"),
            (&["trixie", "/r", "m", "s", "x"], "x is one word too many"),
        ] {
            let error = read(line).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn what_is_left_out_is_left_out_of_the_variant() {
        let request = read(&["--exclude=ifupdown", "trixie", "/r"]).unwrap();
        let options = request.for_mmdebstrap(Arch::Arm64);
        assert_eq!(options[0], "--variant=apt");
        assert!(
            options[1].contains("?not(?exact-name(ifupdown))"),
            "{options:?}"
        );
        assert_eq!(request.for_debootstrap(), ["--exclude=ifupdown"]);
        let plain = read(&["trixie", "/r"]).unwrap();
        assert_eq!(plain.for_mmdebstrap(Arch::Arm64), ["--variant=important"]);
    }
}
