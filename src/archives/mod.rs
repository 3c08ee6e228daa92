//! Package archives: mirrors, keys, state, downloads, the shared pool, the lock file.
//!
//! May import `base`, `config`, `sandbox`, `plan`.

pub mod download;
mod gpg;
mod host_apt;
pub mod keyring;
pub mod lockfile;
pub mod mirror;
pub(crate) mod mmdebstrap;
pub mod package;
pub mod pool;
pub mod state;
pub mod trouble;
