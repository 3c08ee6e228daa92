//! What programs are told: `plan`, `why` and `check --json`, and the events of a build that does
//! not come to its first step. All is held against the schemas that the program prints.

use super::schemas::{assert_valid, events, named, printed};
use super::{program, text, westwork};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

/// A tree of one stage with two steps, for two architectures.
fn tree(config: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let sub = dir.path().join("stage0/00-sub");
    fs::create_dir_all(&sub).unwrap();
    let prerun = dir.path().join("stage0/prerun.sh");
    fs::write(&prerun, "#!/bin/bash -e\ntrue\n").unwrap();
    fs::set_permissions(prerun, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.path().join("stage0/EXPORT_IMAGE"), "IMG_SUFFIX=-a\n").unwrap();
    fs::write(sub.join("00-packages"), "less\n").unwrap();
    let text = format!(
        "IMG_NAME=small\nARCH='arm64 armhf'\nSTAGE_LIST=stage0\nMIRROR=http://192.0.2.1/debian\n{config}"
    );
    fs::write(dir.path().join("config"), text).unwrap();
    dir
}

/// What the program prints as JSON, which holds against the schema `what`.
fn printed_json(dir: &Path, args: &[&str], what: &str, code: i32) -> Value {
    let output = westwork(dir, args);
    assert_eq!(output.status.code(), Some(code), "{}", text(&output));
    let value = serde_json::from_slice(&output.stdout).unwrap();
    assert_valid(&printed(what), &value);
    assert_eq!(value["version"], 1);
    value
}

#[test]
fn plan_and_why_say_to_programs_what_they_say_to_people() {
    let dir = tree("");
    let plan = printed_json(dir.path(), &["plan", "--json"], "plan", 0);
    let builds = plan["builds"].as_array().unwrap();
    let of = |build: &Value| [build["image"].clone(), build["arch"].clone()];
    assert_eq!(of(&builds[0]), [json!("small"), json!("arm64")]);
    assert_eq!(of(&builds[1]), [json!("small"), json!("armhf")]);
    let step = &builds[0]["steps"][1];
    let file = dir.path().canonicalize().unwrap();
    assert_eq!(
        *step,
        json!({
            "step": "stage0/00-sub/00-packages", "kind": "packages", "verdict": "run",
            "path": file.join("stage0/00-sub/00-packages"),
            "why": {"kind": "new", "text": "not built yet"},
        })
    );
    let image = &builds[0]["images"][0];
    assert_eq!(image["suffix"], "-a");
    assert_eq!(image["after"], "stage0/00-sub/00-packages");

    let args = ["why", "--json", "--set", "ARCH=arm64", "stage0/00-sub"];
    let why = printed_json(dir.path(), &args, "why", 0);
    assert_eq!(why["builds"].as_array().unwrap().len(), 1);
    assert_eq!(why["builds"][0]["steps"], json!([step]));
    let unknown = westwork(dir.path(), &["why", "--json", "stage7"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(unknown.stdout.is_empty(), "{}", text(&unknown));
}

#[test]
fn check_says_to_programs_what_is_wrong_and_what_would_be_built() {
    let dir = tree("TARGET_HOSTNAME=box\nDEPLOY_COMPRESSION=rar\nexport TMPDIR=x\n");
    let odd = dir.path().join("stage0/00-sub/0-packages");
    fs::write(&odd, "less\n").unwrap();
    let check = printed_json(dir.path(), &["check", "--json"], "check", 2);
    let builds = check["builds"].as_array().unwrap();
    assert_eq!(builds.len(), 2);
    for (build, arch) in builds.iter().zip(["arm64", "armhf"]) {
        assert_eq!([&build["image"], &build["arch"]], ["small", arch]);
        let problems = build["problems"].as_array().unwrap();
        let about = |word: &str| {
            let mut found = problems
                .iter()
                .filter(|it| it["what"].as_str().unwrap().contains(word));
            found
                .next()
                .unwrap_or_else(|| panic!("{word}: {problems:?}"))
        };
        let rar = about("rar");
        assert!(rar["path"].as_str().unwrap().ends_with("/config"), "{rar}");
        assert_eq!(rar["line"], 6, "{rar}");
        let named = problems.iter().find(|it| {
            let path = it["path"].as_str().unwrap_or_default();
            path.ends_with("stage0/00-sub/0-packages")
        });
        assert_eq!(named.unwrap()["remedy"], "rename it to 00-packages");
        assert!(named.unwrap().get("line").is_none());
        let facts = &build["facts"];
        assert_eq!(facts["host"], "box");
        assert_eq!(facts["distro"], "Debian");
        assert_eq!(facts["arch"], arch);
        assert_eq!(facts["steps"], 2);
    }
    // Not even the settings could be read.
    let mut check = program();
    check.env("IMG_NAME", OsStr::from_bytes(b"\xff"));
    let output = check.args(["check", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let check: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_valid(&printed("check"), &check);
    let remedy = "unset IMG_NAME, or write it in UTF-8";
    assert_eq!(check["builds"][0]["problems"][0]["remedy"], remedy);
    assert!(check["builds"][0].get("facts").is_none(), "{check}");
}

#[test]
fn a_build_that_cannot_begin_says_so_to_programs() {
    let dir = tree("DEPLOY_COMPRESSION=rar\n");
    fs::write(dir.path().join("events"), "of an earlier build\n").unwrap();
    let build = |to: &str, arch: &str| {
        let set = format!("ARCH={arch}");
        westwork(dir.path(), &["build", "--events", to, "--set", &set])
    };
    let output = build("events", "arm64");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let said = events(&fs::read_to_string(dir.path().join("events")).unwrap());
    assert_eq!(said[0]["event"], "run_begun");
    assert_eq!(said[0]["version"], 1);
    assert_eq!(said[1]["event"], "build_begun");
    assert_eq!([&said[1]["image"], &said[1]["arch"]], ["small", "arm64"]);
    let problems = named(&said, "problem");
    let rar = problems
        .iter()
        .find(|it| it["what"].as_str().unwrap().contains("rar"));
    assert_eq!(rar.unwrap()["line"], 5);
    assert_eq!(named(&said, "build_ended")[0]["code"], 2);
    let last = said.last().unwrap();
    assert_eq!(last["event"], "run_ended");
    assert_eq!(last["code"], 2);

    // Standard output is the program's, which reads it; people have the other one.
    for arch in ["arm64", "arm64 armhf"] {
        let output = build("-", arch);
        assert_eq!(output.status.code(), Some(2));
        let said = events(&String::from_utf8(output.stdout).unwrap());
        assert!(!named(&said, "problem").is_empty(), "{said:?}");
        assert_eq!(said.last().unwrap()["code"], 2);
        assert!(String::from_utf8_lossy(&output.stderr).contains("rar"));
    }

    let output = build("no/such/directory", "arm64");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).starts_with("--events: writing no/such/directory: No such file"));
}

#[test]
fn every_event_is_documented() {
    let dir = tempfile::tempdir().unwrap();
    let output = westwork(dir.path(), &["schema", "events"]);
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    let page = fs::read_to_string("docs/events.md").unwrap();
    let events = schema["oneOf"].as_array().unwrap();
    assert!(events.len() > 12, "{schema}");
    for event in events {
        let name = event["properties"]["event"]["const"].as_str().unwrap();
        let start = format!("| `{name}` |");
        let row = page.lines().find(|line| line.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("docs/events.md has no row for {name}"));
        for field in event["properties"].as_object().unwrap().keys() {
            let is_there = row.contains(&format!("`{field}`")) || field == "event";
            assert!(
                is_there,
                "docs/events.md does not say that {name} has {field}"
            );
        }
    }
}

/// Events are of less weight than the image.
#[test]
fn a_full_disk_below_the_events_is_told_and_no_reason_to_stop() {
    let dir = tree("DEPLOY_COMPRESSION=rar\n");
    let output = westwork(dir.path(), &["build", "--events", "/dev/full"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let told = "note: from here on no events are written: No space left on device";
    assert_eq!(said.matches(told).count(), 1, "{said}");
    assert!(said.contains("rar"), "{said}");
}
