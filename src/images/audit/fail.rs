//! `--fail`: which findings end the program with 1.

use super::model::{Finding, Severity, StatedStatus};
use crate::base::problem::{Problem, Problems};

/// Conditions of one option, all of which must be met.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Conditions {
    at_least: Option<Severity>,
    fixed: bool,
}

/// The conditions of all options.
///
/// # Errors
/// [`Problems`] for words that are none.
pub(super) fn read(options: &[String]) -> Result<Vec<Conditions>, Problems> {
    let mut problems = Vec::new();
    let mut all = Vec::new();
    for option in options {
        let mut conditions = Conditions::default();
        for word in option.split(',').map(str::trim) {
            match word.strip_prefix("severity>=").map(Severity::of) {
                Some(Some(level)) => conditions.at_least = Some(level),
                None if word == "fixed" => conditions.fixed = true,
                _ => problems.push(Problem::new(
                    format!("--fail has {word:?}, which is no condition"),
                    "write `severity>=LEVEL` (unimportant, low, medium, high, critical) or `fixed`",
                )),
            }
        }
        all.push(conditions);
    }
    Problems(problems).into_result()?;
    Ok(all)
}

/// Whether one of `all` names the finding, and no statement takes it out.
pub(super) fn names(all: &[Conditions], finding: &Finding) -> bool {
    let settled = finding
        .statement
        .as_ref()
        .is_some_and(|said| !said.expired && said.status != StatedStatus::UnderInvestigation);
    let meets = |it: &Conditions| {
        // Nobody has said how bad it is: that is no reason to pass it over.
        let severe = it
            .at_least
            .is_none_or(|least| finding.severity.is_none_or(|level| level >= least));
        severe && (!it.fixed || finding.fixed_version.is_some())
    };
    !settled && all.iter().any(meets)
}
