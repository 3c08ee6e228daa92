//! Where things lie on the device, and how its programs are run.
//!
//! Everything is below one [`Root`], which is `/` on the device and a directory in tests and with
//! `--root`; programs are taken from there as well.

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A program may take this long; slapd's tools and openssl on a slow card need some seconds.
const PATIENCE: Duration = Duration::from_secs(300);

/// The device's file system.
#[derive(Debug, Clone)]
pub struct Root(PathBuf);

impl Root {
    /// `/` on the device, another directory in tests.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Is it the machine itself?
    pub fn is_device(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// An absolute path of the device, as seen from here.
    pub fn path(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let path = absolute.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// What the household owns: `/data`.
    pub fn data(&self) -> PathBuf {
        self.path("/data")
    }

    /// The services' configuration: `/data/conf`.
    pub fn conf(&self) -> PathBuf {
        self.path("/data/conf")
    }

    /// The program's own settings, state and secrets.
    pub fn own(&self) -> PathBuf {
        self.path("/data/conf/westwork")
    }

    /// Present, and only then, on a box that has been set up: units look for it.
    pub fn configured_mark(&self) -> PathBuf {
        self.own().join("configured")
    }

    /// Is the set-up over?
    pub fn is_configured(&self) -> bool {
        self.configured_mark().exists()
    }

    /// Waits until no other `westwork` changes /data, and keeps others waiting while it lives.
    pub fn lock(&self) -> Result<Lock> {
        let path = self.path("/data/.westwork.lock");
        let opening = || format!("opening {}", path.display());
        // Whoever can open a file can hold its lock: this one is root's alone.
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(opening)?;
        file.set_permissions(Permissions::from_mode(0o600))
            .with_context(opening)?;
        flock(&file, FlockOperation::LockExclusive)
            .with_context(|| format!("locking {}", path.display()))?;
        Ok(Lock { _file: file })
    }

    /// The number of a user (`passwd`) or group (`group`) of the device.
    pub fn id(&self, file: &str, name: &str) -> Option<u32> {
        let text = std::fs::read_to_string(self.path("/etc").join(file)).ok()?;
        let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
        lines.find(|fields| fields.len() > 2 && fields[0] == name)?[2]
            .parse()
            .ok()
    }

    /// The name of a user or group of the device.
    pub fn name(&self, file: &str, id: u32) -> Option<String> {
        let text = std::fs::read_to_string(self.path("/etc").join(file)).ok()?;
        let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let fields = lines.find(|fields| fields.len() > 2 && fields[2].parse() == Ok(id))?;
        Some(fields[0].to_owned())
    }

    /// Is this program on the device?
    pub fn has(&self, program: &str) -> bool {
        self.path(program).exists()
    }

    /// The same, for which the directory `next` stands in the place of `present`. It gets a mount
    /// namespace of its own: nobody else sees the mount, and it ends with the program. Exit code
    /// 97 means that the mount was refused.
    pub fn program_seeing(&self, next: &Path, present: &Path, program: &str) -> Program {
        let mut command = Command::new("/usr/bin/unshare");
        command.arg("--mount");
        if !rustix::process::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        let script = "mount --bind \"$1\" \"$2\" || exit 97; shift 2; exec \"$@\"";
        command
            .args(["--", "sh", "-c", script, "sh"])
            .args([next, present, &self.path(program)]);
        Program {
            command,
            name: program.to_owned(),
            input: Vec::new(),
        }
    }

    /// A program of the device, by its absolute path.
    pub fn program(&self, program: &str) -> Program {
        Program {
            command: Command::new(self.path(program)),
            name: program.to_owned(),
            input: Vec::new(),
        }
    }
}

/// See [`Root::lock`].
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// A program about to run. Its arguments are visible to everybody: secrets go to its input.
#[derive(Debug)]
pub struct Program {
    command: Command,
    name: String,
    input: Vec<u8>,
}

/// What a program wrote and how it ended.
#[derive(Debug)]
pub struct Outcome {
    /// It ended with 0.
    pub success: bool,
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// Both streams, for messages.
    pub last_lines: String,
}

impl Program {
    /// Appends arguments.
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.command.args(args);
        self
    }

    /// Appends an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// What it reads from standard input; nothing otherwise.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// Its standard output; an error with its last lines unless it succeeds.
    pub fn run(self) -> Result<Vec<u8>> {
        let name = self.name.clone();
        let outcome = self.outcome()?;
        if !outcome.success {
            bail!("{name} refused: {}", outcome.last_lines);
        }
        Ok(outcome.stdout)
    }

    /// Starts it with this standard output and its input as a pipe; both are the caller's.
    pub(crate) fn start(mut self, stdout: impl Into<Stdio>) -> Result<Running> {
        let said = tempfile::tempfile()?;
        self.command
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(said.try_clone()?)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8");
        let child = self
            .command
            .spawn()
            .with_context(|| format!("starting {}", self.name))?;
        Ok(Running {
            child,
            said,
            name: self.name,
        })
    }

    /// Waits for its end, however it ends. An error if it cannot be started, or does not end in time.
    pub fn outcome(mut self) -> Result<Outcome> {
        let mut out = tempfile::tempfile()?;
        let input = std::mem::take(&mut self.input);
        let Running {
            mut child,
            said: mut err,
            name,
        } = self.start(out.try_clone()?)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read its input says why by its exit.
            let _ = stdin.write_all(&input);
        }
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                bail!("{name} did not end within {} s", PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let (stdout, stderr) = (contents(&mut out)?, contents(&mut err)?);
        let both = [stdout.as_slice(), stderr.as_slice()].concat();
        Ok(Outcome {
            success: status.success(),
            code: status.code(),
            last_lines: last_lines(&both),
            stdout,
        })
    }
}

/// A program at work on a stream.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) child: Child,
    said: File,
    name: String,
}

impl Running {
    /// Waits for its end: how it ended, and its last lines.
    pub(crate) fn end(mut self) -> Result<(ExitStatus, String)> {
        drop(self.child.stdin.take());
        drop(self.child.stdout.take());
        let status = self.child.wait()?;
        let said = last_lines(&contents(&mut self.said)?);
        Ok((status, format!("{}: {said}", self.name)))
    }
}

fn last_lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(6)..].join(" | ")
}

fn contents(file: &mut File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file that is either wholly there, on the disk, or as it was before.
pub fn write_file(path: &Path, mode: u32, contents: &[u8]) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let writing = || format!("writing {}", path.display());
    let mut file = tempfile::NamedTempFile::new_in(directory).with_context(writing)?;
    file.write_all(contents).with_context(writing)?;
    file.as_file()
        .set_permissions(Permissions::from_mode(mode))
        .with_context(writing)?;
    file.as_file().sync_all().with_context(writing)?;
    file.persist(path).with_context(writing)?;
    sync_directory(directory)
}

/// Makes renames in a directory durable.
pub fn sync_directory(directory: &Path) -> Result<()> {
    let file = File::open(directory).with_context(|| format!("opening {}", directory.display()))?;
    file.sync_all()
        .with_context(|| format!("syncing {}", directory.display()))
}

/// A directory with this mode, and its parents.
pub fn make_directory(path: &Path, mode: u32) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
    std::fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("setting the mode of {}", path.display()))
}

/// Gives a path itself, never what it leads to, to somebody, if that is a change: who is not root
/// cannot but need not.
pub fn give(path: &Path, uid: u32, gid: u32) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let metadata = path
        .symlink_metadata()
        .with_context(|| format!("reading {}", path.display()))?;
    if (metadata.uid(), metadata.gid()) == (uid, gid) {
        return Ok(());
    }
    lchown(path, Some(uid), Some(gid))
        .with_context(|| format!("setting the owner of {}", path.display()))
}

/// Owner, mode and extended attributes of one directory, given to another.
pub(crate) fn copy_attributes(from: &Path, to: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let copying = || format!("copying the attributes of {}", from.display());
    let metadata = from.metadata().with_context(copying)?;
    for name in xattr::list(from).with_context(copying)? {
        if let Some(value) = xattr::get(from, &name).with_context(copying)? {
            xattr::set(to, &name, &value).with_context(copying)?;
        }
    }
    give(to, metadata.uid(), metadata.gid())?;
    std::fs::set_permissions(to, metadata.permissions()).with_context(copying)
}
