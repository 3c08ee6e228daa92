//! Package steps: lists, debconf answers, the build's own apt configuration, and the cache
//! of downloaded packages that all builds share.

use crate::config::Config;
use crate::script::Env;
use anyhow::{Context, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Path of the build's apt configuration inside the chroot.
pub fn conf_path() -> String {
    format!("/{}/apt.conf", crate::rootfs::PRIVATE_DIR)
}

/// apt configuration that is in force during the build and is never written to the image.
///
/// apt's binary caches go to the build's own package directory: some 40 MB that would be in
/// every layer otherwise.
pub fn build_conf(config: &Config) -> String {
    let mut conf = String::from(
        "APT::Keep-Downloaded-Packages \"true\";\n\
         Acquire::Retries \"3\";\n\
         Acquire::Languages \"none\";\n\
         Dir::Cache::pkgcache \"archives/pkgcache.bin\";\n\
         Dir::Cache::srcpkgcache \"archives/srcpkgcache.bin\";\n\
         Dpkg::Use-Pty \"false\";\n\
         DPkg::Options:: \"--force-unsafe-io\";\n",
    );
    if let Some(proxy) = &config.apt_proxy {
        conf += &format!("Acquire::http::Proxy \"{proxy}\";\nAcquire::https::Proxy \"{proxy}\";\n");
    }
    conf
}

/// Packages and options named by a list: `#` starts a comment, several words a line.
pub fn parse_list(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .flat_map(str::split_ascii_whitespace)
        .map(str::to_owned)
        .collect()
}

/// The apt-get call that installs `packages`.
pub fn install(packages: &[String], recommends: Recommends) -> Vec<String> {
    let mut argv: Vec<String> = ["apt-get", "install", "--yes"].map(str::to_owned).into();
    if recommends == Recommends::No {
        argv.push("--no-install-recommends".to_owned());
    }
    argv.extend_from_slice(packages);
    argv
}

/// Whether recommended packages are installed too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recommends {
    Yes,
    No,
}

/// Replaces `${NAME}` by the variable's value; unknown names are left as they are.
pub fn expand(text: &str, env: &Env) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        expanded += &rest[..start];
        let after = &rest[start + 2..];
        let value = after
            .find('}')
            .and_then(|end| Some((env.get(&after[..end])?, end)));
        match value {
            Some((value, end)) => {
                expanded += value;
                rest = &after[end + 1..];
            }
            None => {
                expanded += "${";
                rest = after;
            }
        }
    }
    expanded + rest
}

/// Downloaded packages, shared by all builds through hard links: a build has a directory of
/// its own, so that two builds do not wait for each other's locks.
pub struct Archives {
    pool: PathBuf,
    own: tempfile::TempDir,
}

impl Archives {
    /// Opens the pool below `cache_dir` for packages of `arch` and makes the build's own view.
    pub fn open(cache_dir: &Path, arch: &str) -> Result<Self> {
        let pool = cache_dir.join("packages").join(arch);
        fs::create_dir_all(&pool).with_context(|| format!("making {}", pool.display()))?;
        let own = tempfile::Builder::new()
            .prefix("build-")
            .tempdir_in(cache_dir)
            .with_context(|| format!("making a directory in {}", cache_dir.display()))?;
        let archives = Self { pool, own };
        link_packages(&archives.pool, archives.dir())?;
        Ok(archives)
    }

    /// Directory to be seen as /var/cache/apt/archives.
    pub fn dir(&self) -> &Path {
        self.own.path()
    }

    /// Puts what was downloaded since into the pool.
    pub fn save(&self) -> Result<()> {
        link_packages(self.dir(), &self.pool)
    }
}

fn link_packages(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let path = entry
            .with_context(|| format!("reading {}", from.display()))?
            .path();
        let (Some(name), Some("deb")) =
            (path.file_name(), path.extension().and_then(|e| e.to_str()))
        else {
            continue;
        };
        match fs::hard_link(&path, to.join(name)) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("linking {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_comments_options_and_several_names_a_line() {
        let text = "# base\nless nano # editors\n\n-t trixie-backports\nfoo- bar/sid baz=1.0\n";
        assert_eq!(
            parse_list(text),
            [
                "less",
                "nano",
                "-t",
                "trixie-backports",
                "foo-",
                "bar/sid",
                "baz=1.0"
            ]
        );
    }

    #[test]
    fn only_known_variables_are_expanded() {
        let env = Env::from([("LOCALE_DEFAULT".to_owned(), "en_GB.UTF-8".to_owned())]);
        assert_eq!(
            expand("a ${LOCALE_DEFAULT} ${OTHER} $X ${", &env),
            "a en_GB.UTF-8 ${OTHER} $X ${"
        );
    }

    #[test]
    fn packages_reach_other_builds_through_the_pool() {
        let cache = tempfile::tempdir().unwrap();
        let one = Archives::open(cache.path(), "arm64").unwrap();
        fs::write(one.dir().join("a_1_arm64.deb"), "x").unwrap();
        fs::write(one.dir().join("lock"), "").unwrap();
        one.save().unwrap();
        let two = Archives::open(cache.path(), "arm64").unwrap();
        assert!(two.dir().join("a_1_arm64.deb").exists());
        assert!(!two.dir().join("lock").exists());
    }
}
