//! `westwork setup`: the pages that lead the owner from a new box to a working one.
//!
//! The box has no certificate yet, so this is plain HTTP: on the box's own access point, whose
//! WPA encrypts it, and on the wired network. Who sets the box up knows the code that is on its
//! screen and its card, and on the access point the same code is the Wi-Fi's password. Nobody can
//! keep the right code out: see `guard` and `connections`.

mod app;
mod connections;
mod form;
mod guard;
mod http;
mod pages;
mod serve;

pub use serve::{Options, serve};
