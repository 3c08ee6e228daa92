//! What `inspect` is called with.
#![allow(missing_docs, reason = "a doc comment here is help that users read")]

use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Clone, Args)]
pub struct InspectArgs {
    /// `.img`, or one of its compressed forms; only read
    pub image: PathBuf,
    /// List the packages, too
    #[arg(long)]
    pub packages: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
