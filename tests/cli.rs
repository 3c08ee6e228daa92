//! The command line: help, exit codes, and what is said before a build starts.

#[path = "cli/json.rs"]
mod json;
#[path = "cli/judged.rs"]
mod judged;
#[path = "common/schemas.rs"]
mod schemas;
#[path = "cli/slope.rs"]
mod slope;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn westwork(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_westwork-gen"))
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn listing(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = walkdir::WalkDir::new(dir)
        .into_iter()
        .map(|entry| entry.unwrap().path().display().to_string())
        .collect();
    names.sort();
    names
}

/// Every subcommand that `--help` lists.
fn subcommands(dir: &Path) -> Vec<String> {
    let help = text(&westwork(dir, &["--help"]));
    let listed = help
        .split("Commands:\n")
        .nth(1)
        .expect("a list of commands");
    let lines = listed.lines().take_while(|line| line.starts_with("  "));
    let mut names: Vec<String> = lines
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    names.retain(|name| name != "help");
    names
}

#[test]
fn help_fits_eighty_columns_and_ends_well() {
    let dir = tempfile::tempdir().unwrap();
    let names = subcommands(dir.path());
    for known in ["build", "why", "clean", "lock", "diff"] {
        assert!(names.iter().any(|name| name == known), "{names:?}");
    }
    let mut all = vec![vec!["--help"]];
    all.extend(names.iter().map(|name| vec![name.as_str(), "--help"]));
    for args in all {
        let output = westwork(dir.path(), &args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        for line in text(&output).lines() {
            assert!(line.chars().count() <= 80, "{args:?}: {line}");
        }
    }
}

#[test]
fn wrong_use_and_missing_settings_end_with_2() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["bild"][..],
        &["build", "--nonsense"],
        &["build"],
        &["plan"],
        &["check"],
        &["build", "-c", "nowhere"],
        &["build", "--set", "IMG_NAME"],
    ] {
        let output = westwork(dir.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output));
    }
    assert_eq!(listing(dir.path()).len(), 1, "something was written");
}

#[test]
fn an_image_that_is_not_there_ends_boot_with_1() {
    let dir = tempfile::tempdir().unwrap();
    let output = westwork(dir.path(), &["boot", "--test", "nowhere.img"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
}

#[test]
fn six_mistakes_are_reported_in_one_run_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let sub = dir.path().join("stage0/00-sub");
    fs::create_dir_all(&sub).unwrap();
    let script = "#!/bin/bash -e\ntrue\n";
    fs::write(dir.path().join("stage0/prerun.sh"), script).unwrap();
    fs::set_permissions(
        dir.path().join("stage0/prerun.sh"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    // A script that may not be executed, a number of one digit, an unknown suffix …
    fs::write(sub.join("00-run.sh"), script).unwrap();
    fs::set_permissions(sub.join("00-run.sh"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(sub.join("0-packages"), "less\n").unwrap();
    fs::write(sub.join("01-pakages"), "less\n").unwrap();
    // … a misspelt key, a compression there is not …
    fs::write(
        dir.path().join("config"),
        "IMG_NAME=six\nTARGET_HOSTNAM=pi\nDEPLOY_COMPRESSION=rar\nSTAGE_LIST='stage0'\n",
    )
    .unwrap();
    // … and no emulator: every program of this machine but the emulators.
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    for from in ["/usr/sbin", "/sbin", "/usr/bin", "/bin"] {
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            let link = bin.join(&name);
            if !name.to_string_lossy().starts_with("qemu-") && link.symlink_metadata().is_err() {
                std::os::unix::fs::symlink(entry.path(), link).unwrap();
            }
        }
    }
    let before = listing(dir.path());
    for command in ["check", "build"] {
        let output = Command::new(env!("CARGO_BIN_EXE_westwork-gen"))
            .arg(command)
            .current_dir(dir.path())
            .env("PATH", &bin)
            .output()
            .unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        let mut wanted = vec![
            "TARGET_HOSTNAME",
            "rar",
            "00-run.sh",
            "0-packages",
            "01-pakages",
        ];
        if cfg!(target_arch = "x86_64") {
            wanted.push("qemu-user-static");
        }
        for word in wanted {
            assert!(
                said.contains(word),
                "{command} does not say {word}:\n{said}"
            );
        }
        assert_eq!(listing(dir.path()), before, "{command} wrote something");
    }
}

#[test]
fn stages_of_an_installed_package_stand_in_for_missing_ones() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("usr/bin/westwork-gen");
    let share = dir
        .path()
        .join("usr/share/westwork-gen/stages/stage0/00-packaged");
    let own = dir.path().join("project/mine/00-own");
    for made in [program.parent().unwrap(), &share, &own] {
        fs::create_dir_all(made).unwrap();
    }
    fs::copy(env!("CARGO_BIN_EXE_westwork-gen"), &program).unwrap();
    fs::write(share.join("00-packages"), "nano\n").unwrap();
    fs::write(own.join("00-packages"), "less\n").unwrap();
    let plan = |set: &str| {
        let output = Command::new(&program)
            .args(["plan", "--set", "IMG_NAME=a", "--set", set])
            .args(["--set", "MIRROR=http://192.0.2.1/debian"])
            .current_dir(dir.path().join("project"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        text(&output)
    };
    assert!(plan("ARCH=arm64").contains("stage0/00-packaged/00-packages"));
    let both = plan("STAGE_LIST=stages/stage0 mine");
    assert!(both.contains("stage0/00-packaged"), "{both}");
    assert!(both.contains("mine/00-own"), "{both}");
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_westwork-gen"))
}

/// `westwork-gen … | true`: no message, and the exit code of a program that SIGPIPE ended.
#[test]
fn a_closed_pipe_ends_it_quietly() {
    let (reader, writer) = os_pipe::pipe().unwrap();
    drop(reader);
    let out = program().arg("schema").stdout(writer).output().unwrap();
    assert_eq!(out.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&out.stderr), "");
}

#[test]
fn a_full_disk_is_told_and_no_fault_of_the_program() {
    let full = || {
        std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap()
    };
    let out = program().arg("schema").stdout(full()).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let told = "westwork-gen: writing to standard output: No space left on device";
    assert!(said.starts_with(told), "{said}");
    // With nowhere to tell it the exit code still says what it was.
    let dir = tempfile::tempdir().unwrap();
    let mut check = program();
    check
        .args(["check", "--set", "ARCH=none"])
        .current_dir(dir.path());
    assert_eq!(check.stderr(full()).status().unwrap().code(), Some(2));
}

#[test]
fn an_environment_that_is_no_text_is_no_fault_of_the_program() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let raw = OsStr::from_bytes(b"\xff");
    let dir = tempfile::tempdir().unwrap();
    let check = |name: &str| {
        let mut check = program();
        check.args(["plan", "--set", "ARCH=none"]).env(name, raw);
        let out = check.current_dir(dir.path()).output().unwrap();
        (
            out.status.code(),
            String::from_utf8_lossy(&out.stderr).into_owned(),
        )
    };
    let (code, said) = check("HARMLESS");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("ARCH"), "{said}");
    let (code, said) = check("FIRST_USER_PASS");
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.starts_with("FIRST_USER_PASS of the environment is not UTF-8; unset"),
        "{said}"
    );
}

/// A machine without QEMU is no word on the image.
#[test]
fn boot_without_its_tools_names_their_packages() {
    let dir = tempfile::tempdir().unwrap();
    let mut boot = program();
    boot.args(["boot", "--test", "x.img"])
        .env("PATH", dir.path());
    let out = boot.current_dir(dir.path()).output().unwrap();
    let said = text(&out);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("qemu-system-aarch64"), "{said}");
    assert!(
        said.contains("needed to boot the image on this machine; apt install qemu-system-arm\n"),
        "{said}"
    );
    assert!(
        !said.contains("did not pass") && !said.contains("--install-deps"),
        "{said}"
    );
}

/// A command asks for what it needs itself, and for nothing that only a build needs.
#[test]
fn each_command_asks_for_its_own_tools() {
    let dir = tempfile::tempdir().unwrap();
    let missing = |args: &[&str]| {
        let mut command = program();
        command.args(args).env("PATH", dir.path());
        text(&command.current_dir(dir.path()).output().unwrap())
    };
    let update = missing(&["lock", "--update"]);
    assert!(
        update.contains("apt-get and apt-cache are not installed"),
        "{update}"
    );
    assert!(!update.contains("mmdebstrap"), "{update}");
    let shell = missing(&["shell"]);
    assert!(
        shell.contains("bash is not installed, but needed to read the config"),
        "{shell}"
    );
    assert!(
        !shell.contains("mke2fs") && !shell.contains("apt-helper"),
        "{shell}"
    );
    let inspect = missing(&["inspect", "x.img"]);
    assert!(!inspect.contains("not installed"), "{inspect}");
}
