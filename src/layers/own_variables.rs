//! The variables of the stage contract that are not keys of the config, and how each bears on what
//! a step makes. Keys have it in their row of the table of settings.

use crate::config;
use crate::config::row::Bearing;
use crate::sandbox::rootfs;

/// A variable that the program makes itself.
struct Own {
    name: &'static str,
    bearing: Bearing,
}

const fn own(name: &'static str, bearing: Bearing) -> Own {
    Own { name, bearing }
}

/// Places do not count, wherever they are: they do not make a layer another one.
static OWN: &[Own] = &[
    // What programs other than scripts may see, and what the functions of the contract use.
    own("ARCHIVE_KEYS", Bearing::Core),
    own("BOOTSTRAP_OPTIONS", Bearing::Visible),
    own("COMPONENTS", Bearing::Core),
    own("DEBCONF_NONINTERACTIVE_SEEN", Bearing::Core),
    own("DEBIAN_FRONTEND", Bearing::Core),
    own("DEBIAN_MIRROR", Bearing::Core),
    own("DEBIAN_SECURITY_MIRROR", Bearing::Core),
    own("DEBIAN_SUITES", Bearing::Core),
    own("HOME", Bearing::Core),
    own("LC_ALL", Bearing::Core),
    own("PATH", Bearing::Core),
    own("QUILT_NO_DIFF_INDEX", Bearing::Core),
    own("QUILT_NO_DIFF_TIMESTAMPS", Bearing::Core),
    own("QUILT_PATCHES", Bearing::Core),
    own("QUILT_REFRESH_ARGS", Bearing::Core),
    own("SECURITY_MIRROR", Bearing::Core),
    own("EXPORT_DIR", Bearing::Never),
    own("EXPORT_ROOTFS_DIR", Bearing::Never),
    own("PREV_ROOTFS_DIR", Bearing::Never),
    own("PREV_STAGE_DIR", Bearing::Never),
    // What is in the files counts as ARCHIVE_KEYS.
    own("RASPBERRYPI_KEYRING", Bearing::Never),
    own("RASPBIAN_KEYRING", Bearing::Never),
    own("ROOTFS_DIR", Bearing::Never),
    own("SCRIPT_DIR", Bearing::Never),
    own("STAGE_DIR", Bearing::Never),
    own("STAGE_WORK_DIR", Bearing::Never),
    own("SUB_STAGE_DIR", Bearing::Never),
    own("IMG_SUFFIX", Bearing::Named),
    own("PREV_STAGE", Bearing::Visible),
    own("STAGE", Bearing::Visible),
    own("WESTWORK_BIN_SUM", Bearing::Visible),
];

/// Ways for parts of the program to reach one another, which every program of a step has.
const PLUMBING: &[&str] = &[
    "LOG_FILE",
    "TERM",
    "WESTWORK_GEN",
    rootfs::QEMU_CPU_VAR,
    rootfs::EMULATOR_VAR,
];

/// How the variable `name` bears on what a step makes. Names of the user's own are seen by
/// scripts.
pub fn bearing(name: &str) -> Bearing {
    known(name).unwrap_or(Bearing::Visible)
}

fn known(name: &str) -> Option<Bearing> {
    if is_plumbing(name) {
        return Some(Bearing::Never);
    }
    let own = OWN.iter().find(|own| own.name == name);
    own.map(|own| own.bearing)
        .or_else(|| config::row(name).map(|row| row.facts.layers))
}

/// Whether the value of `name` is a secret. None of the program's own is, whatever its name.
pub(super) fn is_secret(name: &str) -> bool {
    !OWN.iter().any(|own| own.name == name) && config::is_secret(name)
}

pub(super) fn is_plumbing(name: &str) -> bool {
    PLUMBING.contains(&name)
}

/// Every variable that the program makes itself.
#[cfg(test)]
fn names() -> impl Iterator<Item = &'static str> {
    OWN.iter()
        .map(|own| own.name)
        .chain(PLUMBING.iter().copied())
}

/// Whether a row says how `name` bears on layers.
#[cfg(test)]
pub(super) fn is_known(name: &str) -> bool {
    known(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::names;
    use crate::config::{self, variables::RESERVED};

    #[test]
    fn no_stage_can_call_a_variable_as_the_program_does() {
        let free = names().filter(|name| !RESERVED.contains(name) && config::row(name).is_none());
        assert_eq!(free.collect::<Vec<_>>(), [""; 0]);
        assert!(RESERVED.is_sorted());
    }
}
