//! Small real builds on real packages, for both architectures.

mod attributes;
#[path = "../common/mod.rs"]
mod common;
mod contract;
mod damaged;
mod dispatch;
mod failing;
mod fixture;
mod killed;
mod locked;
mod many;
#[path = "../common/need.rs"]
mod need;
mod ordinary;
mod outside;
mod pigen;
mod pigen_shape;
mod poisoned;
mod proof;
mod quick;
#[path = "../common/schemas.rs"]
mod schemas;
mod secrets;
mod seen;
mod shared;
mod user;
mod wall;
