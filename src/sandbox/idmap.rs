//! User and group ids of the build's user namespace.

use anyhow::{Context, Result, bail};
use nix::unistd::{Pid, getgid, getuid};
use std::fs;
use std::process::Command;

/// Ids a Debian root file system may use: 0 to 65534, and one to spare.
const IDS: u64 = 65536;

/// Writes both id maps of `child`, which has just made a user namespace.
///
/// Root keeps every id it has. An ordinary user becomes root of the namespace, and ids from
/// 1 on come from the user's range in /etc/subuid and /etc/subgid.
pub(super) fn write(child: Pid) -> Result<()> {
    if getuid().is_root() {
        write_identity(child, "uid_map")?;
        write_identity(child, "gid_map")
    } else {
        let user = nix::unistd::User::from_uid(getuid())
            .context("looking up the user")?
            .map_or_else(|| getuid().to_string(), |user| user.name);
        delegate(child, "newuidmap", "/etc/subuid", &user, getuid().as_raw())?;
        delegate(child, "newgidmap", "/etc/subgid", &user, getgid().as_raw())
    }
}

/// Maps every id of the present namespace to itself.
fn write_identity(child: Pid, name: &str) -> Result<()> {
    let own = format!("/proc/self/{name}");
    let map: String = fs::read_to_string(&own)
        .with_context(|| format!("reading {own}"))?
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let (inside, count) = (fields.next()?, fields.nth(1)?);
            Some(format!("{inside} {inside} {count}\n"))
        })
        .collect();
    let path = format!("/proc/{child}/{name}");
    fs::write(&path, map).with_context(|| format!("writing {path}"))
}

/// Has the set-id helper `program` (package uidmap) map the caller's own id and its range.
fn delegate(child: Pid, program: &str, ranges: &str, user: &str, own: u32) -> Result<()> {
    let text = fs::read_to_string(ranges).with_context(|| format!("reading {ranges}"))?;
    let Some((start, count)) = range_of(&text, user, getuid().as_raw()) else {
        bail!("{ranges} has no range of {} ids for {user}", IDS - 1);
    };
    let output = Command::new(program)
        .arg(child.to_string())
        .args(["0", &own.to_string(), "1"])
        .args(["1", &start.to_string(), &count.min(IDS - 1).to_string()])
        .output()
        .with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        bail!(
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// First range of at least [`IDS`] − 1 ids in a subuid(5) or subgid(5) file for a user by
/// name or user id (in subgid too).
fn range_of(text: &str, user: &str, id: u32) -> Option<(u64, u64)> {
    text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let start = fields.next()?.parse().ok()?;
        let count = fields.next()?.parse().ok()?;
        let ours = owner == user || owner == id.to_string();
        (ours && count >= IDS - 1).then_some((start, count))
    })
}

#[cfg(test)]
mod tests {
    use super::range_of;

    #[test]
    fn takes_the_first_range_that_is_large_enough() {
        let text = "ann:100000:1000\nbob:165536:65536\nann:231072:65536\n1002:300000:65536\n";
        assert_eq!(range_of(text, "ann", 1001), Some((231_072, 65_536)));
        assert_eq!(range_of(text, "carl", 1002), Some((300_000, 65_536)));
        assert_eq!(range_of(text, "dora", 1003), None);
    }
}
