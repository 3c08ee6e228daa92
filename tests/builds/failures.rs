//! Builds that go wrong, are interrupted, or are killed.

use crate::common::{Tree, both, host_state, processes_of};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Six mistakes of six kinds, one run.
#[test]
fn every_mistake_is_found_before_anything_is_written() {
    let tree = Tree::new("arm64");
    tree.file(
        "config",
        "IMG_NAME=Test\nDEPLOY_COMPRESSION=zstd\nFIRST_USERNAME=anna\n",
    );
    tree.file("stages/stage0/00-a/00-run.sh", "#!/bin/sh\n");
    tree.file("stages/stage0/00-a/0-packages", "less\n");
    tree.file("stages/stage0/00-a/01-pakages", "less\n");
    // Everything but an emulator.
    let bin = tree.dir.parent().unwrap().join("bin");
    fs::create_dir(&bin).unwrap();
    for entry in ["/usr/bin", "/usr/sbin"]
        .iter()
        .flat_map(|dir| fs::read_dir(dir).unwrap().flatten())
    {
        if !entry.file_name().to_string_lossy().starts_with("qemu-") {
            let _ = std::os::unix::fs::symlink(entry.path(), bin.join(entry.file_name()));
        }
    }
    for command in ["check", "build"] {
        let output = tree.command(&[command]).env("PATH", &bin).output().unwrap();
        let text = both(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert_eq!(text.lines().count(), 6, "{text}");
        for remedy in [
            "DEPLOY_COMPRESSION: zstd",
            "FIRST_USER_NAME",
            "chmod +x",
            "00-packages",
            "01-packages",
            "qemu-user-static",
        ] {
            assert!(text.contains(remedy), "{remedy} is missing in:\n{text}");
        }
    }
    assert!(!tree.dir.join("work").exists() && !tree.dir.join("deploy").exists());
}

#[test]
fn exit_codes_tell_usage_from_failure() {
    let tree = Tree::new("arm64");
    assert_eq!(tree.run(&["bild"]).status.code(), Some(2));
    assert_eq!(tree.run(&["build", "-c", "missing"]).status.code(), Some(2));
    assert_eq!(tree.run(&["boot", "missing.img"]).status.code(), Some(1));
    let help = both(&tree.run(&["build", "--help"]));
    assert!(
        help.lines().all(|line| line.chars().count() <= 80),
        "{help}"
    );
}

#[test]
fn a_failing_step_says_what_to_do_and_the_build_goes_on_there() {
    let tree = Tree::new("arm64").with_bootstrap();
    let host = host_state();
    tree.file(
        "stages/stage0/00-a/00-run-chroot.sh",
        "false | true\nsleep 1000 &\nsetsid sleep 1001 &\nread -r x || true\n",
    );
    tree.file(
        "stages/stage0/00-a/01-run-chroot.sh",
        "touch /half\nset -o pipefail\necho the last word\nfalse | true\n",
    );
    let output = tree.run(&["build"]);
    let text = both(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in [
        "| the last word",
        "stage0/00-a/01-run-chroot.sh failed",
        "build.log",
        "westwork-gen shell",
        "--continue",
    ] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    assert_eq!(
        processes_of(tree.dir.to_str().unwrap()),
        Vec::<String>::new(),
        "a step left something running"
    );
    tree.file("stages/stage0/00-a/01-run-chroot.sh", "test ! -e /half\n");
    let text = tree.build(&["--continue"]);
    assert!(
        text.contains("cached  stage0/00-a/00-run-chroot.sh"),
        "{text}"
    );
    assert_eq!(host_state(), host);
}

/// Starts a build and waits until its log shows `mark`.
fn start_until(tree: &Tree, mark: &str) -> Child {
    let child = tree
        .command(&["build"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    let log = tree.dir.join("work/Test-arm64/build.log");
    while !fs::read_to_string(&log).unwrap_or_default().contains(mark) {
        assert!(Instant::now() < deadline, "the build never printed {mark}");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

/// Waits until nothing of the build runs any more.
fn wait_for_silence(tree: &Tree) {
    let deadline = Instant::now() + Duration::from_secs(3);
    loop {
        let left = processes_of(tree.dir.to_str().unwrap());
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "still running: {left:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn interrupts_and_kills_leave_nothing_behind() {
    let tree = Tree::new("arm64").with_bootstrap();
    let stubborn = "trap '' TERM INT HUP\necho 'now or never'\nif [ ! -e /etc/once ]; then\n\ttouch /etc/half\n\tsleep 300 & wait; sleep 300\nfi\n";
    tree.file("stages/stage0/00-a/00-run-chroot.sh", stubborn);
    let host = host_state();

    let mut child = start_until(&tree, "now or never");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let began = Instant::now();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "it took {:?}",
        began.elapsed()
    );
    wait_for_silence(&tree);
    assert_eq!(host_state(), host);

    for mark in ["Setting up", "now or never"] {
        fs::remove_dir_all(tree.dir.join("work")).unwrap();
        let mut child = start_until(&tree, mark);
        child.kill().unwrap();
        child.wait().unwrap();
        wait_for_silence(&tree);
        assert_eq!(host_state(), host);
    }
    tree.file(
        "stages/stage0/00-a/00-run-chroot.sh",
        "test ! -e /etc/half\n",
    );
    let text = tree.build(&["--continue"]);
    assert!(text.contains("cached  stage0/prerun.sh"), "{text}");
}
