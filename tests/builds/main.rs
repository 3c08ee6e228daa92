//! Small real builds on real packages, for both architectures.

#[path = "../common/mod.rs"]
mod common;
mod contract;
mod failing;
mod fixture;
mod proof;
mod user;
