//! What each kind of step does, in the mounted work directory of its stage.
//!
//! May import everything up to `native`.

pub mod apt;
pub mod bootstrap;
pub mod patch;
mod request;
pub mod script;
mod trace;
