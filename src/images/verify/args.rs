//! What `verify` is called with.
#![allow(missing_docs, reason = "a doc comment here is help that users read")]

use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Exit code: 0 if everything fits together, 1 if something does not or is missing, 2 if it cannot be said."
)]
pub struct VerifyArgs {
    /// A deploy directory, or an image or another file in one; only read
    #[arg(value_name = "DEPLOY_DIR|FILE")]
    pub path: PathBuf,
    /// The public key that must have signed: minisign's file, or what is in it (RW…). May be given
    /// several times; then one of them must have
    #[arg(long, value_name = "FILE|KEY")]
    pub key: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
