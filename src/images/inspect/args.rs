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
    /// Show what takes the room instead: packages, directories, files
    #[arg(long)]
    pub size: bool,
    /// With --size, show what grew and shrank since this image
    #[arg(long, value_name = "IMAGE", requires = "size")]
    pub against: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
