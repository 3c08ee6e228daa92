//! What `test` is called with.
#![allow(missing_docs, reason = "a doc comment here is help that users read")]

use crate::images::boot::machine::Machine;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Clone, Default, Args)]
pub struct TestArgs {
    /// Images (`.img`, or one of its compressed forms; only read), and files of tests, whose
    /// names end in `.toml`. Without any of these: what every image should keep to
    #[arg(required = true, value_name = "IMAGE|TESTS.toml")]
    pub paths: Vec<PathBuf>,
    /// Read the images, but start none: what needs a running system is left out
    #[arg(long = "static")]
    pub static_only: bool,
    /// An earlier image, against which growth is measured
    #[arg(long, value_name = "IMAGE")]
    pub against: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Write the results in JUnit's format, too
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// The board that QEMU plays; default: raspi3b, or raspi2b for a 32-bit kernel
    #[arg(long, value_enum, value_name = "BOARD")]
    pub machine: Option<Machine>,
    /// Write the console's output of each image here, as NAME.log
    #[arg(long, value_name = "DIR")]
    pub logs: Option<PathBuf>,
}
