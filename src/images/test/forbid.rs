//! What no image should have.

use super::subject::Subject;
use crate::base::command::PATH;
use crate::images::image::accounts::Passwords;
use crate::images::image::tree::Kind;
use crate::images::printable::printable;
use anyhow::Result;

/// SSH host keys: every copy of the image would be the same machine.
pub(super) fn host_keys(subject: &Subject) -> Result<Vec<String>> {
    let names = subject.root()?.names("/etc/ssh")?;
    let keys = names.into_iter().filter(|name| is_host_key(name));
    Ok(keys
        .map(|name| format!("/etc/ssh/{} is shipped", printable(&name)))
        .collect())
}

/// Whether a name in /etc/ssh is that of a private host key.
pub(super) fn is_host_key(name: &str) -> bool {
    name.starts_with("ssh_host_") && name.ends_with("_key")
}

/// A machine id that is made already (machine-id(5)).
pub(super) fn machine_id(subject: &Subject) -> Result<Vec<String>> {
    let id = subject.text("/etc/machine-id")?;
    let made = !matches!(id.trim(), "" | "uninitialized");
    Ok(made
        .then(|| "/etc/machine-id is made already".to_owned())
        .into_iter()
        .collect())
}

/// Users whom no password is asked for.
pub(super) fn empty_passwords(subject: &Subject) -> Result<Vec<String>> {
    let shadow = subject.text("/etc/shadow")?;
    let names = Passwords::of(&shadow).empty().into_iter();
    Ok(names
        .map(|name| format!("{} needs no password", printable(name)))
        .collect())
}

/// Directories of the search path, and those that they are in, in which everybody may write.
pub(super) fn writable_path(subject: &Subject) -> Result<Vec<String>> {
    const OTHERS_WRITE: u16 = 0o002;
    let root = subject.root()?;
    let mut paths: Vec<&str> = Vec::new();
    for dir in PATH.split(':') {
        let mut at = Some(std::path::Path::new(dir));
        while let Some(path) = at {
            paths.extend(path.to_str());
            at = path.parent();
        }
    }
    paths.sort_unstable();
    paths.dedup();
    let mut faults = Vec::new();
    for path in paths {
        if let Some(dir) = root.lookup(path)? {
            if dir.kind == Kind::Directory && dir.mode & OTHERS_WRITE != 0 {
                faults.push(format!(
                    "everybody may write in {path}, mode {:04o}",
                    dir.mode
                ));
            }
        }
    }
    Ok(faults)
}
