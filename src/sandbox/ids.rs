//! User and group ids of the build's user namespace: never those of the machine.
//!
//! Id 0 of the namespace is an ordinary user's own id, as newuidmap(1) has it, and the others
//! come from the range in /etc/subuid and /etc/subgid. For root all of them come from a range of
//! the build's own, [`BASE`]. What belongs to the caller (the tree, the work directory) is then
//! shown with ids shifted by the same amount (id-mapped mounts, mount_setattr(2)), so that it is
//! root's inside and the caller's outside, in both cases.

use crate::base::command::Command;
use crate::base::tool::Tool;
use anyhow::{Context, Result, bail};
use nix::unistd::{Pid, getgid, getuid};
use std::fs;

/// Ids a Debian root file system may use: 0 to 65534, and one to spare.
pub const IDS: u64 = 65536;

/// First id of root's range: the upper half of what the kernel knows. No tool hands ids of it
/// out (systemd's uids-gids.md: "signed" trouble), so it is free on every machine, and it is
/// large enough for owners of any size in an image.
const BASE: u64 = 1 << 31;

/// The last two ids mean "none" and "nobody" here and there.
const END: u64 = u32::MAX as u64 - 1;

/// Where the ids of the build come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// An ordinary user: its own id is 0, and newuidmap(1) gives the others.
    Delegated,
    /// Root: the ids from `base` on, and the caller's files shifted by as many.
    Shifted {
        /// First id of the range, as the machine has it.
        base: u64,
        /// How many ids.
        count: u64,
    },
    /// Root, where files cannot be shown shifted: root's own id is 0, the others are from `base`.
    RootAndRange {
        /// First id of the range, as the machine has it.
        base: u64,
        /// How many ids.
        count: u64,
    },
    /// Root of a container whose own map has no room for another range: that map.
    All,
}

impl Ids {
    /// What this process may have: an ordinary user's delegation, or of root's ids those that
    /// its own map has room for.
    ///
    /// # Errors
    /// When the process's own map cannot be read.
    pub fn wanted() -> Result<Self> {
        if !getuid().is_root() {
            return Ok(Self::Delegated);
        }
        Ok(of_root(&own_map("uid_map")?, &own_map("gid_map")?))
    }

    /// The same without files shown shifted.
    pub fn without_shift(self) -> Self {
        match self {
            Self::Shifted { base, count } => Self::RootAndRange { base, count },
            other => other,
        }
    }

    /// Which owners the files of a layer have on the disk, in a word: layers made under another
    /// word are no use. Ids are kept as the image has them, except under [`Ids::Delegated`] and
    /// [`Ids::RootAndRange`], where they are those of the range.
    pub fn on_disk(self) -> String {
        match self {
            Self::Shifted { .. } | Self::All => "image".to_owned(),
            Self::Delegated => format!("user {}", getuid()),
            Self::RootAndRange { base, .. } => format!("range {base}"),
        }
    }

    /// Lines of uid_map(5): first id inside, first id outside, count.
    fn lines(self) -> String {
        match self {
            Self::Shifted { base, count } => format!("0 {base} {count}\n"),
            Self::RootAndRange { base, count } => {
                format!("0 0 1\n1 {} {}\n", base + 1, count - 1)
            }
            Self::Delegated | Self::All => String::new(),
        }
    }

    /// Writes both maps of `child`, which has just made a user namespace.
    ///
    /// # Errors
    /// When the kernel or newuidmap(1) refuses.
    pub(super) fn write(self, child: Pid) -> Result<()> {
        match self {
            Self::Delegated => {
                let user = nix::unistd::User::from_uid(getuid())
                    .context("looking up the user")?
                    .map_or_else(|| getuid().to_string(), |user| user.name);
                delegate(
                    child,
                    Tool::Newuidmap,
                    "/etc/subuid",
                    &user,
                    getuid().as_raw(),
                )?;
                delegate(
                    child,
                    Tool::Newgidmap,
                    "/etc/subgid",
                    &user,
                    getgid().as_raw(),
                )
            }
            Self::All => write_same(child),
            _ => ["uid_map", "gid_map"].into_iter().try_for_each(|name| {
                let path = format!("/proc/{child}/{name}");
                fs::write(&path, self.lines()).with_context(|| format!("writing {path}"))
            }),
        }
    }
}

/// Ranges of a map of this process: first id inside, and count.
fn own_map(name: &str) -> Result<Vec<(u64, u64)>> {
    let path = format!("/proc/self/{name}");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    Ok(text
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let (inside, count) = (fields.next()?, fields.nth(1)?);
            Some((inside.parse().ok()?, count.parse().ok()?))
        })
        .collect())
}

/// Root's range: the upper half; in a container, what lies beyond the ids that its own files
/// have; else there is no room.
fn of_root(uids: &[(u64, u64)], gids: &[(u64, u64)]) -> Ids {
    let room = |from: u64| {
        let count = |map: &[(u64, u64)]| {
            map.iter()
                .filter(|(first, count)| *first <= from && from < first + count)
                .map(|(first, count)| (first + count).min(END) - from)
                .max()
                .unwrap_or(0)
        };
        count(uids).min(count(gids))
    };
    [BASE, IDS]
        .into_iter()
        .map(|base| (base, room(base)))
        .find(|(_, count)| *count >= IDS)
        .map_or(Ids::All, |(base, count)| Ids::Shifted { base, count })
}

/// Files of /proc/PID with the text that maps every id of the present namespace to itself in one
/// below it.
pub(super) fn own_lines() -> Result<Vec<(&'static str, String)>> {
    let lines = |name| -> Result<(&'static str, String)> {
        let map = own_map(name)?;
        let lines = map
            .iter()
            .map(|(first, count)| format!("{first} {first} {count}\n"));
        Ok((name, lines.collect()))
    };
    ["uid_map", "gid_map"].into_iter().map(lines).collect()
}

fn write_same(child: Pid) -> Result<()> {
    for (name, lines) in own_lines()? {
        let path = format!("/proc/{child}/{name}");
        fs::write(&path, lines).with_context(|| format!("writing {path}"))?;
    }
    Ok(())
}

/// Has the set-id helper `program` (package uidmap) map the caller's own id and its range.
fn delegate(child: Pid, program: Tool, ranges: &str, user: &str, own: u32) -> Result<()> {
    let text = fs::read_to_string(ranges).with_context(|| format!("reading {ranges}"))?;
    let Some((start, count)) = range_of(&text, user, getuid().as_raw()) else {
        bail!("{ranges} has no range of {} ids for {user}", IDS - 1);
    };
    Command::new(program)
        .arg(child.to_string())
        .args(["0", &own.to_string(), "1"])
        .args(["1", &start.to_string(), &count.min(IDS - 1).to_string()])
        .read()
        .map(drop)
}

/// First range of at least [`IDS`] − 1 ids in a subuid(5) or subgid(5) file for a user by name or
/// user id; newgidmap(1) goes by the user's name and id, too, not by the group's.
pub fn range_of(text: &str, user: &str, id: u32) -> Option<(u64, u64)> {
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
    use super::*;

    #[test]
    fn takes_the_first_range_that_is_large_enough() {
        let text = "ann:100000:1000\nbob:165536:65536\nann:231072:65536\n1002:300000:65536\n";
        assert_eq!(range_of(text, "ann", 1001), Some((231_072, 65_536)));
        assert_eq!(range_of(text, "carl", 1002), Some((300_000, 65_536)));
        assert_eq!(range_of(text, "dora", 1003), None);
    }

    #[test]
    fn root_has_a_range_of_its_own_where_there_is_room() {
        let all = [(0, 4_294_967_295)];
        let Ids::Shifted { base, count } = of_root(&all, &all) else {
            panic!("no range for root of the machine");
        };
        assert_eq!((base, base + count), (BASE, END));
        // A container with many ids, and one with just enough for itself.
        let large = [(0, 1_000_000)];
        let shifted = Ids::Shifted {
            base: IDS,
            count: 1_000_000 - IDS,
        };
        assert_eq!(of_root(&large, &large), shifted);
        let small = [(0, 1), (1, 65_536)];
        assert_eq!(of_root(&small, &small), Ids::All);
        assert_eq!(of_root(&all, &small), Ids::All);
    }

    #[test]
    fn the_identity_is_in_no_map_of_root() {
        let ids = Ids::Shifted {
            base: BASE,
            count: IDS,
        };
        assert_eq!(ids.lines(), "0 2147483648 65536\n");
        assert_eq!(ids.without_shift().lines(), "0 0 1\n1 2147483649 65535\n");
    }
}
