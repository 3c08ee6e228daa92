//! A Python environment of the target from wheels: what the function `python_env` does.
//!
//! Nothing of the target is run. The suite's own Python, of the host's architecture, fetches the
//! target's wheels into the package cache, where the next build finds them, unpacks them and
//! compiles them to byte code, which does not depend on the processor.

use crate::base::arch::debian_arch;
use crate::native::cross::{authorities, unpacked};
use crate::sandbox::rootfs::bind;
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

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
/// The C library versions a wheel may ask for, newest first: trixie has 2.41, and wheels are
/// made for these (PEP 600).
const MANYLINUX: [&str; 5] = ["2_34", "2_31", "2_28", "2_17", "2014"];

/// Makes the environment. Wheels come from the cache or from PyPI (`PIP_INDEX_URL`,
/// `PIP_EXTRA_INDEX_URL`); in both cases pip judges their checksums. Runs on the host side of a
/// step, in its namespaces.
///
/// # Errors
/// When a wheel is not there or has another checksum; pip has said which then.
pub fn environment(request: &Request) -> Result<()> {
    let variable = |name: &str| env::var(name).with_context(|| format!("reading {name}"));
    let machine = match variable("ARCH")?.as_str() {
        "arm64" => "aarch64",
        "armhf" => "armv7l",
        other => bail!("there are no wheels for ARCH={other}"),
    };
    let requirements = fs::read(&request.requirements)
        .with_context(|| format!("reading {}", request.requirements.display()))?;
    let cache = PathBuf::from(variable("CACHE_DIR")?);
    let release = variable("RELEASE")?;
    let host = debian_arch();
    let root = unpacked(
        &format!("{release}-{host}-python"),
        host,
        PACKAGES,
        &release,
        &cache,
    )?;
    authorities(&root)?;
    // Debian's pip looks here before it reads any setting.
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
    let base = cache.join("wheels");
    fs::create_dir_all(&base).with_context(|| format!("making {}", base.display()))?;
    let wheels = base.join(name);
    let work = tempfile::tempdir_in(&base).context("making a directory for wheels")?;
    fs::write(work.path().join("requirements.txt"), &requirements)
        .context("copying the requirements")?;
    let python = Python {
        root: &root,
        platforms: platforms(machine),
    };
    python.see(work.path(), "work")?;
    if !wheels.is_dir() {
        let fetched = work.path().join("wheels");
        fs::create_dir(&fetched).context("making a directory for wheels")?;
        python.fetch()?;
        // Another build may have been faster; one of them is enough.
        if fs::rename(&fetched, &wheels).is_err() && !wheels.is_dir() {
            bail!("{} could not be made", wheels.display());
        }
    }
    python.see(&wheels, "wheels")?;
    let inside = request
        .path
        .strip_prefix("/")
        .with_context(|| format!("{} is not absolute", request.path.display()))?;
    let made = request.rootfs.join(inside);
    fs::create_dir_all(&made).with_context(|| format!("making {}", made.display()))?;
    let packages = lay_out(&root, &made)?;
    python.see(&made, "made")?;
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
    root: &'a Path,
    platforms: Vec<String>,
}

impl Python<'_> {
    /// Shows it a directory as `/NAME`.
    fn see(&self, what: &Path, name: &str) -> Result<()> {
        let at = self.root.join(name);
        fs::create_dir_all(&at).with_context(|| format!("making {}", at.display()))?;
        bind(what, &at)
    }

    fn fetch(&self) -> Result<()> {
        let mut pip = self.pip();
        pip.args(["download", "--dest=/work/wheels", "--no-cache-dir"]);
        self.only_locked(&mut pip);
        run(&mut pip, "fetching wheels")
    }

    /// Unpacks the wheels to where `/made` is `path` of the target.
    fn install(&self, path: &Path, packages: &str) -> Result<()> {
        let target = format!("/made/{packages}");
        let mut pip = self.pip();
        pip.args([
            "install",
            "--no-compile",
            "--no-index",
            "--find-links=/wheels",
        ])
        .args(["--target", &target]);
        self.only_locked(&mut pip);
        run(&mut pip, "installing wheels")?;
        let mut compile = self.python();
        // By the contents, not by the time of a file: times differ between builds.
        compile
            .args(["-m", "compileall", "-q", "-f"])
            .arg("--invalidation-mode=unchecked-hash")
            .args(["-s", "/made", "-p"])
            .arg(path)
            .arg(target);
        run(&mut compile, "compiling Python code")
    }

    fn only_locked(&self, pip: &mut Command) {
        pip.args(["--require-hashes", "--only-binary=:all:", "--no-deps"])
            .args([
                "--implementation=cp",
                "--requirement=/work/requirements.txt",
            ])
            .args(&self.platforms);
    }

    fn pip(&self) -> Command {
        let mut command = self.python();
        // The wheel's name has its version in it.
        let start = "import glob, runpy, sys; \
            sys.path.insert(0, glob.glob('/usr/share/python-wheels/pip-*.whl')[0]); \
            runpy.run_module('pip', run_name='__main__', alter_sys=True)";
        command.args(["-c", start, "--disable-pip-version-check", "--no-input"]);
        command
    }

    fn python(&self) -> Command {
        let own = env::current_exe().unwrap_or_else(|_| "westwork-gen".into());
        let mut command = Command::new(own);
        let passed_on = [
            "http_proxy",
            "https_proxy",
            "PIP_INDEX_URL",
            "PIP_EXTRA_INDEX_URL",
        ];
        command
            .env_clear()
            .env("HOME", "/tmp")
            .env("PATH", "/usr/bin")
            .env("PIP_CERT", "/authorities.pem")
            .env("PIP_ROOT_USER_ACTION", "ignore")
            .env("PYTHONHASHSEED", "0")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs(
                passed_on
                    .into_iter()
                    .filter_map(|name| Some((name, env::var_os(name)?))),
            )
            .args(["internal", "chroot"])
            .arg(self.root)
            .args(["--", "python3"]);
        command
    }
}

fn run(command: &mut Command, what: &'static str) -> Result<()> {
    let status = command.status().context(what)?;
    ensure!(status.success(), "{what}: python3 ended with {status}");
    Ok(())
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
