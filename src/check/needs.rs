//! Which programs of the build machine a build calls for.

use crate::base::arch::is_foreign;
use crate::base::tool::Tool;
use crate::config::{Bootstrap, Config, Distro, RootKind, Signer};
use crate::plan::Plan;

/// What a build of `plan` calls for, in the order in which it is used.
pub fn needed_to_build(config: &Config, plan: &Plan) -> Vec<Tool> {
    let bootstrap = match config.bootstrap {
        Bootstrap::Mmdebstrap => Tool::Mmdebstrap,
        Bootstrap::Debootstrap => Tool::Debootstrap,
    };
    let mut tools = needed_by_all();
    tools.extend([bootstrap, Tool::DebianKeyring]);
    if is_foreign(config.arch) {
        tools.push(Tool::Emulator(config.arch));
    }
    match config.disk.root {
        RootKind::Ext4 => {}
        RootKind::Squashfs => tools.push(Tool::Mksquashfs),
        RootKind::Erofs => tools.push(Tool::MkfsErofs),
    }
    if plan.has_patches() {
        tools.push(Tool::Quilt);
    }
    if config.distro == Distro::Raspios {
        tools.push(Tool::ArchiveKeys);
    }
    tools.extend(config.sign_with.as_ref().map(Signer::tool));
    tools
}

/// What every build calls for, whatever its settings.
pub fn needed_by_all() -> Vec<Tool> {
    let mut tools = vec![Tool::Bash, Tool::Mount];
    if !nix::unistd::getuid().is_root() {
        tools.extend([Tool::Newuidmap, Tool::Newgidmap]);
    }
    tools.extend([Tool::AptHelper, Tool::Mke2fs, Tool::MkfsFat, Tool::Mcopy]);
    tools
}
