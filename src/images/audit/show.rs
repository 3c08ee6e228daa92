//! The audit as text.

use super::model::{Audit, Ecosystem, Finding, FixedIn, StatedStatus, Status};
use crate::images::inspect::table;
use crate::images::printable::printable;
use std::fmt::Write as _;

/// Letters of a fault's description.
const LONGEST: usize = 60;

/// The whole text, ending with a newline.
pub(super) fn show(audit: &Audit) -> String {
    let mut text = format!("{}\n", printable(&audit.subject.name));
    for data in &audit.data {
        let kind = match data.kind {
            super::model::DataKind::Debian => "Debian security tracker",
            super::model::DataKind::Osv => "OSV",
        };
        let _ = writeln!(
            text,
            "{kind}: {} of {}",
            printable(&data.from),
            printable(&data.date)
        );
    }
    let count = |ecosystem, what: &str| {
        let count = audit.looked_up.get(&ecosystem)?;
        Some(format!("{count} {what}"))
    };
    let looked_up: Vec<String> = [
        count(Ecosystem::Debian, "source packages"),
        count(Ecosystem::PyPi, "wheels"),
        count(Ecosystem::Crates, "crates"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let _ = writeln!(text, "looked up: {}\n", looked_up.join(", "));
    if audit.findings.is_empty() {
        text.push_str("no known vulnerability\n");
    } else {
        let head = [
            "severity",
            "identifier",
            "package",
            "version",
            "fixed in",
            "what",
        ];
        text.push_str(&table(&head, audit.findings.iter().map(row).collect()));
        text.push_str(&summary(audit));
    }
    for note in &audit.notes {
        let _ = writeln!(text, "\nnote: {}", printable(note));
    }
    text
}

fn row(finding: &Finding) -> [String; 6] {
    let severity = finding.severity.map_or("-", super::model::Severity::word);
    let short: String = finding.description.chars().take(LONGEST).collect();
    let what = match &finding.statement {
        Some(said) if !said.expired => format!("{}: {}", word(said.status), said.reason),
        _ => short,
    };
    [
        if finding.fails {
            format!("{severity} !")
        } else {
            severity.to_owned()
        },
        finding.id.clone(),
        finding.name.clone(),
        match &finding.compared_as {
            Some(base) => format!("{} (as {base})", finding.version),
            None => finding.version.clone(),
        },
        fix(finding),
        what,
    ]
}

/// Where there is a fix, in words.
pub(crate) fn fix(finding: &Finding) -> String {
    if finding.status == Status::Undetermined {
        return "not known".to_owned();
    }
    let Some(version) = &finding.fixed_version else {
        let minor = finding
            .no_dsa
            .as_ref()
            .map_or("none yet", |_| "none yet (no-dsa)");
        return if finding.end_of_life {
            "none: end of life"
        } else {
            minor
        }
        .to_owned();
    };
    let place = match finding.fixed_in {
        Some(FixedIn::Security) => " (security)",
        Some(FixedIn::Release) => " (point release)",
        Some(FixedIn::ProposedUpdates) => " (next point release)",
        Some(FixedIn::Version) | None => "",
    };
    format!("{version}{place}")
}

/// What a statement says, in words.
pub(crate) fn word(status: StatedStatus) -> &'static str {
    match status {
        StatedStatus::NotAffected => "not affected",
        StatedStatus::Affected => "accepted",
        StatedStatus::Fixed => "fixed here",
        StatedStatus::UnderInvestigation => "under investigation",
    }
}

fn summary(audit: &Audit) -> String {
    let all = &audit.findings;
    let settled = |it: &&Finding| it.statement.as_ref().is_some_and(|said| !said.expired);
    let mut text = format!(
        "\n{} found: {} with a fix, {} with a statement",
        all.len(),
        all.iter().filter(|it| it.fixed_version.is_some()).count(),
        all.iter().filter(settled).count()
    );
    let failing = all.iter().filter(|it| it.fails).count();
    if failing > 0 {
        let _ = write!(text, "; {failing} that --fail names (!)");
    }
    text.push('\n');
    text
}
