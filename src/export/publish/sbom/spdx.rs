//! SPDX 2.3 in JSON.

use super::{Subject, pretty};
use crate::export::publish::copyright::{Extracted, Licences};
use crate::export::publish::dpkg::{Package, dependencies};
use anyhow::Result;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The element that stands for the image.
const IMAGE: &str = "SPDXRef-Image";

/// An SPDX 2.3 document in JSON.
pub(in crate::export::publish) fn spdx(
    subject: &Subject<'_>,
    packages: &[Package],
    licences: &[Option<Licences>],
) -> Result<String> {
    let mut listed = vec![image(subject)];
    let mut relations = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", IMAGE)];
    let mut sources = BTreeSet::new();
    let mut extracted = BTreeMap::new();
    let needs = dependencies(packages);
    for ((package, licences), needs) in packages.iter().zip(licences).zip(&needs) {
        let id = package_id(package);
        listed.push(binary(subject, package, licences.as_ref()));
        relations.push(relation(IMAGE, "CONTAINS", &id));
        for other in needs {
            relations.push(relation(&id, "DEPENDS_ON", &package_id(&packages[*other])));
        }
        let source = source_id(&package.source);
        relations.push(relation(&id, "GENERATED_FROM", &source));
        sources.insert(&package.source);
        extracted.extend(licences.iter().flat_map(|licences| &licences.extracted));
    }
    listed.extend(sources.into_iter().map(|name| source(subject, name)));
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
        "hasExtractedLicensingInfos": extracted.into_iter().map(text).collect::<Vec<_>>(),
    }))
}

/// The image as a package.
fn image(subject: &Subject<'_>) -> Value {
    json!({
        "SPDXID": IMAGE,
        "name": subject.name,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "primaryPackagePurpose": "OPERATING_SYSTEM",
        "checksums": [{"algorithm": "SHA256", "checksumValue": subject.raw_sha256}],
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
    })
}

/// An installed package.
fn binary(subject: &Subject<'_>, package: &Package, licences: Option<&Licences>) -> Value {
    let declared = licences.map_or("NOASSERTION", |licences| &licences.expression);
    let mut entry = json!({
        "SPDXID": package_id(package),
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
    entry
}

/// A source package, by name and version.
fn source(subject: &Subject<'_>, source: &(String, String)) -> Value {
    json!({
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
    })
}

/// A licence that is not on the SPDX list, with its text.
fn text((id, licence): (&String, &Extracted)) -> Value {
    json!({"licenseId": id, "name": licence.name, "extractedText": licence.text})
}

fn package_id(package: &Package) -> String {
    let (name, architecture) = (&package.name, &package.architecture);
    spdx_id(&format!("SPDXRef-Package-{name}-{architecture}"))
}

fn source_id((name, version): &(String, String)) -> String {
    spdx_id(&format!("SPDXRef-Source-{name}-{version}"))
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
