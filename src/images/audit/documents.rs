//! VEX documents for other programs: CycloneDX 1.6 and OpenVEX 0.2.0. Their identifiers are made of
//! what is in them, and their time is that of the data, so the same audit gives the same bytes.

use super::model::{
    Audit, Ecosystem, Finding, Justification, Severity, Stated, StatedStatus, Status,
};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// A UUID of version 8 (RFC 9562) that stands for the audit.
fn uuid(audit: &Audit, kind: &str) -> Result<String> {
    let text = serde_json::to_vec(audit).context("writing JSON")?;
    let mut hash = Sha256::new_with_prefix(kind);
    hash.update(text);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex::encode(bytes);
    Ok(format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    ))
}

/// The newest date of the data.
fn time(audit: &Audit) -> String {
    let dates = audit.data.iter().map(|data| data.date.clone());
    dates
        .max()
        .unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned())
}

/// Who says what no statement says: this program, from the data.
fn tool() -> String {
    format!("westwork-gen {}", env!("CARGO_PKG_VERSION"))
}

/// A statement that still counts.
fn stated(finding: &Finding) -> Option<&Stated> {
    finding.statement.as_ref().filter(|said| !said.expired)
}

/// What can be done about a finding.
fn action(finding: &Finding) -> String {
    match &finding.fixed_version {
        Some(version) => format!("Update {} to {version}.", finding.name),
        None => format!("There is no fixed version of {} yet.", finding.name),
    }
}

/// The audit as a CycloneDX VEX.
pub(super) fn cyclonedx(audit: &Audit) -> Result<Value> {
    let mut components: BTreeMap<&str, Value> = BTreeMap::new();
    for finding in &audit.findings {
        for url in &finding.purls {
            let (name, version) = name_of(url, finding);
            let component = json!({"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url});
            components.insert(url, component);
        }
    }
    let mut subject =
        json!({"type": "operating-system", "bom-ref": "image", "name": audit.subject.name});
    if let Some(sum) = &audit.subject.sha256 {
        subject["hashes"] = json!([{"alg": "SHA-256", "content": sum}]);
    }
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{}", uuid(audit, "cyclonedx")?),
        "version": 1,
        "metadata": {
            "timestamp": time(audit),
            "tools": {"components": [{"type": "application", "name": "westwork-gen", "version": env!("CARGO_PKG_VERSION")}]},
            "component": subject,
        },
        "components": components.into_values().collect::<Vec<_>>(),
        "vulnerabilities": audit.findings.iter().map(vulnerability).collect::<Vec<_>>(),
    }))
}

/// Name and version of the package that `url` names.
fn name_of(url: &str, finding: &Finding) -> (String, String) {
    let plain = url.split('?').next().unwrap_or(url);
    let decoded = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    };
    match plain.rsplit_once('@') {
        Some((name, version)) => (
            decoded(name.rsplit('/').next().unwrap_or(name)),
            decoded(version),
        ),
        None => (finding.name.clone(), finding.version.clone()),
    }
}

fn source(finding: &Finding) -> Value {
    match finding.ecosystem {
        Ecosystem::Debian => json!({
            "name": "Debian security tracker",
            "url": format!("https://security-tracker.debian.org/tracker/{}", finding.id),
        }),
        _ => json!({"name": "OSV", "url": format!("https://osv.dev/vulnerability/{}", finding.id)}),
    }
}

fn vulnerability(finding: &Finding) -> Value {
    let severity = match finding.severity {
        None => "unknown",
        Some(Severity::Unimportant) => "info",
        Some(level) => level.word(),
    };
    let affects: Vec<Value> = finding
        .purls
        .iter()
        .map(|url| json!({"ref": url}))
        .collect();
    let mut entry = json!({
        "bom-ref": format!("{}:{}:{}", finding.id, finding.name, finding.version),
        "id": finding.id,
        "source": source(finding),
        "ratings": [{"source": source(finding), "severity": severity}],
        "affects": affects,
        "recommendation": action(finding),
        "analysis": analysis(finding),
    });
    if !finding.description.is_empty() {
        entry["description"] = json!(finding.description);
    }
    if !finding.aliases.is_empty() {
        let of = |id: &String| json!({"id": id, "source": {"name": "OSV"}});
        entry["references"] = finding.aliases.iter().map(of).collect();
    }
    entry
}

fn analysis(finding: &Finding) -> Value {
    let Some(said) = stated(finding) else {
        let state = match finding.status {
            Status::Affected => "exploitable",
            Status::Undetermined => "in_triage",
        };
        let response = if finding.fixed_version.is_some() {
            "update"
        } else {
            "can_not_fix"
        };
        return json!({"state": state, "response": [response], "detail": format!("{}: by the version alone.", tool())});
    };
    let state = match said.status {
        StatedStatus::NotAffected => "not_affected",
        StatedStatus::Affected => "exploitable",
        StatedStatus::Fixed => "resolved",
        StatedStatus::UnderInvestigation => "in_triage",
    };
    let mut analysis = json!({
        "state": state,
        "detail": format!("{} ({}, until {})", said.reason, said.author, said.expires),
    });
    if said.status == StatedStatus::Affected {
        analysis["response"] = json!(["will_not_fix"]);
    }
    if let Some(justification) = said.justification {
        analysis["justification"] = json!(match justification {
            Justification::ComponentNotPresent | Justification::VulnerableCodeNotPresent =>
                "code_not_present",
            Justification::VulnerableCodeNotInExecutePath => "code_not_reachable",
            Justification::VulnerableCodeCannotBeControlledByAdversary => "requires_environment",
            Justification::InlineMitigationsAlreadyExist => "protected_by_mitigating_control",
        });
    }
    analysis
}

/// The audit as an OpenVEX document; `None` if nothing was found, since it must have a statement.
pub(super) fn openvex(audit: &Audit) -> Result<Option<Value>> {
    if audit.findings.is_empty() {
        return Ok(None);
    }
    let name = crate::base::percent::package_part(&audit.subject.name);
    let mut product = json!({"@id": format!("pkg:generic/{name}")});
    if let Some(sum) = &audit.subject.sha256 {
        product["hashes"] = json!({"sha-256": sum});
    }
    let statements: Vec<Value> = audit
        .findings
        .iter()
        .map(|it| statement(it, &product))
        .collect();
    Ok(Some(json!({
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": format!("urn:uuid:{}", uuid(audit, "openvex")?),
        "author": tool(),
        "role": "Document Creator",
        "timestamp": time(audit),
        "version": 1,
        "tooling": tool(),
        "statements": statements,
    })))
}

fn statement(finding: &Finding, product: &Value) -> Value {
    let mut product = product.clone();
    let parts: Vec<Value> = finding
        .purls
        .iter()
        .map(|url| json!({"@id": url}))
        .collect();
    product["subcomponents"] = json!(parts);
    let mut vulnerability = json!({"name": finding.id, "description": finding.description});
    if !finding.aliases.is_empty() {
        vulnerability["aliases"] = json!(finding.aliases);
    }
    let mut statement = json!({"vulnerability": vulnerability, "products": [product]});
    let Some(said) = stated(finding) else {
        match finding.status {
            Status::Undetermined => statement["status"] = json!("under_investigation"),
            Status::Affected => {
                statement["status"] = json!("affected");
                statement["action_statement"] = json!(action(finding));
            }
        }
        return statement;
    };
    statement["status"] = json!(said.status);
    statement["status_notes"] = json!(format!("{}, until {}", said.author, said.expires));
    match said.status {
        StatedStatus::NotAffected => {
            statement["impact_statement"] = json!(said.reason);
            if let Some(justification) = said.justification {
                statement["justification"] = json!(justification);
            }
        }
        StatedStatus::Affected => statement["action_statement"] = json!(said.reason),
        _ => {
            statement["status_notes"] = json!(format!(
                "{} ({}, until {})",
                said.reason, said.author, said.expires
            ))
        }
    }
    statement
}
