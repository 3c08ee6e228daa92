//! What everything else stands on: programs, output, files written whole, problems, sizes.
//!
//! Imports nothing of ours.

pub mod arch;
pub(crate) mod bytes;
pub mod command;
pub mod digest;
pub mod disk;
pub mod dpkg;
pub mod inside;
pub mod lock;
pub mod output;
pub mod problem;
pub mod run;
pub mod size;
pub mod sparse;
pub(crate) mod ssh_key;
pub mod timings;
#[allow(missing_docs, reason = "programs, each by its own name")]
pub mod tool;
pub mod work;
