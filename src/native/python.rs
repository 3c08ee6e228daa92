//! A Python environment of the target from wheels: what the function `python_env` does.
//!
//! Nothing of the target is run. The suite's own Python, of the host's architecture, fetches the
//! target's wheels into the work directory, where the next build finds them, unpacks them and
//! compiles them to byte code, which does not depend on the processor.

use crate::base::arch::debian_arch;
use crate::base::command::{Command, Env};
use crate::base::work;
use crate::config::{Arch, proxy};
use crate::layers::context::Context;
use crate::native::cross::{Unpacked, Workshop};
use anyhow::{Context as _, Result};
use sha2::{Digest, Sha256};
use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// What `python_env REQUIREMENTS ROOTFS PATH` was called with.
#[derive(Debug, Clone, clap::Args)]
pub struct Request {
    /// Every package with its version and checksums, as pip's `--require-hashes` wants it
    requirements: PathBuf,
    /// The target's root file system
    rootfs: PathBuf,
    /// Where the environment lies in it, absolute
    path: PathBuf,
}

/// Base files, the interpreter, and pip as the wheel that Debian's venv takes.
const PACKAGES: &str = "base-files,usr-is-merged,python3,python3-pip-whl";
/// The C library versions a wheel may ask for, newest first: bookworm has 2.36, and wheels are
/// made for these (PEP 600).
const MANYLINUX: [&str; 5] = ["2_34", "2_31", "2_28", "2_17", "2014"];

/// The root with the interpreter that [`environment`] takes.
pub fn interpreter(told: &Context) -> Unpacked {
    let host = debian_arch();
    Unpacked {
        name: format!("{}-{host}-python", told.release),
        architectures: host.to_owned(),
        packages: PACKAGES.to_owned(),
    }
}

/// Makes the environment. Wheels come from the work directory or from PyPI (`PIP_INDEX_URL`,
/// `PIP_EXTRA_INDEX_URL`); in both cases pip judges their checksums. Runs on the host side of a
/// step, in its namespaces.
///
/// # Errors
/// When a wheel is not there or has another checksum; pip has said which then.
pub fn environment(request: &Request, told: &Context) -> Result<()> {
    let machine = match told.arch {
        Arch::Arm64 => "aarch64",
        Arch::Armhf => "armv7l",
    };
    let requirements = fs::read(&request.requirements)
        .with_context(|| format!("reading {}", request.requirements.display()))?;
    let workshop = Workshop::open(&interpreter(told), told)?;
    // Debian's pip looks here before it reads any setting.
    let root = workshop.root();
    let certificates = root.join("etc/ssl/certs");
    fs::create_dir_all(&certificates)
        .and_then(|()| {
            fs::copy(
                root.join("authorities.pem"),
                certificates.join("ca-certificates.crt"),
            )
        })
        .with_context(|| format!("filling {}", certificates.display()))?;

    let name = format!("{}-{machine}", hex::encode(Sha256::digest(&requirements)));
    let base = told.fetched.join("wheels");
    fs::create_dir_all(&base).with_context(|| format!("making {}", base.display()))?;
    let wheels = base.join(name);
    let work = tempfile::tempdir_in(&base).context("making a directory for wheels")?;
    fs::write(work.path().join("requirements.txt"), &requirements)
        .context("copying the requirements")?;
    let python = Python {
        workshop: &workshop,
        platforms: platforms(machine),
        proxies: proxy::variables(told.proxy.as_deref())
            .into_iter()
            .collect(),
    };
    python.workshop.see(work.path(), "work")?;
    if !wheels.is_dir() {
        let fetched = work.path().join("wheels");
        fs::create_dir(&fetched).context("making a directory for wheels")?;
        python.fetch()?;
        // Another build may have been faster; one of them is enough.
        work::put_in_place(&fetched, &wheels)?;
    }
    python.workshop.see(&wheels, "wheels")?;
    let inside = request
        .path
        .strip_prefix("/")
        .with_context(|| format!("{} is not absolute", request.path.display()))?;
    let made = request.rootfs.join(inside);
    fs::create_dir_all(&made).with_context(|| format!("making {}", made.display()))?;
    let packages = lay_out(root, &made)?;
    python.workshop.see(&made, "made")?;
    python.install(&request.path, &packages)?;
    // Programs there are for the interpreter that pip ran in; modules are run by `python -m`.
    let programs = made.join(&packages).join("bin");
    fs::remove_dir_all(&programs).with_context(|| format!("removing {}", programs.display()))
}

/// The frame of an environment for the target's interpreter, as PEP 405 has it. The result is
/// where packages go in it.
fn lay_out(root: &Path, made: &Path) -> Result<String> {
    let laying = || format!("laying out {}", made.display());
    let version = fs::read_link(root.join("usr/bin/python3")).with_context(laying)?;
    let packages = format!("lib/{}/site-packages", version.display());
    fs::create_dir_all(made.join(&packages)).with_context(laying)?;
    fs::create_dir_all(made.join("bin")).with_context(laying)?;
    symlink("/usr/bin/python3", made.join("bin/python")).with_context(laying)?;
    symlink("python", made.join("bin/python3")).with_context(laying)?;
    let frame = "home = /usr/bin\ninclude-system-site-packages = false\n";
    fs::write(made.join("pyvenv.cfg"), frame).with_context(laying)?;
    Ok(packages)
}

fn platforms(machine: &str) -> Vec<String> {
    MANYLINUX
        .iter()
        .map(|version| match *version {
            "2014" => format!("--platform=manylinux2014_{machine}"),
            version => format!("--platform=manylinux_{version}_{machine}"),
        })
        // What an additional index such as one for the Raspberry Pi calls its own.
        .chain([format!("--platform=linux_{machine}")])
        .collect()
}

/// The suite's Python in its root.
struct Python<'a> {
    workshop: &'a Workshop,
    platforms: Vec<String>,
    proxies: Env,
}

impl Python<'_> {
    fn fetch(&self) -> Result<()> {
        let pip = self
            .pip()
            .args(["download", "--dest=/work/wheels", "--no-cache-dir"]);
        self.only_locked(pip).run().context("fetching wheels")
    }

    /// Unpacks the wheels to where `/made` is `path` of the target.
    fn install(&self, path: &Path, packages: &str) -> Result<()> {
        let target = format!("/made/{packages}");
        let pip = self
            .pip()
            .args([
                "install",
                "--no-compile",
                "--no-index",
                "--find-links=/wheels",
            ])
            .args(["--target", &target]);
        self.only_locked(pip).run().context("installing wheels")?;
        // By the contents, not by the time of a file: times differ between builds.
        let compile = self
            .python()
            .args(["-m", "compileall", "-q", "-f"])
            .arg("--invalidation-mode=unchecked-hash")
            .args(["-s", "/made", "-p"])
            .arg(path)
            .arg(target);
        compile.run().context("compiling Python code")
    }

    fn only_locked(&self, pip: Command) -> Command {
        pip.args(["--require-hashes", "--only-binary=:all:", "--no-deps"])
            .args([
                "--implementation=cp",
                "--requirement=/work/requirements.txt",
            ])
            .args(&self.platforms)
    }

    fn pip(&self) -> Command {
        // The wheel's name has its version in it.
        let start = "import glob, runpy, sys; \
            sys.path.insert(0, glob.glob('/usr/share/python-wheels/pip-*.whl')[0]); \
            runpy.run_module('pip', run_name='__main__', alter_sys=True)";
        let python = self.python();
        python.args(["-c", start, "--disable-pip-version-check", "--no-input"])
    }

    fn python(&self) -> Command {
        let mut env = self.proxies.clone();
        for (name, value) in [
            ("HOME", "/tmp"),
            ("PATH", "/usr/bin"),
            ("PIP_CERT", "/authorities.pem"),
            ("PIP_ROOT_USER_ACTION", "ignore"),
            ("PYTHONHASHSEED", "0"),
            ("PYTHONDONTWRITEBYTECODE", "1"),
        ] {
            env.insert(name.to_owned(), value.to_owned());
        }
        for name in ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"] {
            env.extend(env::var(name).ok().map(|value| (name.to_owned(), value)));
        }
        self.workshop.command(&["python3"]).env(env)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_is_for_the_targets_interpreter() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("usr/bin")).unwrap();
        symlink("python3.13", root.path().join("usr/bin/python3")).unwrap();
        let made = root.path().join("made");
        fs::create_dir(&made).unwrap();
        let packages = lay_out(root.path(), &made).unwrap();
        assert_eq!(packages, "lib/python3.13/site-packages");
        assert!(made.join(packages).is_dir());
        assert_eq!(
            fs::read_link(made.join("bin/python")).unwrap(),
            Path::new("/usr/bin/python3")
        );
        let text = fs::read_to_string(made.join("pyvenv.cfg")).unwrap();
        assert!(text.starts_with("home = /usr/bin\n"), "{text}");
    }

    /// pip refuses a file without checksums; this finds it before anything is built.
    #[test]
    fn every_package_of_the_stages_has_a_version_and_a_checksum() {
        let path = "stages/stage3/04-chat/files/requirements-arm64.txt";
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        let entries: Vec<String> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect::<Vec<_>>()
            .join("\n")
            .replace("\\\n", "")
            .lines()
            .map(str::to_owned)
            .filter(|line| !line.is_empty())
            .collect();
        assert!(
            entries
                .iter()
                .any(|line| line.starts_with("matrix-synapse=="))
        );
        for line in entries {
            let (name, checksum) = line.split_once("--hash=sha256:").unwrap_or_default();
            assert!(name.contains("==") && checksum.trim().len() == 64, "{line}");
        }
    }
}
