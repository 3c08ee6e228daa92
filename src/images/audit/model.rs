//! What an audit finds: the types that are printed as JSON.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The whole audit of one subject; `--json` prints this. The same subject and data give the same bytes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Audit {
    /// Of this form: 1.
    pub(crate) version: u32,
    pub(crate) subject: Subject,
    /// What it was held against.
    pub(crate) data: Vec<Data>,
    /// How many source packages, wheels and crates were looked up, by ecosystem.
    pub(crate) looked_up: BTreeMap<Ecosystem, usize>,
    /// Those that --fail names first, then by severity, name and identifier.
    pub(crate) findings: Vec<Finding>,
    /// What could not be judged, and what is wrong with statements.
    pub(crate) notes: Vec<String>,
}

/// What was audited.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Subject {
    /// The file's name without directories.
    pub(crate) name: String,
    pub(crate) kind: SubjectKind,
    /// SHA-256 in hex of the raw image as its bill of materials has it, or of the lock file.
    pub(crate) sha256: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SubjectKind {
    Image,
    Sbom,
    Lock,
}

/// Data about vulnerabilities.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Data {
    pub(crate) kind: DataKind,
    /// The address, or the file's name without directories.
    pub(crate) from: String,
    /// As RFC 3339: when the file was changed last, which is what its server said; for OSV, the
    /// newest entry.
    pub(crate) date: String,
    /// In hex; `None` for a folder.
    pub(crate) sha256: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum DataKind {
    #[serde(rename = "debian-security-tracker")]
    Debian,
    #[serde(rename = "osv")]
    Osv,
}

/// Where a part comes from.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub(crate) enum Ecosystem {
    #[serde(rename = "debian")]
    Debian,
    #[serde(rename = "pypi")]
    PyPi,
    #[serde(rename = "crates.io")]
    Crates,
}

/// A vulnerability of one source package, wheel or crate.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Finding {
    pub(crate) id: String,
    pub(crate) aliases: BTreeSet<String>,
    pub(crate) ecosystem: Ecosystem,
    /// Of the source package, wheel or crate.
    pub(crate) name: String,
    pub(crate) version: String,
    /// The version of Debian that a fork of it was held for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compared_as: Option<String>,
    /// The release whose state counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) suite: Option<String>,
    /// The binary packages of the source that are there. Which of them has the fault is in no data.
    pub(crate) packages: BTreeSet<String>,
    /// Package URLs of what is there.
    pub(crate) purls: BTreeSet<String>,
    /// `None`: nobody has said.
    pub(crate) severity: Option<Severity>,
    pub(crate) status: Status,
    /// The first version without it; `None` if there is none yet.
    pub(crate) fixed_version: Option<String>,
    pub(crate) fixed_in: Option<FixedIn>,
    /// Why Debian gives out no security advisory; it may come with a point release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) no_dsa: Option<String>,
    /// Debian supports the package no longer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) end_of_life: bool,
    /// `remote` or `local`: from where it can be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<String>,
    pub(crate) description: String,
    /// What vex.toml says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) statement: Option<Stated>,
    /// Whether --fail names it.
    pub(crate) fails: bool,
}

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Debian: no security problem in practice.
    Unimportant,
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    pub(crate) const ALL: [Self; 5] = [
        Self::Unimportant,
        Self::Low,
        Self::Medium,
        Self::High,
        Self::Critical,
    ];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Unimportant => "unimportant",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The level that `word` names.
    pub(crate) fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.word() == word)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Affected,
    /// Nobody has found out yet.
    Undetermined,
}

/// Where the fix is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FixedIn {
    /// The security archive.
    Security,
    /// The release itself, since its last point release.
    Release,
    /// Proposed for the next point release.
    ProposedUpdates,
    /// A later version of the wheel or crate.
    Version,
}

/// A statement as it applies to a finding.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Stated {
    pub(crate) status: StatedStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) justification: Option<Justification>,
    pub(crate) reason: String,
    pub(crate) author: String,
    /// The last day on which it counts, as YYYY-MM-DD.
    pub(crate) expires: String,
    /// That day is over: it counts no longer.
    pub(crate) expired: bool,
}

/// What can be said of a vulnerability: OpenVEX's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StatedStatus {
    /// It cannot be used here.
    NotAffected,
    /// It can, and is accepted until the statement expires.
    Affected,
    /// It was mended here, such as by a patch.
    Fixed,
    /// Somebody is looking; it goes on counting.
    UnderInvestigation,
}

/// Why something is not affected: OpenVEX's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Justification {
    ComponentNotPresent,
    VulnerableCodeNotPresent,
    VulnerableCodeNotInExecutePath,
    VulnerableCodeCannotBeControlledByAdversary,
    InlineMitigationsAlreadyExist,
}

/// A source package, wheel or crate of the subject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) version: String,
    pub(super) suite: Option<String>,
    pub(super) packages: BTreeSet<String>,
    pub(super) purls: BTreeSet<String>,
}

/// All parts by ecosystem and name. A name can have several versions.
pub(super) type Parts = BTreeMap<(Ecosystem, String), Vec<Part>>;

/// Adds what one `package` of a source (or a wheel or crate) is.
pub(super) fn add(
    parts: &mut Parts,
    (ecosystem, name, version): (Ecosystem, &str, &str),
    suite: Option<&str>,
    package: &str,
    purl: String,
) {
    let all = parts.entry((ecosystem, name.to_owned())).or_default();
    let suite = suite.map(str::to_owned);
    let known = all
        .iter()
        .position(|part| part.version == version && part.suite == suite);
    let place = known.unwrap_or_else(|| {
        all.push(Part {
            version: version.to_owned(),
            suite,
            ..Part::default()
        });
        all.len() - 1
    });
    all[place].packages.insert(package.to_owned());
    all[place].purls.insert(purl);
}
