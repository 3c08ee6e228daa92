//! What `audit` is called with.
#![allow(missing_docs, reason = "a doc comment here is help that users read")]

use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Exit code: 0 if nothing is found that --fail names, 1 if something is, 2 if it cannot be said."
)]
pub struct AuditArgs {
    /// An image in any form, a bill of materials (CycloneDX or SPDX, JSON), westwork.lock or
    /// Cargo.lock; only read
    #[arg(value_name = "IMAGE|SBOM|LOCK")]
    pub subject: PathBuf,
    /// The Debian security tracker's data: JSON [default: the tracker's own, fetched once a day]
    #[arg(long, value_name = "FILE|URL")]
    pub debian: Option<String>,
    /// OSV's export for wheels or crates: a zip, or a folder of JSON files. May be given several
    /// times [default: OSV's own, fetched once a day, if there are wheels or crates]
    #[arg(long, value_name = "FILE|DIR|URL")]
    pub osv: Vec<String>,
    /// Fetch nothing: what was fetched before counts, however old
    #[arg(long)]
    pub offline: bool,
    /// Where fetched data is kept [default: ~/.cache/westwork-gen/audit]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// What you have found out about single vulnerabilities. May be given several times
    /// [default: vex.toml in the working directory or beside LOCK]
    #[arg(long, value_name = "FILE")]
    pub vex: Vec<PathBuf>,
    /// The release whose packages these are, where nothing says so
    #[arg(long, value_name = "NAME")]
    pub suite: Option<String>,
    /// End with 1 if a vulnerability meets all these conditions, divided by commas:
    /// `severity>=LEVEL` (one without a level meets it), `fixed` (there is a fix). May be given
    /// several times: then one of them is enough
    #[arg(long, value_name = "CONDITIONS")]
    pub fail: Vec<String>,
    /// Judge the expiry of statements as of this day [default: today]
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub on: Option<jiff::civil::Date>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Write a CycloneDX VEX, too
    #[arg(long, value_name = "FILE")]
    pub cyclonedx: Option<PathBuf>,
    /// Write an OpenVEX document, too
    #[arg(long, value_name = "FILE")]
    pub openvex: Option<PathBuf>,
}
