//! What everything else stands on: programs, output, files written whole, problems, sizes.
//!
//! Imports nothing of ours.

// Before the others, which use its macros.
#[macro_use]
pub mod print;

pub mod arch;
pub(crate) mod bytes;
pub mod command;
pub mod digest;
pub mod disk;
pub mod dpkg;
pub(crate) mod dsse;
mod elf;
pub mod events;
pub mod inside;
pub mod lock;
pub(crate) mod mountinfo;
pub(crate) mod names;
pub mod output;
pub(crate) mod parts;
pub(crate) mod percent;
pub mod problem;
pub(crate) mod releases;
pub mod run;
pub mod schema;
pub mod size;
pub mod sparse;
pub(crate) mod ssh_key;
pub mod timings;
#[allow(missing_docs, reason = "programs, each by its own name")]
pub mod tool;
pub mod work;
