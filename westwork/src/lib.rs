//! The program on the device.

pub mod checks;
pub mod domain;
pub mod format;
pub mod mustache;
pub mod render;
pub mod root;
pub mod secrets;
pub mod settings;
