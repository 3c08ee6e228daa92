//! OSV's export for wheels and crates: one JSON file an entry, in a zip or a folder, as
//! https://ossf.github.io/osv-schema/ describes it. Its severities of CVEs count for Debian's, too,
//! which has none of most.

use super::model::{Ecosystem, Finding, FixedIn, Part, Parts, Severity, Status};
use super::versions;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Bytes of one entry, and entries of an export. PyPI's has some fifteen thousand.
const LONGEST: u64 = 16 << 20;
const MOST: usize = 2_000_000;

#[derive(Debug, Deserialize)]
struct Entry {
    id: String,
    #[serde(default)]
    modified: String,
    withdrawn: Option<String>,
    #[serde(default)]
    aliases: BTreeSet<String>,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    details: String,
    #[serde(default)]
    severity: Vec<Score>,
    #[serde(default)]
    affected: Vec<Affected>,
    database_specific: Option<Specific>,
}

#[derive(Debug, Deserialize)]
struct Score {
    score: String,
}

#[derive(Debug, Deserialize)]
struct Specific {
    severity: Option<serde_json::Value>,
    informational: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Affected {
    package: Option<Package>,
    #[serde(default)]
    ranges: Vec<Range>,
    #[serde(default)]
    versions: Vec<String>,
    #[serde(default)]
    severity: Vec<Score>,
    database_specific: Option<Specific>,
}

#[derive(Debug, Deserialize)]
struct Package {
    ecosystem: String,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Range {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    events: Vec<BTreeMap<String, String>>,
}

/// What an export says.
#[derive(Debug, Default)]
pub(super) struct Export {
    pub(super) findings: Vec<Finding>,
    /// By identifier and alias.
    pub(super) severities: BTreeMap<String, Severity>,
    /// When the newest entry was changed.
    pub(super) newest: String,
    pub(super) entries: usize,
}

impl Export {
    /// Reads the zip or folder at `path`, and looks for `parts`.
    ///
    /// # Errors
    /// When it cannot be read, or holds something else.
    pub(super) fn read(path: &Path, parts: &Parts) -> Result<Self> {
        let mut export = Self::default();
        if path.is_dir() {
            let entries = fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
            let mut files: Vec<_> = entries.iter().map(fs::DirEntry::path).collect();
            files.sort();
            for file in files
                .iter()
                .filter(|file| file.extension().is_some_and(|it| it == "json"))
            {
                let take = |bytes: &mut Vec<u8>| File::open(file)?.take(LONGEST).read_to_end(bytes);
                let mut bytes = Vec::new();
                take(&mut bytes)
                    .map_err(anyhow::Error::from)
                    .and_then(|_| export.add(&bytes, parts))
                    .with_context(|| format!("reading {}", file.display()))?;
            }
        } else {
            let file = File::open(path)?;
            let mut zip = zip::ZipArchive::new(std::io::BufReader::new(file))
                .context("it is neither a folder nor a zip")?;
            ensure!(zip.len() <= MOST, "it has more than {MOST} entries");
            let mut bytes = Vec::new();
            for index in 0..zip.len() {
                let member = zip.by_index(index)?;
                let name = member.name().to_owned();
                if !name.ends_with(".json") {
                    continue;
                }
                bytes.clear();
                member
                    .take(LONGEST)
                    .read_to_end(&mut bytes)
                    .map_err(anyhow::Error::from)
                    .and_then(|_| export.add(&bytes, parts))
                    .with_context(|| format!("reading {name} in it"))?;
            }
        }
        ensure!(export.entries > 0, "there is no entry in it");
        Ok(export)
    }

    fn add(&mut self, bytes: &[u8], parts: &Parts) -> Result<()> {
        let entry: Entry = serde_json::from_slice(bytes).context("it is no entry of OSV")?;
        self.entries += 1;
        if entry.modified > self.newest {
            self.newest.clone_from(&entry.modified);
        }
        if entry.withdrawn.is_some() {
            return Ok(());
        }
        let severity = entry.severity();
        if let Some(severity) = severity {
            for id in entry.aliases.iter().chain([&entry.id]) {
                let known = self.severities.entry(id.clone()).or_insert(severity);
                *known = severity.max(*known);
            }
        }
        for affected in &entry.affected {
            let Some((ecosystem, name)) = affected.package.as_ref().and_then(of_ours) else {
                continue;
            };
            // RustSec has notes about crates that are no vulnerabilities: unmaintained ones.
            let specific = affected.database_specific.as_ref();
            if specific.is_some_and(|it| it.informational.as_ref().is_some_and(|it| !it.is_null()))
            {
                continue;
            }
            for part in parts.get(&(ecosystem, name.clone())).into_iter().flatten() {
                if affected.has(ecosystem, &part.version) {
                    let finding = entry.finding(affected, (ecosystem, &name, part), severity);
                    self.findings.push(finding);
                }
            }
        }
        Ok(())
    }
}

/// The ecosystem and normal name of a package, if audits look for such ones.
fn of_ours(package: &Package) -> Option<(Ecosystem, String)> {
    match package.ecosystem.as_str() {
        "PyPI" => Some((Ecosystem::PyPi, normal(&package.name))),
        "crates.io" => Some((Ecosystem::Crates, package.name.clone())),
        _ => None,
    }
}

/// A Python project's name as PEP 503 compares it.
pub(super) fn normal(name: &str) -> String {
    let mut normal = String::new();
    for c in name.chars() {
        let c = if matches!(c, '_' | '.') {
            '-'
        } else {
            c.to_ascii_lowercase()
        };
        if c != '-' || !normal.ends_with('-') {
            normal.push(c);
        }
    }
    normal
}

fn order(ecosystem: Ecosystem, a: &str, b: &str) -> Option<Ordering> {
    match ecosystem {
        Ecosystem::Debian => versions::deb(a, b),
        Ecosystem::PyPi => versions::python(a, b),
        Ecosystem::Crates => versions::semantic(a, b),
    }
}

impl Entry {
    /// The worst that the entry says.
    fn severity(&self) -> Option<Severity> {
        let scores = self.affected.iter().flat_map(|it| &it.severity);
        let scores = self.severity.iter().chain(scores);
        let by_score = scores.filter_map(|it| level(&it.score));
        let word = self
            .database_specific
            .as_ref()
            .and_then(|it| it.severity.as_ref());
        let word = word.and_then(|it| it.as_str()).and_then(|word| {
            let word = word.to_lowercase();
            Severity::of(if word == "moderate" { "medium" } else { &word })
        });
        by_score.chain(word).max()
    }

    fn finding(
        &self,
        affected: &Affected,
        (ecosystem, name, part): (Ecosystem, &str, &Part),
        severity: Option<Severity>,
    ) -> Finding {
        let fixed = affected.fix(ecosystem, &part.version);
        let text = if self.summary.is_empty() {
            &self.details
        } else {
            &self.summary
        };
        Finding {
            id: self.id.clone(),
            aliases: self.aliases.clone(),
            ecosystem,
            name: name.to_owned(),
            version: part.version.clone(),
            compared_as: None,
            suite: None,
            packages: part.packages.clone(),
            purls: part.purls.clone(),
            severity,
            status: Status::Affected,
            fixed_in: fixed.as_ref().map(|_| FixedIn::Version),
            fixed_version: fixed,
            no_dsa: None,
            end_of_life: false,
            scope: None,
            description: text.lines().next().unwrap_or_default().trim().to_owned(),
            statement: None,
            fails: false,
        }
    }
}

impl Affected {
    /// Whether `version` is named, or in one of the ranges (the schema's "Evaluation").
    fn has(&self, ecosystem: Ecosystem, version: &str) -> bool {
        let same = |other: &String| {
            other == version || order(ecosystem, other, version) == Some(Ordering::Equal)
        };
        self.versions.iter().any(same)
            || self
                .ranges
                .iter()
                .any(|range| range.has(ecosystem, version))
    }

    /// The smallest version after `version` that has a fix.
    fn fix(&self, ecosystem: Ecosystem, version: &str) -> Option<String> {
        let ranges = self.ranges.iter().filter(|range| range.kind != "GIT");
        let fixed = ranges
            .flat_map(|range| &range.events)
            .filter_map(|event| event.get("fixed"));
        fixed
            .filter(|fixed| order(ecosystem, fixed, version) == Some(Ordering::Greater))
            .min_by(|a, b| order(ecosystem, a, b).unwrap_or(Ordering::Equal))
            .cloned()
    }
}

impl Range {
    fn has(&self, ecosystem: Ecosystem, version: &str) -> bool {
        if self.kind == "GIT" {
            return false;
        }
        let at = |event: &BTreeMap<String, String>, word: &str| {
            let place = event.get(word)?;
            Some(match place.as_str() {
                "0" => Ordering::Less,
                place => order(ecosystem, place, version)?,
            })
        };
        // Events stand in any order; they count in that of their versions.
        let mut events: Vec<&BTreeMap<String, String>> = self.events.iter().collect();
        let place =
            |event: &BTreeMap<String, String>| event.values().next().cloned().unwrap_or_default();
        events.sort_by(|a, b| match (place(a).as_str(), place(b).as_str()) {
            ("0", "0") => Ordering::Equal,
            ("0", _) => Ordering::Less,
            (_, "0") => Ordering::Greater,
            (a, b) => order(ecosystem, a, b).unwrap_or(Ordering::Equal),
        });
        let mut inside = false;
        for event in events {
            if at(event, "introduced").is_some_and(Ordering::is_le) {
                inside = true;
            }
            if at(event, "fixed").is_some_and(Ordering::is_le)
                || at(event, "last_affected").is_some_and(Ordering::is_lt)
                || at(event, "limit").is_some_and(Ordering::is_le)
            {
                inside = false;
            }
        }
        inside
    }
}

/// The level of a CVSS vector of version 3 or 4, or of a bare score.
fn level(score: &str) -> Option<Severity> {
    let score: f64 = match score.parse::<f64>() {
        Ok(score) => score,
        Err(_) => score.parse::<cvss::Cvss>().ok()?.score(),
    };
    Some(match score {
        score if score >= 9.0 => Severity::Critical,
        score if score >= 7.0 => Severity::High,
        score if score >= 4.0 => Severity::Medium,
        score if score > 0.0 => Severity::Low,
        _ => Severity::Unimportant,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::audit::model::add;

    /// The findings of a part of this version, of an entry with these ranges and versions.
    fn found(ecosystem: Ecosystem, version: &str, affected: &str) -> Vec<Finding> {
        let mut parts = Parts::new();
        add(
            &mut parts,
            (ecosystem, "a-b", version),
            None,
            "a-b",
            "pkg:x/a".to_owned(),
        );
        let entry = format!(
            r#"{{"id":"X-1","modified":"2026-01-02T00:00:00Z","aliases":["CVE-2026-1"],"summary":"s",
            "severity":[{{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}}],
            "affected":[{affected}]}}"#
        );
        let mut export = Export::default();
        export.add(entry.as_bytes(), &parts).unwrap();
        assert_eq!(export.severities["CVE-2026-1"], Severity::Critical);
        export.findings
    }

    #[test]
    fn ranges_and_versions_are_evaluated() {
        let range = r#"{"package":{"ecosystem":"PyPI","name":"A_B"},"versions":["0.1"],"ranges":[{"type":"ECOSYSTEM",
            "events":[{"fixed":"2.0"},{"introduced":"1.0rc1"},{"introduced":"3.0"},{"last_affected":"3.1"}]}]}"#;
        let has = |version: &str| found(Ecosystem::PyPi, version, range);
        for version in ["0.1", "1.0", "1.99", "3.0.0", "3.1"] {
            assert_eq!(has(version).len(), 1, "{version}");
        }
        for version in ["0.9", "2.0", "2.5", "3.2"] {
            assert!(has(version).is_empty(), "{version}");
        }
        assert_eq!(has("1.0")[0].fixed_version.as_deref(), Some("2.0"));
        assert_eq!(has("3.0")[0].fixed_version, None);
        let crates = r#"{"package":{"ecosystem":"crates.io","name":"a-b"},"ranges":[{"type":"SEMVER",
            "events":[{"introduced":"0.0.0-0"},{"fixed":"1.2.3"}]}]}"#;
        assert_eq!(found(Ecosystem::Crates, "1.2.2", crates).len(), 1);
        assert!(found(Ecosystem::Crates, "1.2.3", crates).is_empty());
        assert!(found(Ecosystem::PyPi, "1.2.2", crates).is_empty());
        let note = r#"{"package":{"ecosystem":"crates.io","name":"a-b"},"ranges":[{"type":"SEMVER",
            "events":[{"introduced":"0"}]}],"database_specific":{"informational":"unmaintained"}}"#;
        assert!(found(Ecosystem::Crates, "1.2.2", note).is_empty());
    }
}
