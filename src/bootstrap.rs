//! The first root file system: what the function `bootstrap` of a stage's `prerun.sh` does.

use crate::mirror::Mirrors;
use crate::rootfs::{
    ARCHIVES_VAR, LOCKED_DIR, LOCKED_VAR, TOOLS_DIR, bind, locked_source, mount_locked,
    mount_tools, tmpfs,
};
use anyhow::{Context, Result, bail};
use nix::mount::MsFlags;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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
    let mut command = match env::var("BOOTSTRAP").as_deref() {
        Ok("debootstrap") => {
            bind(&request.dir, plain.path())?;
            debootstrap(request, plain.path(), locked)?
        }
        _ => mmdebstrap(request, locked)?,
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
    // Both tools copy the build machine's; a stage that wants another name writes it.
    let name = request.dir.join("etc/hostname");
    if name.is_file() {
        fs::write(&name, "localhost\n").with_context(|| format!("writing {}", name.display()))?;
    }
    if plain.path().join("usr").is_dir() {
        crate::sandbox::unmount(plain.path())?;
    }
    if locked && !request.mirror.is_empty() {
        // As it is without a lock file.
        let path = request.dir.join("etc/apt/sources.list");
        fs::write(&path, sources(request).join("\n") + "\n")
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

const COMPONENTS: &str = "main,non-free-firmware";

fn mmdebstrap(request: &Request, locked: bool) -> Result<Command> {
    let archives = archives()?;
    let mut command = Command::new("mmdebstrap");
    command
        .args(["--mode=root", "--variant=important", "--format=directory"])
        .arg(format!("--architectures={}", arch()?))
        .arg(format!("--components={COMPONENTS}"))
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
        command.args(sources(request));
    }
    Ok(command)
}

/// The mirror's suites: with updates and security from the start, nothing is installed twice.
fn sources(request: &Request) -> Vec<String> {
    let mirrors = Mirrors {
        build: request.mirror.clone(),
        security: env::var("SECURITY_MIRROR").unwrap_or_default(),
    };
    let suites = env::var("EXTRA_SUITES").unwrap_or_default();
    let suites: Vec<&str> = suites.split_ascii_whitespace().collect();
    mirrors.sources(&request.suite, &COMPONENTS.replace(',', " "), &suites)
}

/// mmdebstrap's option that shows the package cache to its apt from the first download on.
pub(crate) fn archives_hook(archives: &str) -> String {
    let quoted = archives.replace('\'', r"'\''");
    format!(
        "--setup-hook=mkdir -p \"$1/var/cache/apt/archives\" && mount --bind '{quoted}' \"$1/var/cache/apt/archives\""
    )
}

fn debootstrap(request: &Request, dir: &Path, locked: bool) -> Result<Command> {
    let mut command = Command::new("debootstrap");
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
                format!("--components={COMPONENTS}"),
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
