//! What the documentation points to is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every page for people.
fn pages() -> Vec<PathBuf> {
    let top = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| root().join(name));
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    let is_page = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "md");
    top.into_iter().chain(docs.filter(is_page)).collect()
}

/// Targets of `[text](target)`.
fn links(page: &str) -> Vec<&str> {
    let parts = page.split("](").skip(1);
    parts.filter_map(|rest| rest.split(')').next()).collect()
}

/// Headings as a link names them: small letters, spaces as hyphens, nothing else.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let text = line.trim_start_matches('#').trim().to_lowercase();
            let kept = text
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.collect::<String>().replace(' ', "-")
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for page in pages() {
        let text = read(&page);
        for link in links(&text)
            .into_iter()
            .filter(|link| !link.contains("://"))
        {
            count += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let to = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            let there = to.exists() && (anchor.is_empty() || anchors(&read(&to)).contains(anchor));
            if !there {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(count > 20, "{count} links were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_that_a_page_names_is_there() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for page in pages() {
        let text = read(&page);
        // Not within blocks of examples, whose paths are the reader's.
        let lines = text.lines().filter(|line| !line.starts_with("    "));
        for word in lines.flat_map(|line| line.split('`').skip(1).step_by(2)) {
            // A file of pi-gen's.
            if word == "scripts/common" {
                continue;
            }
            let ours = ["src/", "tests/", "scripts/", "examples/", "westwork/"]
                .iter()
                .any(|dir| word.starts_with(dir));
            // `tests/run unit` is a command.
            let path = word.split_whitespace().next().unwrap_or_default();
            if ours {
                count += 1;
                if !root().join(path).exists() {
                    wrong.push(format!("{}: {word}", page.display()));
                }
            }
        }
    }
    assert!(count > 30, "{count} names were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_readme_is_a_page() {
    let lines = read(&root().join("README.md")).lines().count();
    assert!(
        lines <= 120,
        "README.md has {lines} lines; the rest belongs into docs/"
    );
}
