//! apt of the build machine, with directories of its own and for any architecture.

use crate::base::command::Command;
use crate::base::tool::Tool;
use crate::config::{Config, proxy};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where a machine's archive keys lie: those that apt takes for every archive, and those that
/// packages bring for one each.
pub(crate) const KEY_PLACES: [&str; 2] = ["/etc/apt/trusted.gpg.d", "/usr/share/keyrings"];

/// What the machine's own apt does around an update is none of ours.
const NO_HOOKS: &str = "#clear APT::Update::Pre-Invoke;\n\
                        #clear APT::Update::Post-Invoke;\n\
                        #clear APT::Update::Post-Invoke-Success;\n";

/// apt with its directories below one of ours.
pub(crate) struct Apt {
    options: Vec<String>,
}

impl Apt {
    /// Makes apt's directories in `dir`, with these `lines` of sources, and with `keys` as the
    /// directory of keys that count for all of them.
    pub(crate) fn new(
        dir: &Path,
        lines: &[String],
        architecture: &str,
        keys: &Path,
    ) -> Result<Self> {
        // apt reads the keys as a user of its own.
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("opening {}", dir.display()))?;
        for path in [
            "etc/apt/apt.conf.d",
            "etc/apt/preferences.d",
            "etc/apt/sources.list.d",
            "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial",
            "var/lib/dpkg",
        ] {
            fs::create_dir_all(dir.join(path)).with_context(|| format!("making {path}"))?;
        }
        fs::write(dir.join("var/lib/dpkg/status"), "").context("making an empty status")?;
        fs::write(dir.join("etc/apt/sources.list"), lines.join("\n") + "\n")
            .context("writing apt's sources")?;
        let conf = dir.join("apt.conf");
        fs::write(&conf, NO_HOOKS).context("writing apt's configuration")?;
        let options = vec![
            format!("--config-file={}", conf.display()),
            format!("-oDir={}", dir.display()),
            format!(
                "-oDir::State::status={}",
                dir.join("var/lib/dpkg/status").display()
            ),
            format!("-oDir::Etc::TrustedParts={}", keys.display()),
            format!("-oAPT::Architecture={architecture}"),
            format!("-oAPT::Architectures={architecture}"),
            "-oAcquire::Languages=none".to_owned(),
            // Containers keep the lists compressed, which apt alone can read.
            "-oAcquire::GzipIndexes=false".to_owned(),
            "-oAPT::Sandbox::User=root".to_owned(),
        ];
        Ok(Self { options })
    }

    /// With what `config` says of the network.
    pub(crate) fn for_network(mut self, config: &Config) -> Self {
        self.options.extend([
            "-oAcquire::Retries=3".to_owned(),
            format!("-oAcquire::http::Timeout={}", config.apt_timeout),
            format!("-oAcquire::https::Timeout={}", config.apt_timeout),
        ]);
        let proxy = proxy::apt_options(config.apt_proxy.as_deref());
        self.options.extend(proxy);
        self
    }

    /// apt-get, or another program of apt, with what it prints.
    pub(crate) fn run(&self, program: Tool, args: &[String]) -> Result<String> {
        self.command(program, args).read()
    }

    /// The same, not started yet.
    pub(crate) fn command(&self, program: Tool, args: &[String]) -> Command {
        Command::new(program).args(&self.options).args(args)
    }
}

/// A directory in `dir` with copies of the keys in `files`.
///
/// # Errors
/// When one cannot be copied.
pub(crate) fn keys_in(dir: &Path, files: &[PathBuf]) -> Result<PathBuf> {
    let keys = dir.join("keys");
    fs::create_dir(&keys).context("making a directory for keys")?;
    for (number, file) in files.iter().enumerate() {
        // apt tells the two forms of a key apart by the ending.
        let ending = match file.extension().and_then(|ending| ending.to_str()) {
            Some("asc") => "asc",
            _ => "gpg",
        };
        fs::copy(file, keys.join(format!("{number}.{ending}")))
            .with_context(|| format!("copying {}", file.display()))?;
    }
    Ok(keys)
}

/// The archive keys that this machine has in `place` and lets this user read, without those that
/// archives have given up.
pub(crate) fn machine_keys(place: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(place)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_key = [".gpg", ".asc", ".pgp"]
                .iter()
                .any(|end| name.ends_with(end));
            is_key && !name.contains("removed") && fs::File::open(path).is_ok()
        })
        .collect();
    found.sort();
    found
}
