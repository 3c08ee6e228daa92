//! Small real builds on real Debian packages.

mod failing;
mod fixture;
mod kinds;
mod native;
mod proxy;
mod user;
