//! What an image's own accounts say to the user that the first boot is to set.

use crate::images::image::tree::Tree;
use anyhow::Result;

/// The id of the user that the first boot renames.
const FIRST: &str = "1000";

/// Whether `name` belongs to an account or a group other than the first user's own.
pub(super) fn is_taken(root: &Tree, name: &str) -> Result<bool> {
    let of_other = |line: &str| {
        let mut fields = line.split(':');
        fields.next() == Some(name) && fields.nth(1) != Some(FIRST)
    };
    Ok(["/etc/passwd", "/etc/group"].into_iter().any(|path| {
        let text = root.text(path).ok().flatten().unwrap_or_default();
        text.lines().any(of_other)
    }))
}

/// Whether somebody may become root without a password.
pub(super) fn has_sudo_without_password(root: &Tree) -> Result<bool> {
    let mut paths = vec!["/etc/sudoers".to_owned()];
    let names = root.names("/etc/sudoers.d")?.into_iter().take(100);
    paths.extend(names.map(|name| format!("/etc/sudoers.d/{name}")));
    let says = |path: &String| {
        let text = root.text(path).ok().flatten().unwrap_or_default();
        let mut lines = text.lines().map(str::trim);
        lines.any(|line| !line.starts_with('#') && line.contains("NOPASSWD"))
    };
    Ok(paths.iter().any(says))
}
