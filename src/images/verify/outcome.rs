//! What was compared, and how it ended.

use crate::images::inspect::table;
use schemars::JsonSchema;
use serde::Serialize;

/// All that was compared; `--json` prints this.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Verified {
    /// The deploy directory.
    pub(crate) directory: String,
    pub(crate) checks: Vec<Check>,
}

/// One file, compared with what another one says of it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Check {
    /// Name of the file.
    pub(crate) file: String,
    /// What was compared, such as `its checksum in SHA256SUMS`.
    pub(crate) what: String,
    pub(crate) verdict: Verdict,
    /// Why it is not right; what to do about what was not compared.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Right,
    Wrong,
    /// The file is not there, although another one names it.
    Missing,
    /// There is nothing to compare it with.
    Unchecked,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Wrong => "WRONG",
            Self::Missing => "MISSING",
            Self::Unchecked => "unchecked",
        }
    }
}

impl Verified {
    /// Adds a comparison; `Err` says why it is not right.
    pub(super) fn add(&mut self, file: &str, what: impl Into<String>, result: Result<(), String>) {
        let (verdict, why) = match result {
            Ok(()) => (Verdict::Right, String::new()),
            Err(why) => (Verdict::Wrong, why),
        };
        self.push(file, what, verdict, &why);
    }

    /// Adds what was not compared, and why.
    pub(super) fn push(
        &mut self,
        file: &str,
        what: impl Into<String>,
        verdict: Verdict,
        why: &str,
    ) {
        self.checks.push(Check {
            file: file.to_owned(),
            what: what.into(),
            verdict,
            why: why.to_owned(),
        });
    }

    /// Whether nothing is wrong or missing.
    pub(super) fn is_right(&self) -> bool {
        let bad = |it: &Check| matches!(it.verdict, Verdict::Wrong | Verdict::Missing);
        !self.checks.iter().any(bad)
    }

    /// As text, ending with a newline.
    pub(super) fn show(&self) -> String {
        let row = |it: &Check| {
            [
                it.verdict.word().to_owned(),
                it.file.clone(),
                it.what.clone(),
                it.why.clone(),
            ]
        };
        let mut text = table(
            &["", "file", "what", "why"],
            self.checks.iter().map(row).collect(),
        );
        let count = |verdict| {
            self.checks
                .iter()
                .filter(|it| it.verdict == verdict)
                .count()
        };
        text += &format!(
            "\n{} right, {} wrong, {} missing, {} unchecked\n",
            count(Verdict::Right),
            count(Verdict::Wrong),
            count(Verdict::Missing),
            count(Verdict::Unchecked)
        );
        text
    }
}
