//! What came of one test.

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

/// One test's result.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Outcome {
    /// What was expected.
    pub(crate) test: String,
    /// `file`, `package`, `unit`, …: the kind of test.
    pub(crate) kind: &'static str,
    /// Where it is written, as `tests.toml:12`.
    pub(crate) place: String,
    /// When a running system was looked at: `start 1`, `restart 1`, `power cut`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) moment: Option<String>,
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
    /// How long it took.
    pub(crate) seconds: f64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "verdict", content = "why", rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Passed,
    /// What was found instead.
    Failed(String),
    /// Why it cannot be said.
    Unclear(String),
    /// Why it was not tried.
    LeftOut(String),
}

impl Verdict {
    /// By the faults that were found; an error says that nothing can be said.
    pub(super) fn of(faults: Result<Vec<String>>) -> Self {
        match faults {
            Ok(faults) if faults.is_empty() => Self::Passed,
            Ok(faults) => Self::Failed(faults.join("; ")),
            Err(error) => Self::Unclear(format!("{error:#}")),
        }
    }
}

impl Outcome {
    /// The outcome of `look`, which is carried out now.
    pub(super) fn now(
        kind: &'static str,
        test: String,
        place: String,
        look: impl FnOnce() -> Result<Vec<String>>,
    ) -> Self {
        let begun = std::time::Instant::now();
        let verdict = Verdict::of(look());
        Self {
            test,
            kind,
            place,
            moment: None,
            verdict,
            seconds: rounded(begun.elapsed()),
        }
    }
}

/// Seconds to the millisecond.
pub(super) fn rounded(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

/// The exit code: 1 if a test failed, else 2 if something cannot be said, else 0.
pub(super) fn code<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> u8 {
    let worst = |outcome: &Outcome| match outcome.verdict {
        Verdict::Failed(_) => 2,
        Verdict::Unclear(_) => 1,
        Verdict::Passed | Verdict::LeftOut(_) => 0,
    };
    match outcomes.map(worst).max() {
        Some(2) => 1,
        Some(1) => 2,
        _ => 0,
    }
}
