//! `westwork setup`: the pages that lead the owner from a new box to a working one.
//!
//! The box has no certificate yet, so this is plain HTTP, on the box's own access point and the
//! wired network. Against strangers in radio range: a one-time code that only somebody at the
//! console or with the card knows, a growing wait after wrong ones, one session at a time.

mod app;
mod form;
mod guard;
mod http;
mod pages;
mod serve;

pub use serve::{Options, serve};
