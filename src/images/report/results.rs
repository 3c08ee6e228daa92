//! The results of tests, as the page shows them.

use super::shown::Shown;
use maud::{Markup, html};

/// Results of tests of one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TestResults {
    /// In the order in which they ran.
    pub results: Vec<TestResult>,
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestResult {
    /// Its group, such as a file of tests; may be empty.
    pub group: String,
    /// What was tested.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// Why it did not pass; may be empty.
    pub message: String,
}

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should.
    Passed,
    /// What was promised is not so.
    Failed,
    /// It could not say.
    Error,
    /// It was left out.
    Skipped,
}

impl Verdict {
    /// For people, and as a class of the style sheet.
    fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Error => "error",
            Self::Skipped => "skipped",
        }
    }
}

/// The section about tests.
pub(super) fn section(tests: &TestResults) -> Markup {
    let of = |verdict: Verdict| {
        tests
            .results
            .iter()
            .filter(|r| r.verdict == verdict)
            .count()
    };
    let counted = [
        Verdict::Passed,
        Verdict::Failed,
        Verdict::Error,
        Verdict::Skipped,
    ];
    let counts: Vec<String> = counted
        .into_iter()
        .filter(|verdict| of(*verdict) > 0)
        .map(|verdict| format!("{} {}", of(verdict), verdict.name()))
        .collect();
    html! {
        section id="tests" aria-labelledby="tests-title" {
            h2 id="tests-title" { "Tests" }
            p { (tests.results.len()) " tests: " (counts.join(", ")) "." }
            div.scroll tabindex="0" role="region" aria-label="Test results" {
                table.sortable {
                    caption { "Each test and how it ended" }
                    thead { tr { th scope="col" { "Verdict" } th scope="col" { "Test" } th scope="col" { "Group" } th scope="col" { "Why" } } }
                    tbody {
                        @for result in &tests.results {
                            tr {
                                td { span class={"verdict " (result.verdict.name())} { (result.verdict.name()) } }
                                th scope="row" { (Shown(&result.name)) }
                                td { (Shown(&result.group)) }
                                td { (Shown(&result.message)) }
                            }
                        }
                    }
                }
            }
        }
    }
}
