//! The package lists that a step finds.

use crate::base::inside::Root;
use crate::layers::job::Job;
use crate::layers::variables;
use crate::sandbox::rootfs::LOCKED_DIR;
use crate::steps::script::{self, Setting};
use anyhow::{Context, Result};
use std::path::Path;

/// Where apt keeps them.
const LISTS: &str = "var/lib/apt/lists";

/// Reads the archive's lists again, if what the step stands on was made by a locked build: there
/// apt knows the locked packages and no others.
pub(super) fn renew(
    job: &Job<'_>,
    root: &Path,
    setting: &Setting<'_>,
    sink: &mut dyn FnMut(&str),
) -> Result<()> {
    if job.locked.is_some() || !root.is_dir() || !has_locked(root)? {
        return Ok(());
    }
    let env = variables::without_settings(setting.env);
    script::chroot_program(root, &["apt-get", "update"], &setting.with(&env))
        .stream(sink)
        .context("reading the archive's package lists, which a locked build has left out")
}

/// Whether the root file system has the index of locked packages.
fn has_locked(root: &Path) -> Result<bool> {
    let begin = format!("_{}_", LOCKED_DIR.replace('/', "_"));
    let entries = Root::open(root)?.entries(LISTS)?;
    let mut names = entries.iter().map(|entry| entry.name.to_string_lossy());
    Ok(names.any(|name| name.starts_with(&begin)))
}
