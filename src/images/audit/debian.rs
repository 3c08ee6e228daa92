//! The Debian security tracker's data, as https://security-tracker.debian.org/tracker/data/json has it:
//!
//! ```json
//! {"SOURCE": {"CVE-…": {"description": "…", "scope": "remote", "releases": {"trixie": {
//!     "status": "open" | "resolved" | "undetermined",
//!     "repositories": {"trixie": "1-1", "trixie-security": "1-1+deb13u1"},
//!     "fixed_version": "1-1+deb13u1",
//!     "urgency": "not yet assigned", "nodsa": "Minor issue", "nodsa_reason": "postponed"}}}}}
//! ```
//!
//! A `fixed_version` of `0` is of a source that never had the fault in that release.

use super::model::{Ecosystem, Finding, FixedIn, Part, Parts, Severity, Status};
use super::versions;
use anyhow::{Result, bail};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(default)]
    description: String,
    scope: Option<String>,
    #[serde(default)]
    releases: HashMap<String, Release>,
}

#[derive(Debug, Deserialize)]
struct Release {
    status: String,
    #[serde(default)]
    repositories: BTreeMap<String, String>,
    fixed_version: Option<String>,
    #[serde(default)]
    urgency: String,
    nodsa: Option<String>,
    nodsa_reason: Option<String>,
}

/// What the tracker says of some sources.
#[derive(Debug)]
pub(super) struct Tracker {
    sources: HashMap<String, BTreeMap<String, Entry>>,
}

/// Reads of all sources only those that are wanted: the rest is passed over unread.
struct Wanted<'a>(&'a HashSet<&'a str>);

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Tracker;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Tracker, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Tracker;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of source packages")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tracker, A::Error> {
        let mut sources = HashMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if self.0.contains(name.as_str()) {
                sources.insert(name, map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Tracker { sources })
    }
}

impl Tracker {
    /// What `json` says of the Debian sources among `parts`.
    ///
    /// # Errors
    /// When it is not of the tracker's form.
    pub(super) fn read(json: &[u8], parts: &Parts) -> Result<Self, serde_json::Error> {
        let names = parts.keys().filter(|(it, _)| *it == Ecosystem::Debian);
        let wanted: HashSet<&str> = names.map(|(_, name)| name.as_str()).collect();
        let mut reader = serde_json::Deserializer::from_slice(json);
        let tracker = Wanted(&wanted).deserialize(&mut reader)?;
        reader.end()?;
        Ok(tracker)
    }

    /// The vulnerabilities of `parts`; `suite` is that of parts that name none. Adds to `notes` what
    /// could not be compared.
    ///
    /// # Errors
    /// When nothing says of which release a part is, or the data knows no such release.
    pub(super) fn findings(
        &self,
        parts: &Parts,
        suite: Option<&str>,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Finding>> {
        let mut found = Vec::new();
        for ((ecosystem, name), all) in parts {
            let Some(entries) = self
                .sources
                .get(name)
                .filter(|_| *ecosystem == Ecosystem::Debian)
            else {
                continue;
            };
            for part in all {
                let Some(suite) = suite.or(part.suite.as_deref()) else {
                    bail!("nothing says of which release {name} is; say --suite NAME");
                };
                for (id, entry) in entries {
                    if let Some(release) = entry.releases.get(suite) {
                        found.extend(finding((id, entry), release, (name, part, suite), notes));
                    }
                }
            }
        }
        self.knows(parts, suite)?;
        Ok(found)
    }

    /// A release that no entry names is not one without faults.
    fn knows(&self, parts: &Parts, suite: Option<&str>) -> Result<()> {
        let of_parts = parts.iter().filter(|((it, _), _)| *it == Ecosystem::Debian);
        let of_parts = of_parts.flat_map(|(_, all)| all);
        let suites: BTreeSet<&str> = of_parts
            .filter_map(|part| suite.or(part.suite.as_deref()))
            .collect();
        let mut entries = self.sources.values().flat_map(BTreeMap::values).peekable();
        if entries.peek().is_none() {
            return Ok(());
        }
        let known: HashSet<&str> = entries
            .flat_map(|entry| entry.releases.keys().map(String::as_str))
            .collect();
        match suites.into_iter().find(|suite| !known.contains(suite)) {
            Some(suite) => bail!(
                "the tracker's data says nothing about the release {suite}; name another one with --suite"
            ),
            None => Ok(()),
        }
    }
}

/// What `release` says of a part, if that has the fault.
fn finding(
    (id, entry): (&String, &Entry),
    release: &Release,
    (name, part, suite): (&str, &Part, &str),
    notes: &mut Vec<String>,
) -> Option<Finding> {
    let fixed = release.fixed_version.as_deref();
    let debian = fixed
        .filter(|it| *it != "0")
        .or_else(|| release.repositories.values().next().map(String::as_str));
    let compared_as = versions::base(&part.version, debian);
    let version = compared_as.as_deref().unwrap_or(&part.version);
    let status = match (release.status.as_str(), fixed) {
        ("resolved", Some("0")) => return None,
        ("resolved", Some(fixed)) => match versions::deb(version, fixed) {
            Some(Ordering::Less) => Status::Affected,
            Some(_) => return None,
            None => {
                notes.push(format!("{name}: {version} and {fixed} ({id}) cannot be compared, so it counts as undetermined"));
                Status::Undetermined
            }
        },
        ("open", _) => Status::Affected,
        _ => Status::Undetermined,
    };
    let fixed_version = fixed.filter(|_| release.status == "resolved");
    let urgency = release.urgency.trim_end_matches('*');
    let no_dsa = release
        .nodsa
        .as_ref()
        .map(|why| match &release.nodsa_reason {
            Some(reason) if !reason.is_empty() => format!("{reason}: {why}"),
            _ => why.clone(),
        });
    // What the security team leaves to a point release is minor in its words.
    let severity = Severity::of(urgency).or_else(|| no_dsa.as_ref().map(|_| Severity::Low));
    Some(Finding {
        id: id.clone(),
        aliases: BTreeSet::new(),
        ecosystem: Ecosystem::Debian,
        name: name.to_owned(),
        version: part.version.clone(),
        compared_as,
        suite: Some(suite.to_owned()),
        packages: part.packages.clone(),
        purls: part.purls.clone(),
        severity,
        status,
        fixed_version: fixed_version.map(str::to_owned),
        fixed_in: fixed_version.and_then(|fixed| fixed_in(release, suite, fixed)),
        no_dsa,
        end_of_life: urgency == "end-of-life",
        scope: entry.scope.clone(),
        description: entry.description.trim().to_owned(),
        statement: None,
        fails: false,
    })
}

/// Which of the release's archives has the version `fixed`, or a later one.
fn fixed_in(release: &Release, suite: &str, fixed: &str) -> Option<FixedIn> {
    let archives = [
        (suite.to_owned(), FixedIn::Release),
        (format!("{suite}-security"), FixedIn::Security),
        (
            format!("{suite}-proposed-updates"),
            FixedIn::ProposedUpdates,
        ),
    ];
    let has = |archive: &String| {
        let version = release.repositories.get(archive);
        version
            .and_then(|version| versions::deb(version, fixed))
            .is_some_and(Ordering::is_ge)
    };
    archives
        .iter()
        .find(|(archive, _)| has(archive))
        .map(|(_, found)| *found)
}
