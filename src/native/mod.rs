//! Programs of the build machine in place of emulated ones: dispatch, cross toolchains, wheels.
//!
//! May import everything up to `layers`.

pub mod cross;
pub mod dispatch;
pub mod python;
