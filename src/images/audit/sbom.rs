//! Bills of materials: CycloneDX and SPDX 2 as JSON. Parts are told by their package URLs
//! (https://github.com/package-url/purl-spec).

use super::model::{Ecosystem, Parts, Subject, SubjectKind, add};
use super::osv::normal;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use std::collections::HashMap;

/// A package URL, taken apart.
struct Purl {
    kind: String,
    name: String,
    version: String,
    qualifiers: HashMap<String, String>,
}

fn purl(text: &str) -> Option<Purl> {
    let rest = text.strip_prefix("pkg:")?.split('#').next()?;
    let (rest, qualifiers) = rest.split_once('?').unwrap_or((rest, ""));
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let qualifiers = qualifiers.split('&').filter_map(|one| one.split_once('='));
    let (rest, version) = rest.rsplit_once('@')?;
    let (kind, rest) = rest.split_once('/')?;
    Some(Purl {
        kind: kind.to_lowercase(),
        name: decoded(rest.rsplit('/').next()?),
        version: decoded(version),
        qualifiers: qualifiers
            .map(|(key, value)| (key.to_owned(), decoded(value)))
            .collect(),
    })
}

impl Purl {
    /// The release's name: `trixie`, also from `debian-13`.
    fn suite(&self) -> Option<&str> {
        let distro = self.qualifiers.get("distro")?.as_str();
        let number = distro
            .strip_prefix("debian-")
            .or(distro.strip_prefix("raspbian-"));
        match number.map(|number| number.split('.').next().unwrap_or(number)) {
            Some("11") => Some("bullseye"),
            Some("12") => Some("bookworm"),
            Some("13") => Some("trixie"),
            Some("14") => Some("forky"),
            _ => Some(distro),
        }
    }

    /// The source that other programs write as `upstream=NAME@VERSION`.
    fn upstream(&self) -> Option<(String, String)> {
        let upstream = self.qualifiers.get("upstream")?;
        let (name, version) = upstream
            .split_once('@')
            .unwrap_or((upstream, &self.version));
        Some((name.to_owned(), version.to_owned()))
    }
}

/// Adds the package that `text` names, which was made of `source`. Says whether it is one of those
/// that are audited.
fn part(parts: &mut Parts, text: &str, source: Option<(String, String)>) -> bool {
    let Some(found) = purl(text) else {
        return false;
    };
    let url = text.to_owned();
    match found.kind.as_str() {
        "deb"
            if found
                .qualifiers
                .get("arch")
                .is_none_or(|arch| arch != "source") =>
        {
            let own = || {
                let version = super::versions::without_rebuild(&found.version);
                (found.name.clone(), version.to_owned())
            };
            let (name, version) = source.or_else(|| found.upstream()).unwrap_or_else(own);
            let id = (Ecosystem::Debian, name.as_str(), version.as_str());
            add(parts, id, found.suite(), &found.name, url);
            true
        }
        "pypi" | "cargo" => {
            let (ecosystem, name) = match found.kind.as_str() {
                "pypi" => (Ecosystem::PyPi, normal(&found.name)),
                _ => (Ecosystem::Crates, found.name.clone()),
            };
            add(
                parts,
                (ecosystem, &name, &found.version),
                None,
                &found.name,
                url,
            );
            true
        }
        _ => false,
    }
}

/// The parts in the bill `json`; `None` if it is no bill.
pub(super) fn read(json: &Value) -> Option<(Subject, Parts)> {
    let mut parts = Parts::new();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let (name, sha256) = if json["bomFormat"] == "CycloneDX" {
        cyclonedx(json, &mut parts);
        let subject = &json["metadata"]["component"];
        let hashes = subject["hashes"].as_array().into_iter().flatten();
        let mut sums = hashes.filter(|hash| hash["alg"] == "SHA-256");
        (
            text(&subject["name"]),
            sums.find_map(|hash| text(&hash["content"])),
        )
    } else if json["spdxVersion"]
        .as_str()
        .is_some_and(|it| it.starts_with("SPDX-2"))
    {
        spdx(json, &mut parts);
        let packages = json["packages"].as_array().into_iter().flatten();
        let mut image = packages.filter(|it| it["primaryPackagePurpose"] == "OPERATING_SYSTEM");
        let sums = image.next().and_then(|it| it["checksums"].as_array());
        let mut sums = sums
            .into_iter()
            .flatten()
            .filter(|it| it["algorithm"] == "SHA256");
        (
            text(&json["name"]),
            sums.find_map(|it| text(&it["checksumValue"])),
        )
    } else {
        return None;
    };
    let subject = Subject {
        name: name.unwrap_or_default(),
        kind: SubjectKind::Sbom,
        sha256,
    };
    Some((subject, parts))
}

fn cyclonedx(json: &Value, parts: &mut Parts) {
    for component in json["components"].as_array().into_iter().flatten() {
        let ancestors = component["pedigree"]["ancestors"]
            .as_array()
            .into_iter()
            .flatten();
        let source = ancestors.filter_map(|it| {
            Some((
                it["name"].as_str()?.to_owned(),
                it["version"].as_str()?.to_owned(),
            ))
        });
        if let Some(url) = component["purl"].as_str() {
            part(parts, url, source.into_iter().next());
        }
    }
}

fn spdx(json: &Value, parts: &mut Parts) {
    let packages: Vec<&Value> = json["packages"].as_array().into_iter().flatten().collect();
    let by_id: HashMap<&str, &Value> = packages
        .iter()
        .filter_map(|it| Some((it["SPDXID"].as_str()?, *it)))
        .collect();
    let relations = json["relationships"].as_array().into_iter().flatten();
    let made_of: HashMap<&str, &Value> = relations
        .filter(|it| it["relationshipType"] == "GENERATED_FROM")
        .filter_map(|it| {
            let source = by_id.get(it["relatedSpdxElement"].as_str()?)?;
            Some((it["spdxElementId"].as_str()?, *source))
        })
        .collect();
    for package in packages {
        let source = package["SPDXID"].as_str().and_then(|id| made_of.get(id));
        let source = source.and_then(|it| {
            Some((
                it["name"].as_str()?.to_owned(),
                it["versionInfo"].as_str()?.to_owned(),
            ))
        });
        let references = package["externalRefs"].as_array().into_iter().flatten();
        let mut urls = references.filter(|it| it["referenceType"] == "purl");
        if let Some(url) = urls.find_map(|it| it["referenceLocator"].as_str()) {
            part(parts, url, source);
        }
    }
}
