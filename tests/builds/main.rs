//! Small real builds on real packages, for both architectures.

mod attributes;
#[path = "../common/mod.rs"]
mod common;
mod contract;
mod dispatch;
mod failing;
mod fixture;
mod killed;
mod locked;
mod ordinary;
mod pigen;
mod proof;
mod secrets;
mod shared;
mod user;
