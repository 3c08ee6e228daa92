//! What the documentation points to is there, its commands exist, and each of them is run by a test or
//! says why it is not.

use clap::CommandFactory;
use westwork_gen::cli::Cli;

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
    // The site's table of contents names pages that are made with the site.
    let is_page = |path: &PathBuf| {
        path.extension().is_some_and(|ending| ending == "md") && !path.ends_with("SUMMARY.md")
    };
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

#[test]
fn the_site_has_every_page() {
    let summary = read(&root().join("docs/SUMMARY.md"));
    let named: BTreeSet<&str> = links(&summary).into_iter().collect();
    let script = read(&root().join("scripts/site"));
    let reference = read(&root().join("examples/reference.rs"));
    for page in &named {
        let there = match page.strip_prefix("reference/") {
            Some(made) => reference.contains(made),
            None => root().join("docs").join(page).exists() || script.contains(page),
        };
        assert!(there, "docs/SUMMARY.md names {page}");
    }
    let docs = pages();
    let docs = docs
        .iter()
        .filter(|page| page.starts_with(root().join("docs")));
    for page in docs {
        let name = page.file_name().unwrap().to_str().unwrap();
        assert!(named.contains(name), "docs/SUMMARY.md leaves out {name}");
    }
}

#[test]
fn pictures_can_be_read_by_everyone_in_light_and_dark() {
    let mut count = 0;
    for entry in fs::read_dir(root().join("docs/pictures")).unwrap() {
        let path = entry.unwrap().path();
        let text = read(&path);
        count += 1;
        roxmltree::Document::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for part in [
            "<title",
            "<desc",
            "prefers-color-scheme:dark",
            "class=\"page\"",
        ] {
            assert!(text.contains(part), "{} has no {part}", path.display());
        }
    }
    assert!(count >= 4, "{count} pictures were found");
}

/// Messages that docs/trouble.md quotes are in the program, so that they are found there. The parts
/// between dots count.
#[test]
fn the_messages_that_are_explained_are_the_programs() {
    let files = walkdir::WalkDir::new(root().join("src")).into_iter();
    let program: String = files
        .map(Result::unwrap)
        .filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|ending| ending == "rs")
        })
        .map(|entry| read(entry.path()))
        .collect();
    let page = read(&root().join("docs/trouble.md"));
    let mut count = 0;
    for heading in page.lines().filter(|line| line.starts_with("### ")) {
        for message in heading.split('"').skip(1).step_by(2) {
            for part in message
                .split('…')
                .map(str::trim)
                .filter(|part| part.len() > 3)
            {
                count += 1;
                assert!(program.contains(part), "no message has {part:?}");
            }
        }
    }
    assert!(count > 10, "{count} messages were found");
}

/// A block of code in a page: what is on the line before it, its language, its lines. Blocks are
/// fenced, or indented by four spaces.
struct Block<'a> {
    before: &'a str,
    language: &'a str,
    lines: Vec<&'a str>,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let mut before = "";
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let inner = lines.by_ref().take_while(|line| *line != "```").collect();
            found.push(Block {
                before,
                language,
                lines: inner,
            });
            before = "";
        } else if line.starts_with("    ") && before.is_empty_or_comment() {
            let mut inner = vec![line.trim_start()];
            while let Some(next) = lines.next_if(|line| line.starts_with("    ")) {
                inner.push(next.trim_start());
            }
            found.push(Block {
                before,
                language: "",
                lines: inner,
            });
            before = "";
        } else if !line.is_empty() || !before.starts_with("<!--") {
            before = line;
        }
    }
    found
}

/// Whether a line can stand before an indented block: an indented line within a list or a
/// paragraph is none.
trait Before {
    fn is_empty_or_comment(&self) -> bool;
}

impl Before for &str {
    fn is_empty_or_comment(&self) -> bool {
        self.is_empty() || self.starts_with("<!--")
    }
}

/// Each command of this program that a page shows, without `$ ` and what a shell adds.
fn shown(block: &Block<'_>) -> Vec<String> {
    // A line may be continued on the next.
    let text = block.lines.join("\n").replace("\\\n", " ");
    let lines = text
        .lines()
        .map(|line| line.strip_prefix("$ ").unwrap_or(line));
    lines
        .filter(|line| line.starts_with("westwork-gen "))
        .map(|line| {
            let line = line.split(" #").next().unwrap_or_default();
            let ends = [" > ", " | ", " && ", " >", "; "];
            ends.iter()
                .fold(line, |line, end| line.split(end).next().unwrap_or_default())
                .to_owned()
        })
        .collect()
}

#[test]
fn every_command_that_a_page_shows_is_one() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for page in pages() {
        let text = read(&page);
        for command in blocks(&text).iter().flat_map(shown) {
            count += 1;
            let words = shlex::split(&command).unwrap_or_else(|| panic!("{command}"));
            if let Err(error) = Cli::command().try_get_matches_from(words)
                && error.use_stderr()
            {
                wrong.push(format!("{}: {command}: {error}", page.display()));
            }
        }
    }
    assert!(count > 20, "{count} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Blocks of shell are for a test to run (tests/tutorial), or say why they are not.
#[test]
fn every_block_of_shell_is_run_or_says_why_not() {
    let run = ["docs/tutorial.md"].map(|page| root().join(page));
    let script = read(&root().join("tests/tutorial"));
    assert!(script.contains("docs/tutorial.md"));
    let mut wrong = Vec::new();
    for page in pages() {
        let text = read(&page);
        for block in blocks(&text) {
            let reason = block.before.strip_prefix("<!-- not run: ");
            let reason = reason.is_some_and(|reason| reason.len() > 10);
            if block.language == "sh" && !reason && !run.contains(&page) {
                wrong.push(format!("{}: {}", page.display(), block.lines.join("; ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Addresses and names within a page of HTML.
fn attributes(page: &str, name: &str) -> BTreeSet<String> {
    let begin = format!(" {name}=\"");
    let parts = page.split(&begin).skip(1);
    parts
        .filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
        .collect()
}

/// `WESTWORK_TEST_SITE` is what `scripts/site` has made.
#[test]
#[ignore = "tests/run site makes the site"]
fn every_link_in_the_site_leads_somewhere() {
    let site = PathBuf::from(std::env::var_os("WESTWORK_TEST_SITE").expect("a site"));
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in walkdir::WalkDir::new(&site) {
        let entry = entry.unwrap();
        let page = entry.path();
        // 404.html is for any folder: its links are of the address where the site will be.
        let is_page = page.extension().is_some_and(|ending| ending == "html");
        if !is_page || page.ends_with("404.html") {
            continue;
        }
        let text = read(page);
        let links = ["href", "src"].map(|name| attributes(&text, name));
        for link in links.iter().flatten().filter(|link| !link.contains(':')) {
            count += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let to = match file {
                "" => page.to_owned(),
                file => page.parent().unwrap().join(file),
            };
            let names = |to: &Path| attributes(&read(to), "id").contains(anchor);
            if !to.exists() || !(anchor.is_empty() || names(&to)) {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(count > 500, "{count} links were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
