//! Results for continuous integration: JUnit's XML, as its readers agree on it.

use super::Tested;
use super::outcome::{Outcome, Verdict};
use crate::base::work;
use anyhow::{Context, Result};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::path::Path;
use std::time::Duration;

/// Writes `all` to `file`: a test suite an image.
pub(super) fn write(all: &[Tested], file: &Path) -> Result<()> {
    let mut report = Report::new("westwork-gen test");
    let mut time = Duration::ZERO;
    for tested in all {
        let mut suite = TestSuite::new(tested.image.clone());
        let cases: Vec<TestCase> = tested.outcomes.iter().map(case).collect();
        let of_suite = cases.iter().filter_map(|case| case.time).sum();
        time += of_suite;
        suite.set_time(of_suite);
        suite.add_test_cases(cases);
        report.add_test_suite(suite);
    }
    report.set_time(time);
    let text = report.to_string().context("writing JUnit's format")?;
    work::write_result(file, text)
}

fn case(outcome: &Outcome) -> TestCase {
    let mut status = match &outcome.verdict {
        Verdict::Passed => TestCaseStatus::success(),
        Verdict::Failed(_) => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Verdict::Unclear(_) => TestCaseStatus::non_success(NonSuccessKind::Error),
        Verdict::LeftOut(_) => TestCaseStatus::skipped(),
    };
    if let Verdict::Failed(why) | Verdict::Unclear(why) | Verdict::LeftOut(why) = &outcome.verdict {
        let place = if outcome.place.is_empty() {
            why.clone()
        } else {
            format!("{}: {why}", outcome.place)
        };
        status.set_message(place);
    }
    let name = match &outcome.moment {
        Some(moment) => format!("{} ({moment})", outcome.test),
        None => outcome.test.clone(),
    };
    let mut case = TestCase::new(name, status);
    case.set_classname(outcome.kind);
    case.set_time(Duration::from_secs_f64(outcome.seconds));
    case
}
