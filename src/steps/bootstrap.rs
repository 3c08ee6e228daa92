//! The first root file system: what the function `bootstrap` of a stage's `prerun.sh` does.

use crate::archives::mirror::Mirrors;
use crate::archives::pool::archives_hook;
use crate::base::inside::Root;
use crate::sandbox::rootfs::{
    ARCHIVES_VAR, LOCKED_DIR, LOCKED_VAR, TOOLS_DIR, bind, forget_resolver, locked_source,
    mount_locked, mount_tools, tmpfs,
};
use anyhow::{Context, Result, bail};
use nix::mount::MsFlags;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a system with Raspbian has its key.
const RASPBIAN_KEYRING: &str = "/usr/share/keyrings/raspbian-archive-keyring.gpg";

/// What `bootstrap SUITE DIR MIRROR [ARGS]` was called with.
#[derive(Debug, Clone, clap::Args)]
pub struct Request {
    suite: String,
    dir: PathBuf,
    /// Empty: the tool's own default.
    #[arg(default_value = "")]
    mirror: String,
    /// Passed on to the tool.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Makes a root file system of the variables' architecture with the tool the config chose.
///
/// Packages come from the shared cache where they are there; signatures are always checked.
///
/// # Errors
/// When the tool cannot be started or fails. Its own messages have been printed then.
pub fn bootstrap(request: &Request) -> Result<()> {
    fs::create_dir_all(&request.dir)
        .with_context(|| format!("making {}", request.dir.display()))?;
    let tools = mount_tools(&request.dir)?;
    let locked = env::var_os(LOCKED_VAR).is_some();
    if locked {
        // The index is to have one name here and in the new root: that of the steps to come.
        tmpfs(Path::new("/run"), "mode=755", MsFlags::empty())?;
        mount_locked(Path::new("/"))?;
    }
    // debootstrap cannot work in a directory with a space in its path: it gets another name.
    let plain = tempfile::tempdir().context("making a directory")?;
    let key = Key::new()?;
    let signer = key.as_ref().map(|key| key.path.as_path());
    let mut command = match env::var("BOOTSTRAP").as_deref() {
        Ok("debootstrap") => {
            bind(&request.dir, plain.path())?;
            debootstrap(request, plain.path(), locked, signer)?
        }
        _ => mmdebstrap(request, locked, signer)?,
    };
    if let Some(proxy) = env::var_os("APT_PROXY").filter(|proxy| !proxy.is_empty()) {
        // By environment, not by option: options end up in the image's apt.conf.d.
        command.env("http_proxy", proxy);
    }
    let status = command
        .status()
        .with_context(|| format!("starting {}", command.get_program().to_string_lossy()))?;
    if !status.success() {
        bail!(
            "{} ended with {status}",
            command.get_program().to_string_lossy()
        );
    }
    // Both tools copy the build machine's, with its mode; a stage that wants another name writes it.
    let name = request.dir.join("etc/hostname");
    if name.is_file() {
        fs::write(&name, "localhost\n").with_context(|| format!("writing {}", name.display()))?;
        fs::set_permissions(&name, fs::Permissions::from_mode(0o644))
            .with_context(|| format!("setting the mode of {}", name.display()))?;
    }
    // A layer may be taken to other machines. Commands in the root get a stand-in.
    forget_resolver(&Root::open(&request.dir)?)?;
    if plain.path().join("usr").is_dir() {
        crate::sandbox::unmount(plain.path())?;
    }
    if let Some(key) = &key {
        key.install(&request.dir)?;
    }
    if !request.mirror.is_empty() && (locked || key.is_some()) {
        // As it is without a lock file, and as apt in the new root finds the key.
        let path = request.dir.join("etc/apt/sources.list");
        let key = key.as_ref().map(|_| Path::new(RASPBIAN_KEYRING));
        fs::write(&path, sources(request, key).join("\n") + "\n")
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if tools.is_some() {
        crate::sandbox::unmount(&request.dir.join(TOOLS_DIR))?;
        fs::remove_dir(request.dir.join(TOOLS_DIR)).context("removing the tools' mount point")?;
    }
    Ok(())
}

fn arch() -> Result<String> {
    env::var("ARCH").context("reading ARCH, which a stage's environment has")
}

fn archives() -> Result<String> {
    env::var(ARCHIVES_VAR).context("finding the package cache")
}

/// The key of the archive that the base system is from, where it is not Debian's. apt's lists of
/// sources know no spaces in paths, so it gets a path without.
struct Key {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Key {
    fn new() -> Result<Option<Self>> {
        let Some(from) = env::var_os("RASPBIAN_KEYRING") else {
            return Ok(None);
        };
        let dir = tempfile::tempdir().context("making a directory for a key")?;
        // apt reads it as a user of its own.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))
            .context("opening a directory for a key")?;
        let path = dir.path().join("raspbian.pgp");
        fs::copy(&from, &path).with_context(|| format!("copying {}", from.to_string_lossy()))?;
        Ok(Some(Self { _dir: dir, path }))
    }

    /// Gives it to the new root, whose own package of it may take its place later.
    fn install(&self, root: &Path) -> Result<()> {
        let to = root.join(RASPBIAN_KEYRING.trim_start_matches('/'));
        if to.exists() {
            return Ok(());
        }
        let dir = to.parent().context("finding a directory")?;
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        fs::copy(&self.path, &to).with_context(|| format!("writing {}", to.display()))?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o644))
            .with_context(|| format!("setting the mode of {}", to.display()))
    }
}

/// Components of the base system's archive, with spaces between them.
fn components() -> Result<String> {
    env::var("COMPONENTS").context("reading COMPONENTS, which a stage's environment has")
}

fn mmdebstrap(request: &Request, locked: bool, key: Option<&Path>) -> Result<Command> {
    let archives = archives()?;
    let mut command = Command::new("mmdebstrap");
    command
        .args(["--mode=root", "--variant=important", "--format=directory"])
        .arg(format!("--architectures={}", arch()?))
        .arg(format!("--components={}", components()?.replace(' ', ",")))
        // apt writes these into the new root; the export takes the file away again.
        .arg("--aptopt=Acquire::Retries \"3\"")
        .args(
            env::var("APT_TIMEOUT")
                .ok()
                .into_iter()
                .flat_map(|seconds| {
                    ["http", "https"]
                        .map(|method| format!("--aptopt=Acquire::{method}::Timeout \"{seconds}\""))
                }),
        )
        // Emulation is the sandbox's own and was checked; downloads stay in the shared cache;
        // the package lists stay for the next step.
        .arg("--skip=check/qemu,check/empty,essential/unlink,cleanup/apt")
        .arg(archives_hook(&archives))
        .arg("--customize-hook=umount \"$1/var/cache/apt/archives\"")
        .args(&request.args)
        .arg(&request.suite)
        .arg(&request.dir);
    if locked {
        command.arg(locked_source(&request.suite));
    } else if !request.mirror.is_empty() {
        command.args(sources(request, key));
    }
    Ok(command)
}

/// The mirror's suites: with updates and security from the start, nothing is installed twice.
fn sources(request: &Request, key: Option<&Path>) -> Vec<String> {
    let security = env::var("SECURITY_MIRROR").unwrap_or_default();
    let mirrors = Mirrors::of_debian(request.mirror.clone(), security);
    let suites = env::var("EXTRA_SUITES").unwrap_or_default();
    let suites: Vec<&str> = suites.split_ascii_whitespace().collect();
    let components = components().unwrap_or_else(|_| "main".to_owned());
    mirrors.sources(&request.suite, &components, &suites, key)
}

fn debootstrap(request: &Request, dir: &Path, locked: bool, key: Option<&Path>) -> Result<Command> {
    let mut command = Command::new("debootstrap");
    if let Some(key) = key {
        command.arg(format!("--keyring={}", key.display()));
    }
    command
        // In a user namespace devices are bound, not made; debootstrap knows this as lxc.
        .env("container", "lxc")
        .arg(format!("--arch={}", arch()?))
        .arg(format!("--cache-dir={}", archives()?))
        .args(&request.args)
        // What a lock file names is checked by its sums.
        .args(if locked {
            ["--no-check-gpg".to_owned(), "--components=main".to_owned()]
        } else {
            [
                "--force-check-gpg".to_owned(),
                format!("--components={}", components()?.replace(' ', ",")),
            ]
        })
        .arg(&request.suite)
        .arg(dir);
    if locked {
        command.arg(format!("file:///{LOCKED_DIR}"));
    } else if !request.mirror.is_empty() {
        command.arg(&request.mirror);
    }
    Ok(command)
}
