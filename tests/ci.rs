//! What runs the tests leaves none of them out.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

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
