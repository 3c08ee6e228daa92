//! CycloneDX 1.6 in JSON.

use super::{Subject, pretty};
use crate::export::publish::copyright::Licences;
use crate::export::publish::dpkg::{Package, dependencies};
use anyhow::Result;
use serde_json::{Value, json};

/// A CycloneDX 1.6 document in JSON.
pub(in crate::export::publish) fn cyclonedx(
    subject: &Subject<'_>,
    packages: &[Package],
    licences: &[Option<Licences>],
) -> Result<String> {
    let purls: Vec<String> = packages.iter().map(|p| subject.binary(p)).collect();
    let mut components = Vec::new();
    let mut relations = vec![json!({"ref": "image", "dependsOn": purls})];
    let needs = dependencies(packages);
    for (place, (package, licences)) in packages.iter().zip(licences).enumerate() {
        components.push(component(subject, package, licences.as_ref()));
        let needs: Vec<_> = needs[place].iter().map(|other| &purls[*other]).collect();
        relations.push(json!({"ref": purls[place], "dependsOn": needs}));
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

/// An installed package.
fn component(subject: &Subject<'_>, package: &Package, licences: Option<&Licences>) -> Value {
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
    component
}
