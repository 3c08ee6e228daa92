//! Cross-compiling a Rust program for the image: what the function `cross_build` does.
//!
//! The toolchain is Debian's of the target's own suite: a root of the host's architecture,
//! unpacked once into the package cache and not installed. It is made by the build itself before
//! the step, which sees it read-only: trees share it. Inside it all paths are the same
//! on every machine, so the same sources give the same program.

use crate::archives::mmdebstrap;
use crate::base::arch::debian_arch;
use crate::base::command::{Command, Env, Program};
use crate::base::work;
use crate::config::{Arch, Distro, proxy};
use crate::layers::context::Context;
use crate::sandbox::mounts::{Tree, bind};
use crate::sandbox::own_root;
use crate::sandbox::rootfs::Furniture;
use anyhow::{Context as _, Result, bail, ensure};
use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

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

/// The toolchain that [`cross_build`] takes, where there can be one.
pub fn toolchain(told: &Context) -> Option<Unpacked> {
    (!for_armv6(told)).then(|| of_target(told))
}

/// Compiles `request.package` for the step's architecture and puts the program at
/// `request.out`. Crates come from cargo's cache in the work directory, or are fetched; their
/// checksums are those of Cargo.lock. Runs on the host side of a step, in its namespaces.
///
/// # Errors
/// When there is no toolchain, or cargo fails; cargo has said why then.
pub fn cross_build(request: &Request, told: &Context) -> Result<()> {
    let workspace = workspace_of(&request.package, told)?;
    ensure!(
        !for_armv6(told),
        "the suite's compiler makes programs for the ARMv7, and this image is for the ARMv6 too; set WESTWORK_BIN to a ready one"
    );
    let target = Target::of(told.arch);
    let made = tempfile::tempdir().context("making a directory for what is compiled")?;
    let crates = told.fetched.join("cargo");
    fs::create_dir_all(&crates).with_context(|| format!("making {}", crates.display()))?;
    let root = Workshop::open(&of_target(told), told)?;
    for (what, name) in [
        (&*workspace, "src"),
        (&*crates, "cargo"),
        (made.path(), "target"),
    ] {
        root.see(what, name)?;
    }
    cargo(&root, &target, request, told)?;
    let release = made.path().join(target.rust).join("release");
    fs::copy(release.join(&request.package), &request.out)
        .with_context(|| format!("copying to {}", request.out.display()))?;
    fs::set_permissions(&request.out, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("setting the mode of {}", request.out.display()))
}

/// Whether the image is for the ARMv6, too, for which Debian has no compiler.
fn for_armv6(told: &Context) -> bool {
    told.arch == Arch::Armhf && told.distro == Distro::Raspios
}

/// The directory whose Cargo.lock knows `package`: the tree at `base`, or the one that the running
/// stage is a part of, which may be an installed one.
fn workspace_of(package: &str, told: &Context) -> Result<PathBuf> {
    let base = &told.base_dir;
    let of_stage = told.stage_dir.parent().and_then(Path::parent);
    let line = format!("name = \"{package}\"");
    let found = [Some(base.as_path()), of_stage]
        .into_iter()
        .flatten()
        // Links out of the tree lead nowhere in the toolchain's root, so it is their target's.
        .filter_map(|dir| fs::canonicalize(dir.join("Cargo.lock")).ok())
        .find(|lock| fs::read_to_string(lock).is_ok_and(|text| text.lines().any(|l| l == line)));
    match found.as_deref().and_then(Path::parent) {
        Some(dir) => Ok(dir.to_owned()),
        None => bail!(
            "{} has no Cargo.lock with {package} in it, so it cannot be compiled; set WESTWORK_BIN to a ready one",
            base.display()
        ),
    }
}

/// Runs cargo in the toolchain's `root`.
fn cargo(root: &Workshop, target: &Target, request: &Request, told: &Context) -> Result<()> {
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
    let mut env: Env = settings.into_iter().collect();
    env.extend(proxy::variables(told.proxy.as_deref()));
    if let Ok(offline) = env::var("CARGO_NET_OFFLINE") {
        env.insert("CARGO_NET_OFFLINE".to_owned(), offline);
    }
    let words = [
        "cargo",
        "build",
        "--release",
        "--locked",
        "--manifest-path=/src/Cargo.toml",
        "--target-dir=/target",
        "--package",
        &request.package,
        "--target",
        target.rust,
    ];
    root.command(&words).args(&request.options).env(env).run()
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

fn of_target(told: &Context) -> Unpacked {
    let (host, target) = (debian_arch(), Target::of(told.arch));
    let architectures = if target.is_native() {
        target.debian.to_owned()
    } else {
        format!("{host},{}", target.debian)
    };
    Unpacked {
        name: format!("{}-{host}-{}", told.release, target.debian),
        architectures,
        packages: target.packages(),
    }
}

/// A root with packages unpacked and not installed, as `toolchains/NAME` of the cache.
pub struct Unpacked {
    /// Name of its directory in the cache.
    pub name: String,
    /// With commas between them.
    pub architectures: String,
    /// With commas between them.
    pub packages: String,
}

impl Unpacked {
    /// Whether it was made already.
    pub fn is_there(&self, told: &Context) -> bool {
        told.toolchains.join(&self.name).is_dir()
    }

    /// Makes it, unless it is there.
    ///
    /// # Errors
    /// When its packages cannot be had.
    pub fn make(&self, told: &Context, sink: &mut dyn FnMut(&str)) -> Result<()> {
        let (base, dir) = (&told.toolchains, told.toolchains.join(&self.name));
        if dir.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(base).with_context(|| format!("making {}", base.display()))?;
        let making = tempfile::Builder::new()
            .prefix("new-")
            .tempdir_in(base)
            .with_context(|| format!("making a directory in {}", base.display()))?;
        let root = making.path().join("root");
        let mirrors = told.mirrors.debian();
        let suites: Vec<&str> = told.debian_suites.iter().map(String::as_str).collect();
        sink(&format!("unpacking {}", self.packages));
        let mut command = mmdebstrap::extract(told.proxy.as_deref())
            .arg("--skip=check/qemu,essential/unlink")
            .arg(format!("--architectures={}", self.architectures))
            .arg(format!("--include={}", self.packages))
            .arg(&told.release)
            .arg(&root);
        if !mirrors.build.is_empty() {
            command = command.args(mirrors.sources(&told.release, "main", &suites, None));
        }
        command.stream(sink)?;
        // Another build may have been faster; one of them is enough.
        work::put_in_place(&root, &dir)?;
        Ok(())
    }
}

/// An unpacked root to work in, with changes that end with it. Trees share what is beneath.
pub(crate) struct Workshop {
    root: PathBuf,
    context: PathBuf,
}

impl Workshop {
    /// Opens `unpacked`, which the build has made before the step.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn open(unpacked: &Unpacked, told: &Context) -> Result<Self> {
        let dir = told.toolchains.join(&unpacked.name);
        ensure!(
            dir.is_dir(),
            "{} is not there: a script that calls this must name cross_build or python_env itself, or a file beside it must",
            dir.display()
        );
        // Never removed: what is mounted in it is the tree's and the image's. It ends with the step.
        let scratch = tempfile::tempdir()
            .context("making a directory for a toolchain")?
            .keep();
        let (over, root) = (scratch.join("over"), scratch.join("root"));
        for dir in [&over, &root] {
            fs::create_dir(dir).with_context(|| format!("making {}", dir.display()))?;
        }
        let tree = own_root::over(&Tree::of(&dir)?, &over)?;
        tree.attach(&crate::sandbox::mounts::point(&root)?)?;
        authorities(&root)?;
        let context = scratch.join("context.json");
        // What the target's root is furnished with is not for this one.
        let plain = Context {
            furniture: Furniture::default(),
            ..told.clone()
        };
        fs::write(&context, plain.text()?).context("writing the toolchain's context")?;
        Ok(Self { root, context })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Shows it a directory as `/NAME`.
    pub(crate) fn see(&self, what: &Path, name: &str) -> Result<()> {
        let at = self.root.join(name);
        fs::create_dir_all(&at).with_context(|| format!("making {}", at.display()))?;
        bind(what, &at)
    }

    /// A program of it.
    pub(crate) fn command(&self, argv: &[&str]) -> Command {
        let program = argv.first().copied().unwrap_or_default();
        Command::new(Program::Own)
            .args(["internal", "chroot", "--context"])
            .arg(&self.context)
            .arg(&self.root)
            .arg("--")
            .args(argv)
            .told_as(program)
    }
}
