//! mmdebstrap as this program starts it: as root of the build's namespaces, into a directory.

use crate::base::command::Command;
use crate::base::tool::Tool;
use crate::config::proxy;
use std::path::Path;

/// Where apt in a root keeps what it has downloaded.
const ARCHIVES: &str = "var/cache/apt/archives";

/// The moment at which the package cache is taken out of the new root again.
pub(crate) enum Until {
    /// When the packages are unpacked.
    Extracted,
    /// When everything is done.
    Customized,
}

/// The command so far: variant, suite, directory and sources are still to be named.
pub(crate) fn mmdebstrap(through: Option<&str>) -> Command {
    Command::new(Tool::Mmdebstrap)
        .sets(proxy::variables(through))
        .args(["--mode=root", "--format=directory"])
}

/// As [`mmdebstrap`], for a root whose packages are unpacked and never configured.
pub(crate) fn extract(through: Option<&str>) -> Command {
    mmdebstrap(through).arg("--variant=extract")
}

/// Shows the package cache `archives` to apt from the first download on.
pub(crate) fn with_archives(command: Command, archives: &Path, until: &Until) -> Command {
    let quoted = archives.to_string_lossy().replace('\'', r"'\''");
    let last = match until {
        Until::Extracted => "extract",
        Until::Customized => "customize",
    };
    command
        .arg(format!(
            "--setup-hook=mkdir -p \"$1/{ARCHIVES}\" && mount --bind '{quoted}' \"$1/{ARCHIVES}\""
        ))
        .arg(format!("--{last}-hook=umount \"$1/{ARCHIVES}\""))
}
