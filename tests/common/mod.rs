//! What the real builds share: a small tree, the program under test, and a view of the host.
#![allow(dead_code, reason = "each test binary uses its share of it")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_westwork-gen");

/// Packages that all tests share.
pub(crate) fn cache() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-cache");
    std::env::var_os("WESTWORK_TEST_CACHE").map_or_else(default, PathBuf::from)
}

/// A suite whose index for `arch` agrees with the signed release file on the host's mirror:
/// trixie, or the same by its other name: a mirror in the middle of an update, which takes some
/// of them days for the smaller architectures, may have one of the two whole.
/// `WESTWORK_TEST_RELEASE` names another one.
pub(crate) fn release(arch: &str) -> &'static str {
    static WANTED: OnceLock<Option<String>> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| std::env::var("WESTWORK_TEST_RELEASE").ok());
    if let Some(release) = wanted {
        return release;
    }
    static ARM64: OnceLock<&str> = OnceLock::new();
    static ARMHF: OnceLock<&str> = OnceLock::new();
    let known = if arch == "armhf" { &ARMHF } else { &ARM64 };
    known.get_or_init(|| {
        let found = ["trixie", "stable"]
            .into_iter()
            .find(|suite| index_is_whole(suite, arch));
        let suite = found.expect("a mirror with a whole index");
        println!("{arch}: {suite}");
        suite
    })
}

/// The lines of a config that choose `arch` and what it is made from.
pub(crate) fn target(arch: &str) -> String {
    format!("ARCH={arch}\nRELEASE={}\nEXTRA_SUITES=\n", release(arch))
}

/// The first Debian archive that this machine's apt uses, without a slash at the end.
pub(crate) fn host_mirror() -> String {
    let targets = Command::new("apt-get")
        .args(["indextargets", "--format", "$(LABEL)|$(REPO_URI)"])
        .args(["Created-By: Packages"])
        .output()
        .unwrap();
    let targets = String::from_utf8_lossy(&targets.stdout);
    let mirror = targets
        .lines()
        .find_map(|line| line.strip_prefix("Debian|"))
        .expect("a Debian archive in this machine's apt sources, after apt-get update");
    mirror.trim_end_matches('/').to_owned()
}

/// Whether apt takes the index of `suite` for `arch` from the host's first mirror.
fn index_is_whole(suite: &str, arch: &str) -> bool {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path();
    let mirror = host_mirror();
    // The hashes of the release file are what is looked at, not who signed it.
    fs::write(
        dir.join("sources.list"),
        format!("deb [arch={arch} trusted=yes] {mirror} {suite} main\n"),
    )
    .unwrap();
    let options = [
        format!("Dir={}", dir.display()),
        "Dir::State::status=/dev/null".to_owned(),
        format!("Dir::Etc::sourcelist={}/sources.list", dir.display()),
        format!("APT::Architecture={arch}"),
        "Acquire::Languages=none".to_owned(),
        "APT::Sandbox::User=root".to_owned(),
    ];
    for name in ["etc/apt", "var/lib/apt/lists/partial", "var/cache/apt"] {
        fs::create_dir_all(dir.join(name)).unwrap();
    }
    Command::new("apt-get")
        .args(options.iter().flat_map(|option| ["-o", option]))
        .args(["update", "--error-on=any", "-qq"])
        .output()
        .unwrap()
        .status
        .success()
}

/// A tree with a config, in a directory whose name has what shells trip over.
pub(crate) struct Tree {
    /// Kept on a real disk: overlayfs and room are wanted.
    pub(crate) dir: PathBuf,
    _outer: tempfile::TempDir,
}

impl Tree {
    /// An empty tree for `arch`. Only the release's own suite is used: mirrors in the middle
    /// of an update of the others must not fail a test.
    pub(crate) fn new(arch: &str) -> Self {
        let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let outer = tempfile::Builder::new()
            .prefix("tree-")
            .tempdir_in(base)
            .unwrap();
        let dir = outer.path().join("a tree+");
        fs::create_dir(&dir).unwrap();
        let tree = Self { dir, _outer: outer };
        tree.file(
            "config",
            &format!("IMG_NAME=Test\n{}IMG_DATE=2026-01-31\n", target(arch)),
        );
        tree
    }

    /// The first stage's usual beginning: the smallest root there is.
    pub(crate) fn with_bootstrap(self) -> Self {
        self.script(
            "stages/stage0/prerun.sh",
            "if [ ! -d \"${ROOTFS_DIR}\" ]; then\n\tbootstrap \"${RELEASE}\" \"${ROOTFS_DIR}\" \"${MIRROR}\" --variant=minbase\nfi",
        );
        self
    }

    pub(crate) fn file(&self, path: &str, text: &str) {
        let path = self.dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// An executable host script.
    pub(crate) fn script(&self, path: &str, text: &str) {
        self.file(path, &format!("#!/bin/bash -e\n{text}\n"));
        fs::set_permissions(self.dir.join(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// `westwork-gen ARGS…` in the tree, ready to be started.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(args)
            .current_dir(&self.dir)
            .env("CACHE_DIR", cache());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Builds and returns what was printed; the build must succeed.
    pub(crate) fn build(&self, args: &[&str]) -> String {
        let output = self.run(&[&["build"], args].concat());
        let text = both(&output);
        assert!(output.status.success(), "the build failed:\n{text}");
        text
    }

    /// The log of the last build.
    pub(crate) fn log(&self) -> String {
        let work = self.dir.join("work");
        let entries = fs::read_dir(work).unwrap().flatten();
        let log = entries
            .map(|entry| entry.path().join("build.log"))
            .find(|path| path.exists());
        fs::read_to_string(log.expect("a log")).unwrap()
    }
}

impl Drop for Tree {
    /// An ordinary user's layers have files of other ids; root's removal is the plain one.
    fn drop(&mut self) {
        let _ = Command::new("rm")
            .arg("-rf")
            .arg(self.dir.join("work"))
            .status();
    }
}

/// Standard output and error of a run, one after the other.
pub(crate) fn both(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// How mountinfo shows what a test mounts itself.
const SMALL_DISK: &str = " - tmpfs small ";

/// What a build must not change on the host.
pub(crate) fn host_state() -> Vec<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let list = |dir: &str| {
        let mut names: Vec<String> = fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names.join(" ")
    };
    let loops = Command::new("losetup")
        .arg("-a")
        .output()
        .map(|o| both(&o))
        .unwrap_or_default();
    // Other tests run beside this one, and some mount a small disk.
    let mounts = read("/proc/self/mountinfo");
    let mounts = mounts.lines().filter(|line| !line.contains(SMALL_DISK));
    vec![
        mounts.collect::<Vec<_>>().join("\n"),
        list("/dev"),
        list("/proc/sys/fs/binfmt_misc"),
        loops,
    ]
}

/// Processes, by their command line, whose command line or environment names `text`.
pub(crate) fn processes_of(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let own = entry.file_name().to_string_lossy() == std::process::id().to_string();
        let read = |name: &str| {
            String::from_utf8_lossy(&fs::read(entry.path().join(name)).unwrap_or_default())
                .replace('\0', " ")
        };
        let (line, environment) = (read("cmdline"), read("environ"));
        if !own && (line.contains(text) || environment.contains(text)) {
            found.push(line);
        }
    }
    found
}

/// A proxy that passes requests on; returns its port on this machine.
pub(crate) fn proxy() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || relay(client));
        }
    });
    port
}

fn relay(mut client: TcpStream) -> Option<()> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).ok()?;
        request.push(byte[0]);
    }
    let text = String::from_utf8(request).ok()?;
    let host = text.split("://").nth(1)?.split('/').next()?.to_owned();
    let path = text.split(&host).nth(1)?.split(' ').next()?.to_owned();
    let address = if host.contains(':') {
        host.clone()
    } else {
        format!("{host}:80")
    };
    let mut server = TcpStream::connect(address).ok()?;
    write!(
        server,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    std::io::copy(&mut server, &mut client).ok()?;
    Some(())
}

/// Where the root file system begins behind a boot partition of 64 MiB.
pub(crate) const ROOT: u64 = (4 + 64) << 20;

/// `debugfs REQUEST` on the root file system at `offset` bytes of `image`.
pub(crate) fn debugfs(image: &Path, offset: u64, request: &str) -> String {
    let place = format!("{}?offset={offset}", image.display());
    let output = Command::new("debugfs")
        .args(["-R", request, &place])
        .output();
    both(&output.unwrap())
}
