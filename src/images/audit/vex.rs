//! `vex.toml`: what somebody has found out about single vulnerabilities. docs/audit.md has it for users.

use super::model::{Finding, Justification, Stated, StatedStatus};
use crate::base::problem::{Problem, Problems};
use jiff::civil::Date;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// One file of statements.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vex {
    #[serde(default)]
    #[schemars(with = "Vec<Statement>")]
    statement: Vec<Spanned<Statement>>,
}

/// What is so about some vulnerabilities.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Statement {
    /// Identifiers, such as CVE-2026-1234; an alias will do.
    vulnerability: OneOrMore,
    /// The source package, wheel or crate; without it, all that have the vulnerability.
    package: Option<String>,
    status: StatedStatus,
    /// Why something is not affected, in a word that other programs read.
    justification: Option<Justification>,
    /// Why, for people.
    reason: String,
    /// Who says so.
    author: String,
    /// The last day on which it counts.
    #[schemars(with = "String", regex(pattern = r"^\d{4}-\d{2}-\d{2}$"))]
    expires: toml::value::Datetime,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// A statement that was judged.
struct Judged {
    statement: Statement,
    expires: Date,
    /// `vex.toml:12`.
    place: String,
}

/// All statements of some files.
#[derive(Default)]
pub(super) struct Statements(Vec<Judged>);

impl Statements {
    /// Reads the files at `paths`.
    ///
    /// # Errors
    /// [`Problems`]: each with file and line.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self, Problems> {
        let (mut all, mut problems) = (Vec::new(), Vec::new());
        for path in paths {
            match std::fs::read_to_string(path) {
                Ok(text) => parse(path, &text, &mut all, &mut problems),
                Err(error) => {
                    let what = format!("cannot be read: {error}");
                    problems.push(Problem::new(what, "correct the name").at(path));
                }
            }
        }
        Problems(problems).into_result()?;
        Ok(Self(all))
    }

    /// Gives each finding the first statement about it; one that counts on the day `on` goes before
    /// one that has expired. Returns notes about statements that are over or about nothing.
    pub(super) fn apply(&self, findings: &mut [Finding], on: Date) -> Vec<String> {
        let mut used = vec![false; self.0.len()];
        for finding in findings {
            let about = self
                .0
                .iter()
                .enumerate()
                .filter(|(_, it)| it.statement.is_about(finding));
            let mut about: Vec<(usize, &Judged)> = about.collect();
            about.iter().for_each(|(place, _)| used[*place] = true);
            about.sort_by_key(|(place, it)| (it.expires < on, *place));
            finding.statement = about.first().map(|(_, it)| it.stated(on));
        }
        let note = |(judged, used): (&Judged, &bool)| {
            let place = &judged.place;
            if !used {
                return Some(format!(
                    "{place}: the statement is about nothing that was found; remove it"
                ));
            }
            (judged.expires < on).then(|| {
                format!(
                    "{place}: the statement counts no longer since {}; look again",
                    judged.expires
                )
            })
        };
        self.0.iter().zip(&used).filter_map(note).collect()
    }
}

impl Judged {
    fn stated(&self, on: Date) -> Stated {
        let said = &self.statement;
        Stated {
            status: said.status,
            justification: said.justification,
            reason: said.reason.trim().to_owned(),
            author: said.author.trim().to_owned(),
            expires: self.expires.to_string(),
            expired: self.expires < on,
        }
    }
}

impl Statement {
    fn ids(&self) -> &[String] {
        match &self.vulnerability {
            OneOrMore::One(id) => std::slice::from_ref(id),
            OneOrMore::More(ids) => ids,
        }
    }

    fn is_about(&self, finding: &Finding) -> bool {
        let id = |id: &String| *id == finding.id || finding.aliases.contains(id);
        self.ids().iter().any(id)
            && self
                .package
                .as_ref()
                .is_none_or(|name| *name == finding.name)
    }

    /// What is wrong with it, and what to do.
    fn fault(&self) -> Option<(&'static str, &'static str)> {
        if self.ids().iter().all(|id| id.trim().is_empty()) {
            return Some(("the statement names no vulnerability", "add its identifier"));
        }
        if self.reason.trim().is_empty() {
            return Some(("the statement gives no reason", "say why it is so"));
        }
        if self.author.trim().is_empty() {
            return Some(("the statement names no author", "say who found it out"));
        }
        match (self.status, self.justification) {
            (StatedStatus::NotAffected, _) | (_, None) => None,
            _ => Some((
                "a justification is for what is not affected",
                "remove it, or write status = \"not_affected\"",
            )),
        }
    }
}

fn parse(path: &Path, text: &str, all: &mut Vec<Judged>, problems: &mut Vec<Problem>) {
    let line = |at: usize| {
        text.as_bytes()[..at.min(text.len())]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
            + 1
    };
    let vex: Vex = match toml::from_str(text) {
        Ok(vex) => vex,
        Err(error) => {
            let what = error.message().lines().collect::<Vec<_>>().join(" ");
            let problem = Problem::new(what, "docs/audit.md says what can be written").at(path);
            problems.push(match error.span() {
                Some(span) => problem.line(line(span.start)),
                None => problem,
            });
            return;
        }
    };
    for statement in vex.statement {
        let number = line(statement.span().start);
        let statement = statement.into_inner();
        let mut wrong = |what: &str, remedy: &str| {
            problems.push(Problem::new(what, remedy).at(path).line(number));
        };
        let expires = statement.expires.to_string().parse::<Date>();
        match (statement.fault(), expires) {
            (Some((what, remedy)), _) => wrong(what, remedy),
            (None, Err(_)) => wrong("the expiry is no day", "write expires = 2027-01-31"),
            (None, Ok(expires)) => all.push(Judged {
                place: format!("{}:{number}", path.display()),
                statement,
                expires,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        let mut problems = Vec::new();
        parse(Path::new("vex.toml"), text, &mut Vec::new(), &mut problems);
        Problems(problems).to_string()
    }

    #[test]
    fn a_statement_has_reason_author_and_expiry() {
        let whole = "\n[[statement]]\nvulnerability = \"CVE-1\"\nstatus = \"not_affected\"\nreason = \"r\"\nauthor = \"a\"\nexpires = 2027-01-31\n";
        assert_eq!(problems(whole), "");
        for (from, to, said) in [
            ("reason = \"r\"\n", "", "vex.toml:2: missing field `reason`"),
            ("author = \"a\"\n", "", "vex.toml:2: missing field `author`"),
            (
                "expires = 2027-01-31\n",
                "",
                "vex.toml:2: missing field `expires`",
            ),
            (
                "\"r\"",
                "\" \"",
                "vex.toml:2: the statement gives no reason",
            ),
            ("2027-01-31", "12:00:00", "vex.toml:2: the expiry is no day"),
            ("not_affected", "safe", "vex.toml:4: unknown variant `safe`"),
            (
                "\"not_affected\"",
                "\"fixed\"\njustification = \"component_not_present\"",
                "vex.toml:2: a justification is for",
            ),
        ] {
            let said_is = problems(&whole.replace(from, to));
            assert!(said_is.starts_with(said), "{said}: {said_is}");
        }
    }
}
