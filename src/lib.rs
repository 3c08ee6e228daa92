//! Builds bootable Raspberry Pi images from stage directories.
//!
//! The folders are the bands of the data's way, from the ground up; imports go down only, which
//! `tests/bands.rs` checks. ARCHITECTURE.md has the picture.

#![warn(missing_docs)]

// Its `println!` is everybody's.
#[macro_use]
pub mod base;

pub mod config;

pub mod sandbox;

pub mod plan;

pub mod archives;

pub mod layers;

pub mod native;

pub mod steps;

pub mod export;

pub mod pipeline;

pub mod images;

pub mod check;

pub mod cli;

pub mod commands;

pub use commands::run;

#[cfg(test)]
#[path = "../tests/common/need.rs"]
mod need;
