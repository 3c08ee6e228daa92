//! User namespaces, and the ids an ordinary user may have in one.

use super::first_line;
use crate::base::command::Command;
use crate::base::problem::Problem;
use crate::base::tool::Tool;
use crate::sandbox::ids::{IDS, range_of};
use nix::unistd::{User, getuid};
use std::fs;
use std::path::Path;

/// Switches that forbid user namespaces: file, forbidding value, name for sysctl, allowing value.
const SWITCHES: [(&str, &str, &str, &str); 3] = [
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "kernel.unprivileged_userns_clone",
        "1",
    ),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "kernel.apparmor_restrict_unprivileged_userns",
        "0",
    ),
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "user.max_user_namespaces",
        "10000",
    ),
];

/// Whether a user namespace can be made in which one may mount: tried out. Some systems allow
/// the namespace, but nothing in it.
pub(super) fn namespaces() -> Option<Problem> {
    let mount = ["mount", "-t", "tmpfs", "tmpfs", "/tmp"];
    let tried = Command::new(Tool::Unshare)
        .args(["--user", "--map-root-user", "--mount"])
        .args(mount)
        .read();
    let error = tried.err()?;
    Some(forbidden(first_line).unwrap_or_else(|| {
        let what = format!("no user namespace can be made: {error:#}");
        Problem::new(
            what,
            "build on a machine, or in a container, that allows them",
        )
    }))
}

/// The switch that forbids user namespaces.
fn forbidden(read: impl Fn(&str) -> Option<String>) -> Option<Problem> {
    let (_, value, name, allow) = SWITCHES
        .iter()
        .find(|(path, value, _, _)| read(path).as_deref() == Some(*value))?;
    let what = format!("user namespaces are forbidden here by {name}={value}");
    Some(Problem::new(what, format!("sudo sysctl -w {name}={allow}")))
}

/// An ordinary user needs ranges in /etc/subuid and /etc/subgid.
pub(super) fn ranges() -> Vec<Problem> {
    if getuid().is_root() {
        return Vec::new();
    }
    let user = User::from_uid(getuid())
        .ok()
        .flatten()
        .map_or_else(|| getuid().to_string(), |user| user.name);
    ["/etc/subuid", "/etc/subgid"]
        .into_iter()
        .filter_map(|file| range(Path::new(file), &user, getuid().as_raw()))
        .collect()
}

/// Judged as the build does it, which goes by the user's own name and id in both files.
fn range(file: &Path, user: &str, id: u32) -> Option<Problem> {
    let text = fs::read_to_string(file).unwrap_or_default();
    if range_of(&text, user, id).is_some() {
        return None;
    }
    let what = format!("{user} has no range of {} ids here", IDS - 1);
    let ranges = "--add-subuids 100000-165535 --add-subgids 100000-165535";
    Some(Problem::new(what, format!("sudo usermod {ranges} {user}")).at(file))
}

#[cfg(test)]
mod tests {
    use super::{forbidden, range};
    use std::fs;

    #[test]
    fn names_the_switch_that_forbids() {
        let set = |name: &'static str, value: &'static str| {
            move |path: &str| path.ends_with(name).then(|| value.to_owned())
        };
        assert_eq!(forbidden(set("unprivileged_userns_clone", "1")), None);
        let problem = forbidden(set("apparmor_restrict_unprivileged_userns", "1")).unwrap();
        assert_eq!(
            problem.remedy,
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        );
        assert!(forbidden(set("max_user_namespaces", "0")).is_some());
    }

    #[test]
    fn a_range_must_be_large_enough() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("subuid");
        assert!(range(&file, "ann", 1000).is_some());
        fs::write(&file, "ann:100000:1000\n1001:1:65535\nbob:5:65536\n").unwrap();
        let problem = range(&file, "ann", 1000).unwrap();
        assert!(
            problem.remedy.ends_with("--add-subgids 100000-165535 ann"),
            "{problem}"
        );
        assert!(range(&file, "carl", 1001).is_none());
        assert!(range(&file, "bob", 1002).is_none());
    }
}
