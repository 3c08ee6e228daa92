//! Builds bootable Raspberry Pi images from stage directories.

pub mod boot;
pub mod config;
pub mod export;
