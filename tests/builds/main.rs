//! Small real builds on real packages, for both architectures.

#[path = "../common/mod.rs"]
mod common;
mod contract;
mod failing;
mod failures;
mod fixture;
mod kinds;
mod native;
mod proof;
mod user;
