//! The program on the device.

pub mod checks;
pub mod directory;
pub mod domain;
pub mod format;
mod ldif;
pub mod mustache;
pub mod render;
pub mod root;
pub mod secrets;
pub mod settings;
pub mod setup;
pub mod web;
