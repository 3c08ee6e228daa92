//! Results of tests from JUnit's XML: the form that every CI system reads, as
//! https://github.com/testmoapp/junitxml describes it.

use super::results::{TestResult, TestResults, Verdict};
use crate::base::problem::{Problem, Problems};
use anyhow::{Context, Result};
use roxmltree::{Document, Node};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes of such a file, and letters of a message.
const LARGEST: u64 = 64 << 20;
const LONGEST: usize = 500;

/// Reads the results in the file at `path`.
///
/// # Errors
/// [`Problems`] if it holds no results.
pub(super) fn read(path: &Path) -> Result<TestResults> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST).read_to_string(&mut text))
        .with_context(|| format!("reading {}", path.display()))?;
    parse(&text).ok_or_else(|| {
        let what = "this is no JUnit XML with results of tests";
        let remedy = "name a file whose root is <testsuites> or <testsuite>";
        Problems(vec![Problem::new(what, remedy).at(path)]).into()
    })
}

fn parse(text: &str) -> Option<TestResults> {
    let document = Document::parse(text).ok()?;
    let root = document.root_element();
    if !["testsuites", "testsuite"].contains(&root.tag_name().name()) {
        return None;
    }
    let cases = root
        .descendants()
        .filter(|node| node.has_tag_name("testcase"));
    Some(TestResults {
        results: cases.map(|case| result(&case)).collect(),
    })
}

fn result(case: &Node<'_, '_>) -> TestResult {
    let verdicts = [
        ("failure", Verdict::Failed),
        ("error", Verdict::Error),
        ("skipped", Verdict::Skipped),
    ];
    let said = verdicts.into_iter().find_map(|(tag, verdict)| {
        let node = case.children().find(|node| node.has_tag_name(tag))?;
        let message = node.attribute("message").or_else(|| node.text());
        Some((verdict, message.unwrap_or_default().trim()))
    });
    let (verdict, message) = said.unwrap_or((Verdict::Passed, ""));
    let attribute = |name| case.attribute(name).unwrap_or_default().to_owned();
    TestResult {
        group: attribute("classname"),
        name: attribute("name"),
        verdict,
        message: message.chars().take(LONGEST).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_is_read() {
        let text = r#"<?xml version="1.0"?><testsuites><testsuite name="s">
            <testcase classname="c" name="one"/>
            <testcase name="two"><failure message="&lt;b&gt;"/></testcase>
            <testcase name="three"><skipped/></testcase>
            <testcase name="four"><error>why</error></testcase></testsuite></testsuites>"#;
        let found = parse(text).unwrap().results;
        let found: Vec<_> = found
            .iter()
            .map(|r| (&*r.name, r.verdict, &*r.message))
            .collect();
        let expected = [
            ("one", Verdict::Passed, ""),
            ("two", Verdict::Failed, "<b>"),
            ("three", Verdict::Skipped, ""),
            ("four", Verdict::Error, "why"),
        ];
        assert_eq!(found, expected);
        assert!(parse("<html/>").is_none() && parse("x").is_none());
    }
}
