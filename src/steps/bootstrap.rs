//! The first root file system: what the function `bootstrap` of a stage's `prerun.sh` does.

use super::request::Request;
pub use super::request::Words;
use crate::archives::merged;
use crate::archives::mirror::Mirrors;
use crate::archives::mmdebstrap::{self, Until, with_archives};
use crate::base::command::Command;
use crate::base::inside::Root;
use crate::base::tool::Tool;
use crate::config::{Bootstrap, proxy};
use crate::layers::context::Context;
use crate::sandbox::mounts::{self, Tree, bind};
use crate::sandbox::rootfs::{LOCKED_DIR, TOOLS_DIR, forget_resolver, locked_source};
use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where a system with Raspbian has its key.
const RASPBIAN_KEYRING: &str = "/usr/share/keyrings/raspbian-archive-keyring.gpg";

/// Makes a root file system of the step's architecture with the tool the config chose.
///
/// Packages come from the shared cache where they are there; signatures are always checked.
///
/// # Errors
/// When `words` cannot be followed, or the tool cannot be started or fails; its own messages have
/// been printed then.
pub fn bootstrap(words: &Words, told: &Context) -> Result<()> {
    let request = &words.read(told.arch)?;
    fs::create_dir_all(&request.dir)
        .with_context(|| format!("making {}", request.dir.display()))?;
    // What is mounted here ends with the call.
    unshare(CloneFlags::CLONE_NEWNS).context("making the bootstrap's namespace")?;
    let locked = told.furniture.locked.as_deref();
    if let Some(index) = locked {
        // The index is to have one name here and in the new root: that of the steps to come.
        let at = Path::new("/").join(LOCKED_DIR);
        fs::create_dir_all(&at).with_context(|| format!("making {}", at.display()))?;
        bind(index, &at)?;
    }
    // debootstrap cannot work in a directory with a space in its path, and mmdebstrap shows the
    // new root /dev/shm, which may be where the tree is: both get other names.
    let plain = tempfile::tempdir().context("making a directory")?.keep();
    let (dir, archives) = (plain.join("root"), plain.join("archives"));
    let from = told.furniture.archives.as_ref();
    let from = from.context("finding the package cache")?;
    for (what, at) in [(&request.dir, &dir), (from, &archives)] {
        fs::create_dir(at).with_context(|| format!("making {}", at.display()))?;
        bind(what, at)?;
    }
    let tools = show_tools(&dir, told)?;
    if let Some(tools) = &told.furniture.tools {
        unpack_quickly(tools, &plain)?;
    }
    let key = Key::new(told)?;
    mounts::tmpfs(
        Path::new("/dev/shm"),
        "mode=1777",
        nix::mount::MsFlags::empty(),
    )?;
    let signer = key.as_ref().map(|key| key.path.as_path());
    let locked = locked.is_some();
    let command = match told.bootstrap {
        Bootstrap::Debootstrap => debootstrap(request, told, (&dir, &archives), signer),
        Bootstrap::Mmdebstrap => mmdebstrap(request, told, (&dir, &archives), signer),
    };
    command.stream(&mut |line| println!("{line}"))?;
    name_localhost(&dir)?;
    // A layer may be taken to other machines. Commands in the root get a stand-in.
    forget_resolver(&Root::open(&dir)?)?;
    if let Some(key) = &key {
        key.install(&dir)?;
    }
    if !request.mirror.is_empty() && (locked || key.is_some()) {
        // As it is without a lock file, and as apt in the new root finds the key.
        let path = dir.join("etc/apt/sources.list");
        let key = key.as_ref().map(|_| Path::new(RASPBIAN_KEYRING));
        fs::write(&path, sources(request, told, key).join("\n") + "\n")
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if tools {
        hide_tools(&dir)?;
    }
    Ok(())
}

/// Shows the native tools in the new root, for the programs that are run in it.
fn show_tools(root: &Path, told: &Context) -> Result<bool> {
    let Some(tools) = &told.furniture.tools else {
        return Ok(false);
    };
    let at = root.join(TOOLS_DIR);
    fs::create_dir(&at).with_context(|| format!("making {}", at.display()))?;
    Tree::of(tools)?.attach(&mounts::point(&at)?)?;
    Ok(true)
}

/// Takes the files of a package from its quick form, as in the image (`native::dispatch`), for as
/// long as these mounts are there. In place of the machine's dpkg-deb, since a PATH would reach the
/// scripts of packages as well.
const DPKG_DEB: &str = r#"state() {
	stat -L -c '%s %.Z %.Y' "$1"
}
if [ "$1" = --fsys-tarfile ]; then
	name=${2##*/}
	if [ -e "$quick/$name" ] && [ "$(state "$2")" = "$(state "$pool/$name")" ]; then
		exec "$real" --fsys-tarfile "$quick/$name"
	fi
fi
exec "$real" "$@"
"#;

/// Puts [`DPKG_DEB`] in place. `tools` may have quick forms; `plain` is a directory of this build,
/// whose path has nothing in it that a shell would take for more than a letter.
fn unpack_quickly(tools: &Path, plain: &Path) -> Result<()> {
    let Some(program) = Tool::DpkgDeb
        .find()
        .filter(|_| tools.join("quick").is_dir())
    else {
        return Ok(());
    };
    let (real, script) = (plain.join("dpkg-deb"), plain.join("quick-dpkg-deb"));
    fs::write(&real, "").with_context(|| format!("making {}", real.display()))?;
    bind(&program, &real)?;
    let mut text = "#!/bin/sh\n".to_owned();
    for (name, of_tools) in [("quick", "quick"), ("pool", "packages")] {
        let at = plain.join(name);
        fs::create_dir(&at).with_context(|| format!("making {}", at.display()))?;
        bind(&tools.join(of_tools), &at)?;
        text += &format!("{name}={}\n", at.display());
    }
    text += &format!("real={}\n", real.display());
    fs::write(&script, text + DPKG_DEB).with_context(|| format!("writing {}", script.display()))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("setting the mode of {}", script.display()))?;
    bind(&script, &program)
}

/// As if the tools had never been shown.
fn hide_tools(root: &Path) -> Result<()> {
    let at = root.join(TOOLS_DIR);
    mounts::unmount(&at)?;
    fs::remove_dir(&at).context("removing the tools' mount point")
}

/// Both tools copy the build machine's name, with its file's mode; a stage that wants another
/// name writes it.
fn name_localhost(root: &Path) -> Result<()> {
    let name = root.join("etc/hostname");
    if root.join("etc").is_dir() {
        fs::write(&name, "localhost\n").with_context(|| format!("writing {}", name.display()))?;
        fs::set_permissions(&name, fs::Permissions::from_mode(0o644))
            .with_context(|| format!("setting the mode of {}", name.display()))?;
    }
    Ok(())
}

/// The key of the archive that the base system is from, where it is not Debian's. apt's lists of
/// sources know no spaces in paths, so it gets a path without.
struct Key {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Key {
    fn new(told: &Context) -> Result<Option<Self>> {
        let Some(from) = &told.raspbian_key else {
            return Ok(None);
        };
        let dir = tempfile::tempdir().context("making a directory for a key")?;
        // apt reads it as a user of its own.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))
            .context("opening a directory for a key")?;
        let path = dir.path().join("raspbian.pgp");
        fs::copy(from, &path).with_context(|| format!("copying {}", from.display()))?;
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

/// `at` are the new root and the package cache.
fn mmdebstrap(
    request: &Request,
    told: &Context,
    at: (&Path, &Path),
    key: Option<&Path>,
) -> Command {
    let (dir, archives) = at;
    let timeouts = ["http", "https"]
        .map(|method| format!("--aptopt=Acquire::{method}::Timeout \"{}\"", told.timeout));
    let command = mmdebstrap::mmdebstrap(told.proxy.as_deref())
        .args(request.for_mmdebstrap(told.arch))
        .args(merged::options(&request.suite, told.arch.debian()))
        .arg(format!("--architectures={}", told.arch.debian()))
        .arg(format!(
            "--components={}",
            components(request, told).replace(' ', ",")
        ))
        // apt writes these into the new root; the export takes the file away again.
        .arg("--aptopt=Acquire::Retries \"3\"")
        .args(timeouts)
        // Emulation is the sandbox's own and was checked; downloads stay in the shared cache;
        // the package lists stay for the next step.
        .arg("--skip=check/qemu,check/empty,essential/unlink,cleanup/apt");
    let mut command = with_archives(command, archives, &Until::Customized)
        .args(&request.rest)
        .arg(&request.suite)
        .arg(dir);
    if told.furniture.locked.is_some() {
        command = command.arg(locked_source(&request.suite));
    } else if !request.mirror.is_empty() {
        command = command.args(sources(request, told, key));
    }
    command
}

/// The mirror's suites: with updates and security from the start, nothing is installed twice.
fn sources(request: &Request, told: &Context, key: Option<&Path>) -> Vec<String> {
    let security = told.mirrors.security.clone();
    let mirrors = Mirrors::of_debian(request.mirror.clone(), security);
    let suites = request.extra_suites.as_ref().unwrap_or(&told.suites);
    let suites: Vec<&str> = suites.iter().map(String::as_str).collect();
    mirrors.sources(&request.suite, &components(request, told), &suites, key)
}

/// Components with spaces between them: as asked for, else those of the distribution.
fn components(request: &Request, told: &Context) -> String {
    match &request.components {
        Some(words) => words.replace(',', " "),
        None => told.components.clone(),
    }
}

/// As [`mmdebstrap`].
fn debootstrap(
    request: &Request,
    told: &Context,
    at: (&Path, &Path),
    key: Option<&Path>,
) -> Command {
    let (dir, archives) = at;
    let locked = told.furniture.locked.is_some();
    let mut command = Command::new(Tool::Debootstrap)
        .sets(proxy::variables(told.proxy.as_deref()))
        // In a user namespace devices are bound, not made; debootstrap knows this as lxc.
        .set("container", "lxc");
    if let Some(key) = key {
        command = command.arg(format!("--keyring={}", key.display()));
    }
    command = command
        .arg(format!("--arch={}", told.arch.debian()))
        .arg(format!("--cache-dir={}", archives.display()))
        .args(request.for_debootstrap())
        .args(&request.rest)
        // What a lock file names is checked by its sums.
        .args(if locked {
            ["--no-check-gpg".to_owned(), "--components=main".to_owned()]
        } else {
            [
                "--force-check-gpg".to_owned(),
                format!(
                    "--components={}",
                    components(request, told).replace(' ', ",")
                ),
            ]
        })
        .arg(&request.suite)
        .arg(dir);
    if locked {
        command = command.arg(format!("file:///{LOCKED_DIR}"));
    } else if !request.mirror.is_empty() {
        command = command.arg(&request.mirror).args(&request.script);
    }
    command
}
