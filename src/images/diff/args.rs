//! What `diff` is called with.

use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Exit code: 0 if nothing differs, 1 if something does, 2 if they cannot be compared."
)]
pub struct DiffArgs {
    /// The old image: `.img`, or one of its compressed forms; only read
    pub a: PathBuf,
    /// The new image, in the same forms; what only this one has is shown as added
    pub b: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
