//! What `boot` is called with.
#![allow(missing_docs, reason = "a doc comment here is help that users read")]

use super::machine::Machine;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Clone, Args)]
pub struct BootArgs {
    /// `.img`, or one of its compressed forms
    pub image: PathBuf,
    /// Wait for the login prompt and for systemd's verdict, then exit 0 or 1
    #[arg(long)]
    pub test: bool,
    /// Give up after so many seconds (with --test)
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    pub timeout: u64,
    /// Size of the card the image is put on, a power of two
    #[arg(long, default_value = "8G", value_name = "SIZE")]
    pub size: String,
    /// The board that QEMU plays; default: raspi3b, or raspi2b for a 32-bit kernel
    #[arg(long, value_enum, value_name = "BOARD")]
    pub machine: Option<Machine>,
    /// Keep the card as the machine leaves it, in this file
    #[arg(long, value_name = "FILE")]
    pub keep: Option<PathBuf>,
    /// Write the console's output here as well
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
}
