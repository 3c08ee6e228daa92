//! Settings as commands take them: read once, handed on whole.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A tree of one stage whose only step fails, with a config that counts how often it is sourced.
fn tree(config: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("stage0")).unwrap();
    let script = dir.path().join("stage0/prerun.sh");
    fs::write(&script, "#!/bin/bash -e\nfalse\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let text = format!(
        "echo sourced >>'{}'\nIMG_NAME=x-$RANDOM$RANDOM\nMIN_FREE=0\n\
         MIRROR=http://127.0.0.1:9/debian\n{config}",
        dir.path().join("count").display()
    );
    fs::write(dir.path().join("config"), text).unwrap();
    dir
}

fn westwork(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_westwork-gen"))
        .args(args)
        .current_dir(dir)
        .env("CACHE_DIR", dir.join("cache"))
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn times_sourced(dir: &Path) -> usize {
    let count = fs::read_to_string(dir.join("count")).unwrap();
    fs::remove_file(dir.join("count")).unwrap();
    count.lines().count()
}

#[test]
fn a_command_sources_the_config_once() {
    let dir = tree("ARCH='arm64 armhf'\n");
    for args in [
        &["plan"][..],
        &["why", "stage0"],
        &["check"],
        &["internal", "mounts"],
    ] {
        let output = westwork(dir.path(), args);
        assert_eq!(times_sourced(dir.path()), 1, "{args:?}: {}", text(&output));
    }
    let one = ["--set", "ARCH=arm64"];
    for command in [
        &["plan"][..],
        &["check"],
        &["build", "--emulate"],
        &["clean"],
        &["shell"],
    ] {
        let output = westwork(dir.path(), &[command, &one].concat());
        assert_eq!(
            times_sourced(dir.path()),
            1,
            "{command:?}: {}",
            text(&output)
        );
    }
}

#[test]
fn several_images_begin_with_an_empty_work_directory() {
    let dir = tree("ARCH='arm64 armhf'\nCLEAN=1\n");
    let old = dir.path().join("work/layers/0123456789ab");
    fs::create_dir_all(&old).unwrap();
    let output = westwork(dir.path(), &["build", "--emulate"]);
    let said = text(&output);
    assert!(!old.exists(), "{said}");
    // Each went on with the settings of the one reading, up to the step that fails.
    let names: Vec<_> = said
        .lines()
        .filter_map(|line| line.strip_suffix(" failed"))
        .collect();
    let [one, other] = names[..] else {
        panic!("two builds failed: {said}");
    };
    let failed = said.matches("stage0/prerun.sh failed").count();
    assert_eq!(failed, 2, "{said}");
    let name = |name: &str| name.rsplit_once('-').unwrap().0.to_owned();
    assert_eq!(name(one), name(other), "{said}");
    assert_eq!(times_sourced(dir.path()), 1, "{said}");
}

#[test]
fn an_environment_that_is_not_utf_8_is_none_of_ours() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let dir = tree("");
    let output = Command::new(env!("CARGO_BIN_EXE_westwork-gen"))
        .arg("plan")
        .current_dir(dir.path())
        .env("ODD", OsStr::from_bytes(b"\xff"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}
