//! Bills of materials: SPDX 2.3 and CycloneDX 1.6, both as JSON, made from dpkg's
//! database and the copyright files of the image and from nothing else.

use super::copyright::{self, Licences};
use super::dpkg::{Package, dependencies};
use crate::base::percent::package_part;
use crate::config::Base;
use crate::export::disk::layout::Identity;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// The image that the bills are of.
pub(super) struct Subject<'a> {
    pub(super) name: &'a str,
    pub(super) identity: &'a Identity,
    /// Seconds since 1970: the time the bills bear.
    pub(super) epoch: i64,
    /// Whose package URLs they have.
    pub(super) base: Base,
    pub(super) release: &'a str,
    pub(super) raw_sha256: &'a str,
}

/// Licences of each package, in the same order; `None` where it has no copyright file.
pub(super) fn licences(rootfs: &Path, packages: &[Package]) -> Vec<Option<Licences>> {
    let of = |package: &Package| {
        let path = format!("usr/share/doc/{}/copyright", package.name);
        let path = inside(rootfs, Path::new(&path))?;
        let text = std::fs::read(path).ok()?;
        Some(copyright::read(&String::from_utf8_lossy(&text)))
    };
    packages.iter().map(of).collect()
}

/// Where `path` of the image leads to, links followed without leaving `root`.
fn inside(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut todo: Vec<PathBuf> = vec![path.to_owned()];
    let mut at = PathBuf::new();
    for _ in 0..40 {
        let Some(path) = todo.pop() else {
            return Some(root.join(at));
        };
        let mut parts = path.components();
        match parts.next() {
            None => continue,
            Some(Component::RootDir) => at = PathBuf::new(),
            Some(Component::ParentDir) => {
                at.pop();
            }
            Some(Component::Normal(name)) => {
                let next = at.join(name);
                match std::fs::read_link(root.join(&next)) {
                    Ok(target) => {
                        todo.push(parts.as_path().to_owned());
                        todo.push(target);
                        continue;
                    }
                    Err(_) => at = next,
                }
            }
            Some(Component::CurDir | Component::Prefix(_)) => {}
        }
        todo.push(parts.as_path().to_owned());
    }
    None
}

impl Subject<'_> {
    fn time(&self) -> Result<String> {
        let time = jiff::Timestamp::from_second(self.epoch).context("reading the epoch")?;
        Ok(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    }

    /// Package URL of type deb.
    fn purl(&self, name: &str, version: &str, arch: &str) -> String {
        format!(
            "pkg:deb/{}/{}@{}?arch={arch}&distro={}",
            self.base.word(),
            package_part(name),
            package_part(version),
            self.release
        )
    }

    fn binary(&self, package: &Package) -> String {
        self.purl(&package.name, &package.version, &package.architecture)
    }
}

/// An SPDX 2.3 document in JSON.
pub(super) fn spdx(
    subject: &Subject<'_>,
    packages: &[Package],
    licences: &[Option<Licences>],
) -> Result<String> {
    let image = "SPDXRef-Image";
    let mut listed = vec![json!({
        "SPDXID": image,
        "name": subject.name,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "primaryPackagePurpose": "OPERATING_SYSTEM",
        "checksums": [{"algorithm": "SHA256", "checksumValue": subject.raw_sha256}],
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
    })];
    let mut relations = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", image)];
    let id = |package: &Package| {
        spdx_id(&format!(
            "SPDXRef-Package-{}-{}",
            package.name, package.architecture
        ))
    };
    let source_id =
        |source: &(String, String)| spdx_id(&format!("SPDXRef-Source-{}-{}", source.0, source.1));
    let mut sources = BTreeSet::new();
    let mut extracted = BTreeMap::new();
    let needs = dependencies(packages);
    for ((package, licences), needs) in packages.iter().zip(licences).zip(&needs) {
        let declared = licences
            .as_ref()
            .map_or("NOASSERTION", |licences| &licences.expression);
        let mut entry = json!({
            "SPDXID": id(package),
            "name": package.name,
            "versionInfo": package.version,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": declared,
            "copyrightText": "NOASSERTION",
            "externalRefs": [reference(&subject.binary(package))],
        });
        if let Some(maintainer) = &package.maintainer {
            entry["supplier"] = json!(supplier(maintainer));
        }
        if let Some(summary) = &package.summary {
            entry["summary"] = json!(summary);
        }
        if let Some(homepage) = &package.homepage {
            entry["homepage"] = json!(homepage);
        }
        listed.push(entry);
        relations.push(relation(image, "CONTAINS", &id(package)));
        for other in needs {
            relations.push(relation(&id(package), "DEPENDS_ON", &id(&packages[*other])));
        }
        relations.push(relation(
            &id(package),
            "GENERATED_FROM",
            &source_id(&package.source),
        ));
        sources.insert(&package.source);
        extracted.extend(licences.iter().flat_map(|licences| &licences.extracted));
    }
    for source in sources {
        listed.push(json!({
            "SPDXID": source_id(source),
            "name": source.0,
            "versionInfo": source.1,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "primaryPackagePurpose": "SOURCE",
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": "NOASSERTION",
            "copyrightText": "NOASSERTION",
            "externalRefs": [reference(&subject.purl(&source.0, &source.1, "source"))],
        }));
    }
    let extracted: Vec<Value> = extracted
        .into_iter()
        .map(|(id, licence)| {
            json!({"licenseId": id, "name": licence.name, "extractedText": licence.text})
        })
        .collect();
    pretty(&json!({
        "SPDXID": "SPDXRef-DOCUMENT",
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "name": subject.name,
        "documentNamespace": format!("urn:uuid:{}", subject.identity.uuid("spdx")),
        "creationInfo": {
            "created": subject.time()?,
            "creators": [format!("Tool: westwork-gen-{}", env!("CARGO_PKG_VERSION"))],
        },
        "packages": listed,
        "relationships": relations,
        "hasExtractedLicensingInfos": extracted,
    }))
}

/// SPDX identifiers have letters, digits, dots and dashes only.
fn spdx_id(text: &str) -> String {
    let one = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => c.to_string(),
        '+' => ".plus.".to_owned(),
        '~' => ".tilde.".to_owned(),
        _ => ".".to_owned(),
    };
    text.chars().map(one).collect()
}

fn relation(from: &str, kind: &str, to: &str) -> Value {
    json!({"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to})
}

fn reference(purl: &str) -> Value {
    json!({
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": purl,
    })
}

/// `Organization: NAME (MAIL)`, from `NAME <MAIL>`.
fn supplier(maintainer: &str) -> String {
    let mail = maintainer.replace('<', "(").replace('>', ")");
    format!("Organization: {mail}")
}

/// A CycloneDX 1.6 document in JSON.
pub(super) fn cyclonedx(
    subject: &Subject<'_>,
    packages: &[Package],
    licences: &[Option<Licences>],
) -> Result<String> {
    let mut components = Vec::new();
    let mut relations = vec![json!({
        "ref": "image",
        "dependsOn": packages.iter().map(|package| subject.binary(package)).collect::<Vec<_>>(),
    })];
    let needs = dependencies(packages);
    for ((package, licences), needs) in packages.iter().zip(licences).zip(&needs) {
        let purl = subject.binary(package);
        let (source, source_version) = &package.source;
        let mut component = json!({
            "type": "library",
            "bom-ref": purl,
            "name": package.name,
            "version": package.version,
            "purl": purl,
            "pedigree": {"ancestors": [{
                "type": "library",
                "name": source,
                "version": source_version,
                "purl": subject.purl(source, source_version, "source"),
            }]},
        });
        if let Some(licences) = licences {
            component["licenses"] = if licences.prose {
                let name = format!("see /usr/share/doc/{}/copyright", package.name);
                json!([{"license": {"name": name}}])
            } else {
                json!([{"expression": licences.expression}])
            };
        }
        if let Some(maintainer) = &package.maintainer {
            component["supplier"] = json!({"name": maintainer});
        }
        if let Some(summary) = &package.summary {
            component["description"] = json!(summary);
        }
        if let Some(homepage) = &package.homepage {
            component["externalReferences"] = json!([{"type": "website", "url": homepage}]);
        }
        components.push(component);
        relations.push(json!({
            "ref": purl,
            "dependsOn": needs
                .iter()
                .map(|other| subject.binary(&packages[*other]))
                .collect::<Vec<_>>(),
        }));
    }
    pretty(&json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{}", subject.identity.uuid("cyclonedx")),
        "version": 1,
        "metadata": {
            "timestamp": subject.time()?,
            "tools": {"components": [{
                "type": "application",
                "name": "westwork-gen",
                "version": env!("CARGO_PKG_VERSION"),
            }]},
            "component": {
                "type": "operating-system",
                "bom-ref": "image",
                "name": subject.name,
                "hashes": [{"alg": "SHA-256", "content": subject.raw_sha256}],
            },
        },
        "components": components,
        "dependencies": relations,
    }))
}

fn pretty(value: &Value) -> Result<String> {
    let mut text = serde_json::to_string_pretty(value).context("writing a bill of materials")?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_urls_keep_colons_and_encode_plus() {
        assert_eq!(package_part("1:2.0+dfsg-1~deb"), "1:2.0%2Bdfsg-1~deb");
    }

    #[test]
    fn links_stay_inside_the_image() {
        let dir = tempfile::tempdir().unwrap();
        let doc = dir.path().join("usr/share/doc");
        std::fs::create_dir_all(doc.join("a")).unwrap();
        std::os::unix::fs::symlink("/usr/share/doc/a", doc.join("b")).unwrap();
        std::os::unix::fs::symlink("../doc/b", doc.join("c")).unwrap();
        assert_eq!(
            inside(dir.path(), Path::new("usr/share/doc/c/copyright")),
            Some(doc.join("a/copyright"))
        );
        std::os::unix::fs::symlink("loop", doc.join("loop")).unwrap();
        assert_eq!(inside(dir.path(), Path::new("usr/share/doc/loop")), None);
    }
}
