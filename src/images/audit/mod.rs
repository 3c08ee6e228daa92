//! `westwork-gen audit`: which known vulnerabilities an image, a bill of materials or a lock file
//! has. Offline: the data about vulnerabilities is files by now (`commands/audit` fetches them).

pub mod args;
mod debian;
mod documents;
mod fail;
mod installed;
mod locked;
mod model;
mod osv;
mod sbom;
mod show;
mod versions;
mod vex;

pub(crate) use model::{Audit, Finding};
pub(crate) use show::{fix, word};
pub(crate) use vex::Vex;

use crate::base::digest;
use crate::base::problem::{Problem, Problems};
use crate::base::work;
use crate::images::image::{Image, stem};
use anyhow::{Context, Result};
use args::AuditArgs;
use fail::Conditions;
use model::{Data, DataKind, Ecosystem, Parts, Subject, SubjectKind};
use osv::Export;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use vex::Statements;

/// Bytes of a bill or lock file, and of the tracker's data.
const LONGEST: u64 = 256 << 20;
const LONGEST_DATA: u64 = 2 << 30;

/// A file with data about vulnerabilities.
#[derive(Debug, Clone)]
pub struct DataFile {
    /// The file, or for OSV a folder.
    pub path: PathBuf,
    /// What it is called in the report: its address, or its name.
    pub from: String,
}

/// What is to be audited, read.
pub struct Subjects {
    subject: Subject,
    parts: Parts,
    notes: Vec<String>,
}

impl Subjects {
    /// Whether there are packages of Debian, wheels, and crates in it.
    pub fn needs(&self) -> [bool; 3] {
        let has = |ecosystem| self.parts.keys().any(|(it, _)| *it == ecosystem);
        [Ecosystem::Debian, Ecosystem::PyPi, Ecosystem::Crates].map(has)
    }
}

/// The text of a bill or lock file.
fn text_of(path: &Path) -> Result<String> {
    let file = fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut text = String::new();
    file.take(LONGEST)
        .read_to_string(&mut text)
        .with_context(|| format!("reading {}", path.display()))?;
    Ok(text)
}

/// Reads the image, bill or lock file at `path`.
///
/// # Errors
/// When it is none of them.
pub fn subject(path: &Path) -> Result<Subjects> {
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned();
    let mut notes = Vec::new();
    let text = || text_of(path);
    let wrong = |what: String, remedy: &str| Problems(vec![Problem::new(what, remedy).at(path)]);
    let (subject, parts) = match path.extension().and_then(|it| it.to_str()) {
        Some("json") => {
            let remedy = "name a CycloneDX or SPDX 2 document in JSON";
            let json = serde_json::from_str(&text()?)
                .map_err(|error| wrong(format!("this is no JSON: {error}"), remedy))?;
            let read = sbom::read(&json);
            read.ok_or_else(|| wrong("this is no bill of materials".to_owned(), remedy))?
        }
        Some("lock") => {
            let text = text()?;
            let parts = locked::read(&text, &mut notes).map_err(|error| {
                wrong(
                    format!("this is no lock file: {}", error.message()),
                    "name a westwork.lock or Cargo.lock",
                )
            })?;
            let sha256 = Some(digest::of_file(path)?);
            (
                Subject {
                    name,
                    kind: SubjectKind::Lock,
                    sha256,
                },
                parts,
            )
        }
        _ => {
            let parts = installed::read(&Image::open(path)?)
                .with_context(|| format!("reading {}", path.display()))?;
            (
                Subject {
                    name: stem(path),
                    kind: SubjectKind::Image,
                    sha256: None,
                },
                parts,
            )
        }
    };
    if parts.is_empty() {
        let what = "no package, wheel or crate is in it".to_owned();
        return Err(wrong(what, "name an image, a bill of materials or a lock file").into());
    }
    Ok(Subjects {
        subject,
        parts,
        notes,
    })
}

/// What decides how findings count.
pub struct Terms {
    conditions: Vec<Conditions>,
    statements: Statements,
}

impl Terms {
    /// Reads `--fail` and the statements.
    ///
    /// # Errors
    /// [`Problems`] with all that is wrong in one of them.
    pub fn read(args: &AuditArgs) -> Result<Self> {
        Ok(Self {
            conditions: fail::read(&args.fail)?,
            statements: Statements::read(&vex_files(args))?,
        })
    }
}

/// Audits `subjects` against the tracker's data in `debian` and OSV's in `osv`, and prints and writes
/// what `args` asks for. Returns 0, or 1 if something is found that `--fail` names.
///
/// # Errors
/// [`Problems`] and others: it cannot be said.
pub fn run(
    args: &AuditArgs,
    terms: Terms,
    subjects: Subjects,
    debian: Option<&DataFile>,
    osv: &[DataFile],
) -> Result<u8> {
    let Terms {
        conditions,
        statements,
    } = terms;
    let on = args.on.unwrap_or_else(|| jiff::Zoned::now().date());
    let mut audit = audit(args, subjects, debian, osv)?;
    let notes = statements.apply(&mut audit.findings, on);
    audit.notes.extend(notes);
    for finding in &mut audit.findings {
        finding.fails = fail::names(&conditions, finding);
    }
    // Nobody's word about its severity stands between high and medium.
    let level = |it: &Finding| it.severity.map_or(5, |level| 2 * level as u8);
    audit.findings.sort_by(|a, b| {
        let by = |it: &Finding| (!it.fails, u8::MAX - level(it));
        (by(a), &a.name, &a.id, &a.version).cmp(&(by(b), &b.name, &b.id, &b.version))
    });
    if let Some(path) = &args.cyclonedx {
        write(path, &documents::cyclonedx(&audit)?)?;
    }
    if let Some(path) = &args.openvex {
        match documents::openvex(&audit)? {
            Some(document) => write(path, &document)?,
            None => eprintln!(
                "nothing was found, and an OpenVEX document cannot be empty: {} is not written",
                path.display()
            ),
        }
    }
    if args.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&audit).context("writing JSON")?
        );
    } else {
        print!("{}", show::show(&audit));
    }
    Ok(u8::from(audit.findings.iter().any(|it| it.fails)))
}

fn audit(
    args: &AuditArgs,
    subjects: Subjects,
    debian: Option<&DataFile>,
    osv: &[DataFile],
) -> Result<Audit> {
    let Subjects {
        subject,
        parts,
        mut notes,
    } = subjects;
    let (mut data, mut findings) = (Vec::new(), Vec::new());
    if let Some(file) = debian {
        let (found, about) = of_debian(args, file, &parts, &mut notes)
            .with_context(|| format!("reading {}", file.path.display()))?;
        findings.extend(found);
        data.push(about);
    }
    let mut severities = BTreeMap::new();
    for file in osv {
        let export = Export::read(&file.path, &parts)
            .with_context(|| format!("reading {}", file.path.display()))?;
        let sha256 = if file.path.is_dir() {
            None
        } else {
            Some(digest::of_file(&file.path)?)
        };
        data.push(Data {
            kind: DataKind::Osv,
            from: file.from.clone(),
            date: export.newest.clone(),
            sha256,
        });
        findings.extend(export.findings);
        severities.extend(export.severities);
    }
    for finding in findings.iter_mut().filter(|it| it.severity.is_none()) {
        finding.severity = severities.get(&finding.id).copied();
    }
    let findings = merged(findings);
    let mut looked_up = BTreeMap::new();
    for ((ecosystem, _), versions) in &parts {
        *looked_up.entry(*ecosystem).or_insert(0) += versions.len();
    }
    for (ecosystem, what) in [(Ecosystem::PyPi, "wheels"), (Ecosystem::Crates, "crates")] {
        if osv.is_empty() && looked_up.contains_key(&ecosystem) {
            notes.push(format!(
                "{what} were not looked up: there is no data of OSV; say --osv"
            ));
        }
    }
    Ok(Audit {
        version: 1,
        subject,
        data,
        looked_up,
        findings,
        notes,
    })
}

/// One finding for each vulnerability of a wheel or crate, which several databases may name: GHSA-…
/// and PYSEC-… are often the same.
fn merged(findings: Vec<Finding>) -> Vec<Finding> {
    let mut all: Vec<Finding> = Vec::new();
    for finding in findings {
        let same = |other: &&mut Finding| {
            let names = |a: &Finding, b: &Finding| a.aliases.contains(&b.id) || a.id == b.id;
            finding.ecosystem != Ecosystem::Debian
                && (other.ecosystem, &other.name, &other.version)
                    == (finding.ecosystem, &finding.name, &finding.version)
                && (names(&finding, other)
                    || names(other, &finding)
                    || !finding.aliases.is_disjoint(&other.aliases))
        };
        match all.iter_mut().find(same) {
            Some(known) => {
                known.aliases.extend(finding.aliases);
                known.aliases.insert(finding.id);
                known.aliases.remove(&known.id);
                known.severity = known.severity.max(finding.severity);
                known.fixed_in = known.fixed_in.or(finding.fixed_in);
                known.fixed_version = known.fixed_version.take().or(finding.fixed_version);
            }
            None => all.push(finding),
        }
    }
    all
}

fn of_debian(
    args: &AuditArgs,
    file: &DataFile,
    parts: &Parts,
    notes: &mut Vec<String>,
) -> Result<(Vec<Finding>, Data)> {
    let mut json = Vec::new();
    let opened = fs::File::open(&file.path)?;
    let changed = opened.metadata()?.modified()?;
    opened.take(LONGEST_DATA).read_to_end(&mut json)?;
    let tracker = debian::Tracker::read(&json, parts)
        .context("it is not the data of Debian's security tracker")?;
    let findings = tracker.findings(parts, args.suite.as_deref(), notes)?;
    let date = jiff::Timestamp::try_from(changed).context("reading its date")?;
    let sum = digest::of_reader(&mut json.as_slice())?.0;
    let data = Data {
        kind: DataKind::Debian,
        from: file.from.clone(),
        date: date.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        sha256: Some(sum),
    };
    Ok((findings, data))
}

/// The files of statements: those that are named, or those that are where they belong.
fn vex_files(args: &AuditArgs) -> Vec<PathBuf> {
    if !args.vex.is_empty() {
        return args.vex.clone();
    }
    let beside = args.subject.with_file_name("vex.toml");
    let is_lock = args.subject.extension().is_some_and(|it| it == "lock");
    let here = PathBuf::from("vex.toml");
    let places = if is_lock && beside != here {
        vec![beside, here]
    } else {
        vec![here]
    };
    places
        .into_iter()
        .find(|path| path.exists())
        .into_iter()
        .collect()
}

fn write(path: &Path, value: &serde_json::Value) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).context("writing JSON")?;
    text.push('\n');
    work::write_result(path, text)
}
