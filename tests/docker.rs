//! `build-docker.sh` with engines that are scripts: what it says, and what it asks of them.

#[path = "common/need.rs"]
mod need;

use need::left_out;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Answers like Podman, with the program itself for the builder; every call is a line of the file
/// `calls`.
const WORKING: &str = "echo \"$*\" >>\"$CALLS\"
case \"$*\" in
--version) echo podman version 5 ;;
'container inspect'*) exit 125 ;;
*' westwork-gen mounts'*)
\twhile [ \"$1\" != mounts ]; do shift; done
\texec \"$PROGRAM\" internal \"$@\"
\t;;
esac
";

struct Stub {
    dir: TempDir,
}

impl Stub {
    /// An engine of that name which is `script`, and a tree with a config.
    fn new(engine: &str, script: &str) -> Self {
        let stub = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        stub.program(engine, script);
        fs::create_dir(stub.dir.path().join("tree")).unwrap();
        stub.config("IMG_NAME=small\n");
        stub
    }

    fn program(&self, name: &str, script: &str) {
        let bin = self.dir.path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        let path = bin.join(name);
        fs::write(&path, format!("#!/bin/bash\n{script}")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn config(&self, text: &str) {
        fs::write(self.dir.path().join("tree/config"), text).unwrap();
    }

    /// Exit code and what was said.
    fn run(&self, engine: &str, set: &[(&str, &str)], args: &[&str]) -> (Option<i32>, String) {
        let path = std::env::var("PATH").unwrap();
        let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("build-docker.sh"))
            .args(args)
            .current_dir(self.dir.path().join("tree"))
            .env_remove("CONTAINER_NAME")
            .env_remove("CONTINUE")
            .env("DOCKER", engine)
            .env("PROGRAM", env!("CARGO_BIN_EXE_westwork-gen"))
            .env("CALLS", self.dir.path().join("calls"))
            .env("PATH", format!("{}/bin:{path}", self.dir.path().display()))
            .envs(set.iter().copied())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.dir.path().join("calls")).unwrap()
    }
}

#[track_caller]
fn refused(answer: (Option<i32>, String), words: &[&str]) {
    assert_eq!(answer.0, Some(2), "{}", answer.1);
    for word in words {
        assert!(answer.1.contains(word), "`{word}` is not in: {}", answer.1);
    }
}

#[test]
fn engines_that_are_not_there_or_not_for_the_caller() {
    let stub = Stub::new("engine", "");
    refused(
        stub.run("no-such-engine", &[], &[]),
        &["no no-such-engine here", "apt install podman"],
    );
    for (answer, words) in [
        (
            "permission denied while trying to connect",
            "usermod -aG docker",
        ),
        (
            "Cannot connect to the Docker daemon",
            "systemctl start docker",
        ),
        ("no subuid ranges found", "--add-subuids"),
        (
            "cannot clone: user namespaces are off",
            "max_user_namespaces",
        ),
        ("something else", "does not work: something else"),
    ] {
        stub.program(
            "engine",
            &format!("[ \"$1\" != info ] || {{ echo '{answer}' >&2; exit 1; }}\n"),
        );
        refused(stub.run("engine", &[], &[]), &[words]);
    }
}

#[test]
fn containers_that_are_there_already() {
    let there = |running: &str| {
        let inspected = format!("'container inspect'*) echo {running} ;;");
        WORKING.replace("'container inspect'*) exit 125 ;;", &inspected)
    };
    let stub = Stub::new("engine", &there("true"));
    refused(
        stub.run("engine", &[("CONTINUE", "1")], &[]),
        &["pigen_work is running", "engine stop pigen_work"],
    );
    stub.program("engine", &there("false"));
    refused(
        stub.run("engine", &[], &[]),
        &["CONTINUE=1", "engine rm pigen_work"],
    );
    let (code, said) = stub.run("engine", &[("CONTINUE", "1")], &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(stub.calls().contains("\nrm pigen_work\n"));
}

#[test]
fn other_systems() {
    let stub = Stub::new("engine", "");
    stub.program("uname", "echo MINGW64_NT-10.0\n");
    refused(stub.run("engine", &[], &[]), &["WSL 2"]);
    stub.program("uname", "echo Darwin\n");
    refused(
        stub.run("no-such-engine", &[], &[]),
        &["macOS", "Docker Desktop"],
    );
}

/// An engine that refuses to start the probe, with this exit code.
fn probe(code: u32) -> String {
    format!("{WORKING}case \"$*\" in *' probe') echo not permitted >&2; exit {code} ;; esac\n")
}

#[test]
fn kernels_that_forbid_what_a_build_needs() {
    let stub = Stub::new("engine", &probe(10));
    refused(
        stub.run("engine", &[], &[]),
        &["user namespaces", "not permitted", "max_user_namespaces"],
    );
    // Each try had more rights than the one before; none was all of them.
    let calls = stub.calls();
    let tries: Vec<&str> = calls.lines().filter(|l| l.ends_with(" probe")).collect();
    assert_eq!(tries.len(), 3, "{calls}");
    assert!(!tries[0].contains("--security-opt"), "{calls}");
    assert!(!tries[1].contains("seccomp"), "{calls}");
    assert!(tries[2].contains("seccomp=unconfined"), "{calls}");
    assert!(!calls.contains("privileged") && !calls.contains("dst=/dev"));
}

#[test]
fn a_kernel_without_emulators() {
    let registered = fs::read_dir("/proc/sys/fs/binfmt_misc").is_ok_and(|dir| {
        dir.flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("qemu-"))
    });
    if registered {
        left_out!("this machine has emulators registered");
        return;
    }
    let stub = Stub::new("engine", &probe(12));
    refused(
        stub.run("engine", &[], &[]),
        &["binfmt_misc", "binfmt-support"],
    );
}

#[test]
fn what_is_handed_to_the_container() {
    let stub = Stub::new("engine", WORKING);
    let outside = stub.dir.path().join("out side");
    fs::create_dir_all(stub.dir.path().join("stages/two")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("extra"), "DEPLOY_DIR=images\n").unwrap();
    stub.config("IMG_NAME=small\nSTAGE_LIST='stage0 ../stages/two'\n");
    let extra = outside.join("extra");
    let extra = extra.to_str().unwrap();
    let set = [
        ("PIGEN_DOCKER_OPTS", "--old x"),
        ("DOCKER_OPTS", "--new y"),
        ("FIRST_USER_PASS", "secret-word"),
    ];
    let (code, said) = stub.run("engine", &set, &["-c", extra, "--locked"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("nothing beyond the engine's defaults"),
        "{said}"
    );
    let calls = stub.calls();
    let build = calls
        .lines()
        .find(|line| line.contains("--name pigen_work"))
        .unwrap();
    let two = stub.dir.path().join("stages/two");
    let mount = format!("src={0},dst={0},readonly", two.display());
    for part in [
        &mount,
        &format!("src={extra},dst={extra},readonly"),
        "-v pigen_work:/westwork",
        "--old x --new y",
        "-e FIRST_USER_PASS ",
        "tree/images ",
        &format!("westwork-gen build -c {extra} --locked"),
    ] {
        assert!(build.contains(part), "`{part}` is not in: {build}");
    }
    assert!(!calls.contains("secret-word"));
    assert!(calls.contains("\nrm pigen_work\n"));
    // Also when it is asked for the mounts, and for what it may do.
    let mut runs = calls.lines().filter(|line| line.starts_with("run "));
    assert!(
        runs.all(|line| line.contains(" -v pigen_work:/westwork ")),
        "{calls}"
    );

    // The key's file and what scripts may write, of the settings of a TOML file; the environment is
    // stronger than files.
    let [key, blobs, out] = ["k.gpg", "blobs", "o u t"].map(|name| stub.dir.path().join(name));
    fs::write(&key, "").unwrap();
    fs::create_dir(&blobs).unwrap();
    fs::create_dir(&out).unwrap();
    let toml = format!(
        "RASPBIAN_KEY = \"{}\" # HOST_PATHS = 'x'\nHOST_PATHS = [\n  \"/nowhere\",\n]\nDEPLOY_DIR = '{}'\n",
        key.display(),
        out.display()
    );
    fs::write(stub.dir.path().join("tree/second.toml"), toml).unwrap();
    let paths = format!("{}:rw", blobs.display());
    let (code, said) = stub.run("engine", &[("HOST_PATHS", &paths)], &["-csecond.toml"]);
    assert_eq!(code, Some(0), "{said}");
    let calls = stub.calls();
    let build = calls
        .lines()
        .rfind(|line| line.contains("--name pigen_work"))
        .unwrap();
    for part in [
        format!("src={0},dst={0},readonly", key.display()),
        format!("src={0},dst={0} ", blobs.display()),
        format!("src={0},dst={0} ", out.display()),
        format!("-e DEPLOY_MOUNT={} ", out.display()),
        "-e HOST_PATHS ".to_owned(),
    ] {
        assert!(build.contains(&part), "`{part}` is not in: {build}");
    }

    let (code, _) = stub.run("engine", &[("PRESERVE_CONTAINER", "1")], &[]);
    assert_eq!(code, Some(0));
    assert_eq!(stub.calls().matches("\nrm pigen_work\n").count(), 2);
}

#[test]
fn a_ready_builder_is_not_compiled() {
    let stub = Stub::new(
        "podman",
        &WORKING.replace("westwork-gen mounts", "example.org/made:1 mounts"),
    );
    let (code, said) = stub.run("podman", &[("BUILDER", "example.org/made:1")], &[]);
    assert_eq!(code, Some(0), "{said}");
    let calls = stub.calls();
    assert!(calls.contains(" example.org/made:1 build"), "{calls}");
    assert!(!calls.contains("build -q"), "{calls}");

    let stub = Stub::new("podman", WORKING);
    let (code, said) = stub.run("podman", &[], &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        stub.calls().contains("build -q -t westwork-gen"),
        "{}",
        stub.calls()
    );
}
