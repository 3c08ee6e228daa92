//! The program on the device.

pub mod format;
pub mod mustache;
