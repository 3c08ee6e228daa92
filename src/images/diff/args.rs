//! What `diff` is called with.

use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Exit code: 0 if nothing differs, 1 if something does, 2 if that cannot be said."
)]
pub struct DiffArgs {
    /// `.img`, or one of its compressed forms; only read
    pub a: PathBuf,
    /// The same; what it has more is shown as added
    pub b: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
