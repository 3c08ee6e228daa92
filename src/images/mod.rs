//! Images in hand: reading, comparing, writing and starting them. Nothing of the build.
//!
//! May import `base` alone.

pub mod audit;
pub mod boot;
pub mod diff;
pub mod flash;
#[cfg(any(fuzzing, test))]
pub mod fuzz;
pub mod image;
pub mod inspect;
mod printable;
pub mod report;
pub(crate) mod size;
pub mod test;
pub mod verify;
