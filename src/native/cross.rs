//! Cross-compiling a Rust program for the image: what the function `cross_build` does.
//!
//! The toolchain is Debian's of the target's own suite: a root of the host's architecture,
//! unpacked once into the package cache and not installed. Inside it all paths are the same
//! on every machine, so the same sources give the same program.

use crate::archives::mirror::Mirrors;
use crate::base::arch::debian_arch;
use crate::config::Arch;
use crate::sandbox::rootfs::bind;
use anyhow::{Context, Result, bail, ensure};
use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `cross_build PACKAGE OUT [OPTION OF cargo build…]` was called with.
#[derive(Debug, Clone, clap::Args)]
pub struct Request {
    /// A package of the cargo workspace that the stage or `BASE_DIR` is in, whose program has the
    /// same name
    package: String,
    /// Where the program goes
    out: PathBuf,
    /// Passed on to cargo
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

/// A target as Debian and Rust call it.
struct Target {
    debian: &'static str,
    rust: &'static str,
    /// Prefix of the cross compiler's programs and packages.
    gnu: &'static str,
}

impl Target {
    fn of(arch: Arch) -> Self {
        match arch {
            Arch::Arm64 => Self {
                debian: "arm64",
                rust: "aarch64-unknown-linux-gnu",
                gnu: "aarch64-linux-gnu",
            },
            Arch::Armhf => Self {
                debian: "armhf",
                rust: "armv7-unknown-linux-gnueabihf",
                gnu: "arm-linux-gnueabihf",
            },
        }
    }

    fn is_native(&self) -> bool {
        self.debian == debian_arch()
    }

    fn packages(&self) -> String {
        // The native linker is for what runs while others are compiled.
        let base = "base-files,usr-is-merged,libc6,cargo,rustc,ca-certificates,gcc,libc6-dev";
        if self.is_native() {
            return base.to_owned();
        }
        let Self { debian, gnu, .. } = self;
        format!("{base},gcc-{gnu},libc6-dev-{debian}-cross,libstd-rust-dev:{debian}")
    }
}

/// Compiles `request.package` for the variables' `ARCH` and puts the program at
/// `request.out`. Crates come from cargo's cache below `CACHE_DIR`, or are fetched; their
/// checksums are those of Cargo.lock. Runs on the host side of a step, in its namespaces.
///
/// # Errors
/// When the toolchain cannot be made, or cargo fails; cargo has said why then.
pub fn cross_build(request: &Request) -> Result<()> {
    let variable = |name: &str| env::var(name).with_context(|| format!("reading {name}"));
    let workspace = workspace_of(&request.package, &variable("BASE_DIR")?)?;
    let arch = match variable("ARCH")?.as_str() {
        "arm64" => Arch::Arm64,
        "armhf" => Arch::Armhf,
        other => bail!("there is no cross compiler for ARCH={other}"),
    };
    ensure!(
        arch == Arch::Arm64 || variable("DISTRO")? != "raspios",
        "the suite's compiler makes programs for the ARMv7, and this image is for the ARMv6 too; set WESTWORK_BIN to a ready one"
    );
    let target = Target::of(arch);
    let cache = PathBuf::from(variable("CACHE_DIR")?);
    let root = toolchain(&target, &variable("RELEASE")?, &cache)?;

    let made = tempfile::tempdir().context("making a directory for what is compiled")?;
    let crates = cache.join("cargo");
    fs::create_dir_all(&crates).with_context(|| format!("making {}", crates.display()))?;
    for (what, name) in [
        (&*workspace, "src"),
        (&*crates, "cargo"),
        (made.path(), "target"),
    ] {
        let at = root.join(name);
        fs::create_dir_all(&at).with_context(|| format!("making {}", at.display()))?;
        bind(what, &at)?;
    }
    authorities(&root)?;
    cargo(&root, &target, request)?;
    let release = made.path().join(target.rust).join("release");
    fs::copy(release.join(&request.package), &request.out)
        .with_context(|| format!("copying to {}", request.out.display()))?;
    fs::set_permissions(&request.out, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("setting the mode of {}", request.out.display()))
}

/// The directory whose Cargo.lock knows `package`: the tree at `base`, or the one that the running
/// stage is a part of, which may be an installed one.
fn workspace_of(package: &str, base: &str) -> Result<PathBuf> {
    let stage = env::var_os("STAGE_DIR").map(PathBuf::from);
    let of_stage = stage
        .as_deref()
        .and_then(Path::parent)
        .and_then(Path::parent);
    let line = format!("name = \"{package}\"");
    let found = [Some(Path::new(base)), of_stage]
        .into_iter()
        .flatten()
        // Links out of the tree lead nowhere in the toolchain's root, so it is their target's.
        .filter_map(|dir| fs::canonicalize(dir.join("Cargo.lock")).ok())
        .find(|lock| fs::read_to_string(lock).is_ok_and(|text| text.lines().any(|l| l == line)));
    match found.as_deref().and_then(Path::parent) {
        Some(dir) => Ok(dir.to_owned()),
        None => bail!(
            "{base} has no Cargo.lock with {package} in it, so it cannot be compiled; set WESTWORK_BIN to a ready one"
        ),
    }
}

/// Runs cargo in the toolchain's `root`.
fn cargo(root: &Path, target: &Target, request: &Request) -> Result<()> {
    let linker = if target.is_native() {
        "gcc".to_owned()
    } else {
        format!("{}-gcc", target.gnu)
    };
    let linker_of = |triple: &str| {
        let triple = triple.to_uppercase().replace('-', "_");
        format!("CARGO_TARGET_{triple}_LINKER")
    };
    let native = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let settings = [
        ("HOME".to_owned(), "/tmp".to_owned()),
        ("PATH".to_owned(), "/usr/bin".to_owned()),
        ("CARGO_HOME".to_owned(), "/cargo".to_owned()),
        (
            "CARGO_HTTP_CAINFO".to_owned(),
            "/authorities.pem".to_owned(),
        ),
        ("CARGO_TERM_COLOR".to_owned(), "never".to_owned()),
        (linker_of(&native), "gcc".to_owned()),
        (linker_of(target.rust), linker),
        // Small before fast: it waits for people and for other programs.
        ("CARGO_PROFILE_RELEASE_OPT_LEVEL".to_owned(), "s".to_owned()),
        ("CARGO_PROFILE_RELEASE_LTO".to_owned(), "fat".to_owned()),
        (
            "CARGO_PROFILE_RELEASE_CODEGEN_UNITS".to_owned(),
            "1".to_owned(),
        ),
        ("CARGO_PROFILE_RELEASE_PANIC".to_owned(), "abort".to_owned()),
        (
            "CARGO_PROFILE_RELEASE_STRIP".to_owned(),
            "symbols".to_owned(),
        ),
    ];
    let passed_on = ["http_proxy", "https_proxy", "CARGO_NET_OFFLINE"]
        .into_iter()
        .filter_map(|name| Some((name, env::var_os(name)?)));
    let own = env::current_exe().context("finding the program itself")?;
    // Not the step's environment: what the target's root is furnished with is not for this one.
    let status = Command::new(own)
        .env_clear()
        .envs(settings)
        .envs(passed_on)
        .args(["internal", "chroot"])
        .arg(root)
        .args(["--", "cargo", "build", "--release", "--locked"])
        .args(["--manifest-path=/src/Cargo.toml", "--target-dir=/target"])
        .args(["--package", &request.package, "--target", target.rust])
        .args(&request.options)
        .status()
        .context("starting cargo")?;
    ensure!(status.success(), "cargo ended with {status}");
    Ok(())
}

/// Whom downloads trust: whom the host trusts, else Debian's list.
pub(crate) fn authorities(root: &Path) -> Result<()> {
    let to = root.join("authorities.pem");
    let host = Path::new("/etc/ssl/certs/ca-certificates.crt");
    if host.is_file() {
        fs::copy(host, &to).with_context(|| format!("copying {}", host.display()))?;
        return Ok(());
    }
    let dir = root.join("usr/share/ca-certificates/mozilla");
    let mut all = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("listing {}", dir.display()))? {
        all.extend(fs::read(entry?.path()).context("reading a certificate")?);
    }
    fs::write(&to, all).with_context(|| format!("writing {}", to.display()))
}

/// The toolchain's root from the cache, or a new one.
fn toolchain(target: &Target, release: &str, cache: &Path) -> Result<PathBuf> {
    let host = debian_arch();
    let architectures = if target.is_native() {
        target.debian.to_owned()
    } else {
        format!("{host},{}", target.debian)
    };
    let name = format!("{release}-{host}-{}", target.debian);
    unpacked(&name, &architectures, &target.packages(), release, cache)
}

/// A root with these packages unpacked and not installed, from `toolchains/NAME` in the cache,
/// or a new one. `packages` and `architectures` have commas between them.
pub(crate) fn unpacked(
    name: &str,
    architectures: &str,
    packages: &str,
    release: &str,
    cache: &Path,
) -> Result<PathBuf> {
    let base = cache.join("toolchains");
    let dir = base.join(name);
    if dir.is_dir() {
        return Ok(dir);
    }
    fs::create_dir_all(&base).with_context(|| format!("making {}", base.display()))?;
    let making = tempfile::Builder::new()
        .prefix("new-")
        .tempdir_in(&base)
        .with_context(|| format!("making a directory in {}", base.display()))?;
    let root = making.path().join("root");
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let mirrors = Mirrors::of_debian(
        variable("DEBIAN_MIRROR"),
        variable("DEBIAN_SECURITY_MIRROR"),
    );
    let suites = variable("DEBIAN_SUITES");
    let suites: Vec<&str> = suites.split_ascii_whitespace().collect();
    println!("unpacking {packages}");
    let mut command = Command::new("mmdebstrap");
    command
        .args(["--mode=root", "--variant=extract", "--format=directory"])
        .arg("--skip=check/qemu,essential/unlink")
        .arg(format!("--architectures={architectures}"))
        .arg(format!("--include={packages}"))
        .arg(release)
        .arg(&root);
    if !mirrors.build.is_empty() {
        command.args(mirrors.sources(release, "main", &suites, None));
    }
    if let Some(proxy) = env::var_os("APT_PROXY").filter(|proxy| !proxy.is_empty()) {
        command.env("http_proxy", proxy);
    }
    let status = command.status().context("starting mmdebstrap")?;
    ensure!(status.success(), "mmdebstrap ended with {status}");
    // Another build may have been faster; one of them is enough.
    if fs::rename(&root, &dir).is_err() && !dir.is_dir() {
        bail!("{} could not be made", dir.display());
    }
    Ok(dir)
}
