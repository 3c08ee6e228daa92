//! What `report` is called with.
#![allow(missing_docs, reason = "a doc comment here is help that users read")]

use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// `.img`, or one of its compressed forms; only read
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<PathBuf>,
    /// Write to this file, or into this directory [default: NAME.report.html in the working
    /// directory]
    #[arg(short, long, value_name = "DIR|FILE")]
    pub output: Option<PathBuf>,
    /// Show what differs from this earlier image
    #[arg(long, value_name = "IMAGE")]
    pub against: Option<PathBuf>,
    /// Show the results of these tests: JUnit XML
    #[arg(long, value_name = "FILE")]
    pub tests: Option<PathBuf>,
    /// Show the known vulnerabilities: what `audit --json` printed of this image
    #[arg(long, value_name = "FILE")]
    pub audit: Option<PathBuf>,
    /// Leave out the build's time, which differs from build to build, although the record beside
    /// the image has it
    #[arg(long)]
    pub no_timings: bool,
}
