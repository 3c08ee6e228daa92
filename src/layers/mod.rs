//! Layers: what a step makes, by what key, where it is kept, and what a build will do.
//!
//! May import everything up to `archives`.

pub(crate) mod blocks;
pub mod clean;
pub mod context;
pub mod deployed;
mod differences;
pub mod digest;
pub mod durable;
pub(crate) mod engine;
mod facts;
mod format;
pub mod identity;
pub mod job;
pub mod key;
mod mentions;
pub mod mounts;
pub mod own_variables;
pub mod progress;
pub mod reads;
pub mod records;
pub mod schedule;
pub mod seal;
pub mod share;
mod sound;
pub mod store;
pub mod told;
pub mod variables;
mod why;
