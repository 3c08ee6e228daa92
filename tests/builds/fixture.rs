//! A small stage tree in a directory of its own, and the program run on it.

use crate::common::release;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_westwork-gen");

/// The smallest root file system there is; extra arguments are the bootstrap tool's.
pub(crate) const PRERUN: &str =
    "#!/bin/bash -e\nbootstrap \"$RELEASE\" \"$ROOTFS_DIR\" \"$MIRROR\" --variant=minbase\n";

pub(crate) struct Fixture {
    _dir: TempDir,
    /// Has a space and a plus sign in it.
    pub(crate) root: PathBuf,
}

/// What a finished run said.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

impl Said {
    fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        Self {
            code: output.status.code(),
            text,
        }
    }

    pub(crate) fn good(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.text);
        self
    }

    pub(crate) fn failed(self) -> Self {
        assert_eq!(self.code, Some(1), "{}", self.text);
        self
    }

    /// Refused before any work.
    pub(crate) fn refused(self) -> Self {
        assert_eq!(self.code, Some(2), "{}", self.text);
        self
    }

    pub(crate) fn says(&self, words: &str) {
        assert!(
            self.text.contains(words),
            "`{words}` is not in:\n{}",
            self.text
        );
    }

    pub(crate) fn says_not(&self, words: &str) {
        assert!(
            !self.text.contains(words),
            "`{words}` is in:\n{}",
            self.text
        );
    }
}

/// Package cache of all tests.
pub(crate) fn cache() -> PathBuf {
    std::env::var_os("WESTWORK_TEST_CACHE").map_or_else(
        || Path::new(env!("CARGO_TARGET_TMPDIR")).join("../test-cache"),
        PathBuf::from,
    )
}

impl Fixture {
    /// An empty tree with a config for `arch`.
    pub(crate) fn new(arch: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("build-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .unwrap();
        let root = dir.path().join("a place+");
        fs::create_dir(&root).unwrap();
        fs::create_dir_all(cache()).unwrap();
        let fixture = Self { _dir: dir, root };
        let cache = cache().canonicalize().unwrap();
        fixture.config(&format!("ARCH={arch}\nRELEASE={}", release(arch)));
        fixture.config(&format!("CACHE_DIR='{}'", cache.display()));
        fixture
    }

    /// A tree with a stage0 that makes the smallest root file system.
    pub(crate) fn with_base(arch: &str) -> Self {
        let fixture = Self::new(arch);
        fixture.config("STAGE_LIST=stage0");
        fixture.script("stage0/prerun.sh", PRERUN);
        fixture
    }

    /// Adds a line to the config.
    pub(crate) fn config(&self, line: &str) {
        let path = self.root.join("config");
        let start = "IMG_NAME=small\nexport EXTRA_SUITES=''\nDEPLOY_COMPRESSION=none\n";
        let text = fs::read_to_string(&path).unwrap_or_else(|_| start.to_owned());
        fs::write(path, format!("{text}{line}\n")).unwrap();
    }

    pub(crate) fn file(&self, path: &str, text: &str) -> PathBuf {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn script(&self, path: &str, text: &str) {
        let path = self.file(path, text);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_default()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(args).current_dir(&self.root);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Said {
        let start = Instant::now();
        let said = Said::of(&self.command(args).stdin(Stdio::null()).output().unwrap());
        println!("  {} s  {}", start.elapsed().as_secs(), args.join(" "));
        said
    }

    /// Starts a build whose words go nowhere.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        self.command(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}

/// Waits until `done`, at most `limit`; says whether it came true.
pub(crate) fn wait(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < limit {
        if done() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    done()
}

/// A process, told apart from a later one of the same number by its start time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    parent: u32,
    start: String,
    pub(crate) command: String,
}

/// All live processes.
pub(crate) fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
            if fields[0] == "Z" {
                return None;
            }
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            Some(Process {
                pid,
                parent: fields[1].parse().ok()?,
                start: fields[19].to_owned(),
                command: String::from_utf8_lossy(&line).replace('\0', " "),
            })
        })
        .collect()
}

/// `root` and everything below it.
pub(crate) fn family(root: u32) -> Vec<Process> {
    let all = processes();
    let mut pids = vec![root];
    let mut at = 0;
    while at < pids.len() {
        let parent = pids[at];
        pids.extend(all.iter().filter(|p| p.parent == parent).map(|p| p.pid));
        at += 1;
    }
    all.into_iter().filter(|p| pids.contains(&p.pid)).collect()
}

/// Processes of `before` that are still there.
pub(crate) fn left(before: &[Process]) -> Vec<Process> {
    processes()
        .into_iter()
        .filter(|now| {
            before
                .iter()
                .any(|then| then.pid == now.pid && then.start == now.start)
        })
        .collect()
}

/// Processes with `word` on their command line.
pub(crate) fn with_word(word: &str) -> Vec<Process> {
    processes()
        .into_iter()
        .filter(|process| process.command.contains(word))
        .collect()
}
