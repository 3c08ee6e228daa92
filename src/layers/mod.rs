//! Layers: what a step makes, by what key, where it is kept, and what a build will do.
//!
//! May import everything up to `archives`.

pub mod clean;
pub mod context;
pub mod deployed;
pub mod digest;
pub mod durable;
pub mod identity;
pub mod job;
pub mod key;
pub mod mounts;
pub mod own_variables;
pub mod progress;
pub mod schedule;
pub mod share;
mod sound;
pub mod store;
pub mod variables;
