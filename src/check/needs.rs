//! Which programs of the build machine a task calls for.

use crate::base::arch::is_foreign;
use crate::base::tool::{Task, Tool};
use crate::config::{Arch, Bootstrap, Config, Distro, RootKind, Signer};
use crate::plan::Plan;

/// What `task` calls for, in the order in which it is used. `input` is what the config and the
/// tree say of it, if that is known: much depends on them.
pub fn needed(task: Task, input: Option<(&Config, &Plan)>) -> Vec<Tool> {
    let of_task = |tool: &Tool| tool.tasks().contains(&task) && applies(*tool, input);
    Tool::ALL.into_iter().filter(of_task).collect()
}

/// Whether the settings, the tree and this machine call for `tool`, if the task does.
fn applies(tool: Tool, input: Option<(&Config, &Plan)>) -> bool {
    let config = input.map(|(config, _)| config);
    let with = |condition: fn(&Config) -> bool| config.is_some_and(condition);
    match tool {
        Tool::Newuidmap | Tool::Newgidmap => !nix::unistd::getuid().is_root(),
        Tool::Mmdebstrap => with(|config| config.bootstrap == Bootstrap::Mmdebstrap),
        Tool::Debootstrap => with(|config| config.bootstrap == Bootstrap::Debootstrap),
        Tool::DebianKeyring => config.is_some(),
        // Without settings the architecture is not known, but one package has every emulator.
        Tool::Emulator(arch) => {
            let wanted = config.map_or(Arch::Arm64, |config| config.arch);
            is_foreign(arch) && arch == wanted
        }
        Tool::Mksquashfs => with(|config| config.disk.root == RootKind::Squashfs),
        Tool::MkfsErofs => with(|config| config.disk.root == RootKind::Erofs),
        Tool::Tar => with(|config| config.cache_from.is_some() || config.cache_to.is_some()),
        Tool::Quilt => input.is_some_and(|(_, plan)| plan.has_patches()),
        Tool::ArchiveKeys => with(|config| config.distro == Distro::Raspios),
        Tool::Gpg | Tool::Minisign => config
            .and_then(|config| config.sign_with.as_ref().map(Signer::tool))
            .is_some_and(|signer| signer == tool),
        // There only where the user is not root; and always the tools root's own.
        Tool::Sudo | Tool::Loader => false,
        // One of the two: the image, which nobody has looked into yet, says which. If there is
        // none, Debian's package has both.
        Tool::QemuSystem(arch) => {
            let other = match arch {
                Arch::Arm64 => Tool::QemuSystem(Arch::Armhf),
                Arch::Armhf => Tool::QemuSystem(Arch::Arm64),
            };
            other.find().is_none()
        }
        _ => true,
    }
}
