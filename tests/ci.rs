//! What runs the tests leaves none of them out.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The words between `begin` and `end` on the line of `text` that begins with `begin`.
fn words(text: &str, begin: &str, end: char) -> BTreeSet<String> {
    let mut lines = text.lines().map(str::trim_start);
    let found = lines.find_map(|line| line.strip_prefix(begin));
    let list = found.unwrap_or_else(|| panic!("no line that begins with {begin}"));
    let list = list.strip_suffix(end).expect("the list ends with its line");
    list.split([',', ' '])
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_workflow_runs_every_section_of_the_test_script() {
    let script = read("tests/run");
    let mut sections = words(&script, "ALL=(", ')');
    sections.extend(words(&script, "ON_REQUEST=(", ')'));
    assert!(sections.len() > 5, "{sections:?}");
    let workflow = read(".github/workflows/ci.yml");
    assert_eq!(words(&workflow, "section: [", ']'), sections);
    for section in sections {
        assert!(
            script.contains(&format!("\n{section}() {{\n")),
            "tests/run has no function for {section}"
        );
        assert!(
            script.contains(&format!("\n#   tests/run {section} ")),
            "tests/run does not explain {section}"
        );
    }
}

#[test]
fn every_test_program_is_in_the_test_script() {
    let script = read("tests/run");
    let named: BTreeSet<&str> = script
        .split("--test ")
        .skip(1)
        .filter_map(|rest| rest.split_whitespace().next())
        .collect();
    let mut programs = BTreeSet::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")).unwrap() {
        let path = entry.unwrap().path();
        let is_program =
            path.extension().is_some_and(|ending| ending == "rs") || path.join("main.rs").is_file();
        if is_program {
            programs.insert(path.file_stem().unwrap().to_string_lossy().into_owned());
        }
    }
    assert!(programs.contains("builds"), "{programs:?}");
    let forgotten: Vec<_> = programs
        .iter()
        .filter(|name| !named.contains(name.as_str()))
        .collect();
    assert!(forgotten.is_empty(), "tests/run never runs {forgotten:?}");
}

/// The last line and the exit code of `tests/run raspios` where cargo is this script.
fn closing_line(cargo: &str) -> (String, Option<i32>) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [("cargo", cargo), ("dpkg-query", "echo installed")] {
        let path = dir.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!(
        "{}:{}",
        dir.path().display(),
        std::env::var("PATH").unwrap()
    );
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run"))
        .arg("raspios")
        .env("PATH", path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().last().unwrap_or_default().to_owned();
    (last, output.status.code())
}

#[test]
fn the_closing_line_counts_each_test_once() {
    let result =
        "echo 'test result: ok. 5 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out'";
    assert_eq!(
        closing_line(&format!("{result}\n{result}")),
        ("10 passed, 0 failed, 4 skipped".to_owned(), Some(0))
    );
    // One test that left out two things, and one that left out one.
    let left_out = "printf 'a::b: no x\\na::b: no y\\na::c: no z\\n' >>\"$WESTWORK_TEST_SKIPPED\"";
    assert_eq!(
        closing_line(&format!("{left_out}\n{result}")),
        ("3 passed, 0 failed, 4 skipped".to_owned(), Some(0))
    );
    // Failures, and a test program that cannot be compiled.
    let failed = "echo 'test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured'; exit 101";
    assert_eq!(
        closing_line(failed),
        ("4 passed, 2 failed, 0 skipped".to_owned(), Some(1))
    );
    assert_eq!(
        closing_line("echo 'error: could not compile'; exit 101"),
        ("0 passed, 1 failed, 0 skipped".to_owned(), Some(1))
    );
    // A test of this name prints its own closing line, indented.
    assert_eq!(
        closing_line(&format!("echo '  test result: ok. 9 passed'\n{result}")),
        ("5 passed, 0 failed, 2 skipped".to_owned(), Some(0))
    );
}

#[test]
fn tests_may_miss_nothing_in_the_test_script() {
    let strict = "[ \"$WESTWORK_TEST_STRICT\" = 1 ] && echo 'test result: ok. 1 passed; 0 failed; 0 ignored'";
    assert_eq!(closing_line(strict).0, "1 passed, 0 failed, 0 skipped");
}

/// build.rs reads it where there is no git.
#[test]
fn an_archive_of_the_sources_says_its_commit() {
    let git = |words: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(env!("CARGO_MANIFEST_DIR")).args(words);
        let output = git.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    let archive = git(&["archive", "HEAD", "source-commit"]);
    let commit = git(&["rev-parse", "HEAD"]);
    let commit = commit.trim_ascii();
    let holds = archive.windows(commit.len()).filter(|part| *part == commit);
    // The archive's own comment has it as well.
    assert_eq!(holds.count(), 2);
}

#[test]
fn the_version_has_a_section_of_what_is_new() {
    let section = format!("\n## {}\n", env!("CARGO_PKG_VERSION"));
    assert!(read("CHANGELOG.md").contains(&section), "no{section}");
}
