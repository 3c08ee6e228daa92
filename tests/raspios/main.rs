//! `DISTRO=raspios` against archives made here: the whole of stages 0 to 2 for both
//! architectures, and archives that do wrong.

mod archive;
#[path = "../common/mod.rs"]
mod common;
mod image;
mod refused;
