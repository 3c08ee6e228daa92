//! Steps that misbehave, and builds that are ended.

use crate::common::host_state;
use crate::fixture::{Fixture, family, left, wait, with_word};
use crate::schemas::{events, named};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

const STEP: &str = "stage0/01-step/00-run-chroot.sh";
const HOST_STEP: &str = "stage0/01-step/00-run.sh";
const LOG: &str = "work/small-arm64/build.log";

/// A number for `sleep` that no other process has.
fn number(kind: u32) -> String {
    format!("{}{kind}", 1_000_000 + std::process::id())
}

/// The file `told`, to which the first build of the tree has written.
fn events_of_a_good_build(f: &Fixture) {
    let all = events(&f.read("told"));
    let of_build = |it: &&Value| it["event"] != "run_begun" && it["event"] != "run_ended";
    for event in all.iter().filter(of_build) {
        assert_eq!([&event["image"], &event["arch"]], ["small", "arm64"]);
    }
    let planned = named(&all, "planned")[0];
    assert_eq!([&planned["steps"], &planned["to_run"]], [2, 2]);
    let steps = |name| -> Vec<&Value> {
        let of_tree = |it: &&Value| it["part"] == "step";
        named(&all, name).into_iter().filter(of_tree).collect()
    };
    let (begun, ended) = (steps("step_begun"), steps("step_ended"));
    assert_eq!((begun.len(), ended.len()), (2, 2));
    assert_eq!(begun[1]["step"], STEP);
    assert_eq!(begun[1]["why"]["kind"], "new");
    assert_eq!([&ended[1]["step"], &ended[1]["verdict"]], [STEP, "done"]);
    assert!(ended[0]["took"]["bytes_written"].as_u64().unwrap() > 10_000_000);
    for end in ["build_ended", "run_ended"] {
        assert_eq!(named(&all, end)[0]["code"], 0);
    }
    assert_eq!(all.last().unwrap()["event"], "run_ended");
}

/// The same for a build whose second step fails.
fn events_of_a_failed_build(f: &Fixture) {
    let all = events(&f.read("told"));
    let cached = named(&all, "step_cached");
    assert_eq!(cached[0]["step"], "stage0/prerun.sh");
    assert_eq!(cached[0]["why"]["kind"], "there");
    let begun = named(&all, "step_begun");
    let begun = begun.iter().find(|it| it["step"] == STEP).unwrap();
    assert_eq!(begun["why"]["kind"], "changed");
    let change = begun["why"]["changes"][0].as_str().unwrap();
    assert!(change.contains("00-run-chroot.sh"), "{change}");
    let ended = named(&all, "step_ended");
    let ended = ended.iter().find(|it| it["step"] == STEP).unwrap();
    assert_eq!(ended["verdict"], "failed");
    let error = named(&all, "error")[0]["text"].as_str().unwrap();
    assert!(error.contains("westwork-gen build --continue"), "{error}");
    let builds = named(&all, "build_ended");
    assert_eq!((builds.len(), &builds[0]["code"]), (1, &Value::from(1)));
}

#[test]
fn steps_that_fail_leave_daemons_or_read_input() {
    let f = Fixture::with_base("arm64");
    let daemon = number(1);

    // Neither a failure hidden in a pipe …
    f.file(STEP, "false | true\necho passed-on\nls -l /proc/$$/fd\n");
    f.run(&["build", "--events", "told"]).good();
    assert!(f.read(LOG).contains("passed-on"));
    events_of_a_good_build(&f);
    // It is the program's file, and not the step's.
    assert!(f.read(LOG).contains(" 0 -> ") && !f.read(LOG).contains("/told"));

    // … unless the script says so; then the build ends with what one needs to mend it.
    let many: String = (0..40).map(|n| format!("echo word-{n}\n")).collect();
    f.file(
        STEP,
        &format!("{many}set -o pipefail\nfalse | true\necho not-reached\n"),
    );
    let said = f.run(&["build", "--events", "told"]).failed();
    events_of_a_failed_build(&f);
    said.says("stage0/01-step/00-run-chroot.sh:42: false | true ended with 1");
    said.says("word-39");
    said.says("word-15");
    said.says_not("word-5\n");
    said.says("01-step");
    said.says("build.log");
    said.says("westwork-gen shell");
    assert!(!f.read(LOG).contains("not-reached"));
    assert!(f.read(LOG).contains("word-5\n"));

    // Once mended it goes on there.
    f.file(STEP, "echo mended\n");
    f.script(
        HOST_STEP,
        "#!/bin/bash -e\necho on\non_chroot << EOF\ncd /etc\ngrep -q zebra passwd\nEOF\n",
    );
    let said = f.run(&["build", "--continue"]).failed();
    said.says("stage0/01-step/00-run.sh:5: grep -q zebra passwd ended with 1");
    let packages = f.file("stage0/01-step/00-packages", "no-such-package\n");
    let said = f.run(&["build", "--continue"]).failed();
    said.says("00-packages failed: apt-get install --yes no-such-package ended with 100");
    std::fs::remove_file(packages).unwrap();
    f.script(HOST_STEP, "#!/bin/bash -e\ntrue\n");
    let said = f.run(&["build", "--continue"]).good();
    assert!(f.read(LOG).contains("mended"));
    said.says("cached  stage0/prerun.sh");

    // Standard input is empty, and does not hang.
    f.file(STEP, "if read -r word; then exit 1; fi\necho end-of-file\n");
    f.run(&["build"]).good();
    assert!(f.read(LOG).contains("end-of-file"));
    f.script(
        HOST_STEP,
        "#!/bin/bash -e\nif read -r word; then exit 1; fi\necho host-end-of-file\n",
    );
    f.run(&["build"]).good();
    assert!(f.read(LOG).contains("host-end-of-file"));

    // Daemons of either side end with the step.
    let start = Instant::now();
    f.script(
        HOST_STEP,
        &format!("#!/bin/bash -e\nsetsid sleep {daemon} &\nsleep {daemon} &\necho host-daemons\n"),
    );
    f.file(
        STEP,
        &format!("sleep {daemon} &\nsetsid sleep {daemon} >/dev/null 2>&1 </dev/null &\nsleep 0.3\necho daemons\n"),
    );
    // The next step sees none of them.
    f.file(
        "stage0/02-after/00-run-chroot.sh",
        &format!("if grep -alF {daemon} /proc/[0-9]*/cmdline; then exit 1; fi\n"),
    );
    f.run(&["build"]).good();
    assert!(start.elapsed() < Duration::from_secs(60), "it waited");
    assert!(with_word(&daemon).is_empty(), "a daemon is left");
}

#[test]
fn an_interrupted_build_ends_at_once_and_whole() {
    let f = Fixture::with_base("arm64");
    let sleep = number(2);
    f.file(
        STEP,
        &format!(
            "trap '' TERM INT HUP\necho now-deaf\nsleep {sleep} &\nwhile :; do sleep 1; done\n"
        ),
    );
    let before = host_state();
    let mut build = f.start(&["build", "--events", "told"]);
    assert!(
        wait(Duration::from_secs(180), || f
            .read(LOG)
            .contains("now-deaf")),
        "the step was not reached:\n{}",
        f.read(LOG)
    );
    assert!(wait(Duration::from_secs(5), || !with_word(&sleep).is_empty()));
    // Who follows the events knows what is going on.
    let last = events(&f.read("told")).pop().unwrap();
    assert_eq!([&last["event"], &last["step"]], ["step_begun", STEP]);
    let processes = family(build.id());
    assert!(processes.len() > 3, "{processes:?}");
    let start = Instant::now();
    kill(Pid::from_raw(build.id().cast_signed()), Signal::SIGINT).unwrap();
    let status = build.wait().unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "it took too long");
    assert_eq!(status.code(), Some(130));
    let all = events(&f.read("told"));
    let ends = ["build_ended", "run_ended"].map(|end| &named(&all, end)[0]["code"]);
    assert_eq!(ends, [130, 130]);
    assert!(
        wait(Duration::from_secs(2), || left(&processes).is_empty()),
        "left: {:?}",
        left(&processes)
    );
    assert!(with_word(&sleep).is_empty());
    assert_eq!(host_state(), before);
}

#[test]
fn a_killed_build_leaves_nothing_and_the_next_one_finishes() {
    let f = Fixture::with_base("arm64");
    let sleep = number(3);
    f.file(STEP, &format!("echo now-waiting\nsleep {sleep}\n"));
    let before = host_state();
    let mut build = f.start(&["build"]);
    assert!(
        wait(Duration::from_secs(180), || f
            .read(LOG)
            .contains("now-waiting")),
        "the step was not reached:\n{}",
        f.read(LOG)
    );
    assert_eq!(host_state(), before, "the host changed during the build");
    assert!(wait(Duration::from_secs(5), || !with_word(&sleep).is_empty()));
    let processes = family(build.id());
    assert!(processes.len() > 3, "{processes:?}");
    build.kill().unwrap();
    assert_eq!(build.wait().unwrap().signal(), Some(9));
    assert!(
        wait(Duration::from_secs(2), || left(&processes).is_empty()),
        "left: {:?}",
        left(&processes)
    );
    assert!(with_word(&sleep).is_empty());
    assert_eq!(host_state(), before);
    f.file(STEP, "echo finished\n");
    let said = f.run(&["build"]).good();
    said.says("cached  stage0/prerun.sh");
    assert!(f.read(LOG).contains("finished"));
    assert_eq!(host_state(), before);
}
