//! What each kind of step does.

use crate::layers::variables;
use crate::plan::step::{Step, StepKind};
use crate::sandbox::watch::Opened;
use crate::steps::apt::{self, Recommends};
use crate::steps::patch;
use crate::steps::script::{self, Setting};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// Does what the step's kind says, in the mounted work directory of its stage.
///
/// Returns what it has opened of the tree, which its layer then depends on.
///
/// # Errors
/// When the step's files cannot be read, or what it starts does not end well.
pub fn carry_out(
    step: &Step,
    stage_work: &Path,
    setting: &Setting<'_>,
    sink: &mut dyn FnMut(&str),
) -> Result<Opened> {
    let root = stage_work.join("rootfs");
    // What is not a script of the tree sees no settings, so that they need not be in its key.
    let env = variables::without_settings(setting.env);
    let narrow = &setting.with(&env);
    match step.kind {
        StepKind::Prerun | StepKind::RunHost => {
            let script = script::host(&step.path, setting)?;
            script.stream(sink)?;
            return script.opened();
        }
        StepKind::RunChroot => script::chroot(&root, &step.path, setting)?.stream(sink),
        StepKind::Debconf => {
            let answers = read(&step.path)?;
            if apt::is_for_shell(&answers) {
                script::chroot_text(&root, &apt::answer(&answers), setting).stream(sink)
            } else {
                script::chroot_program(&root, &["debconf-set-selections"], narrow)
                    .input(answers)
                    .stream(sink)
            }
        }
        StepKind::PackagesNoRecommends => install(step, &root, setting, Recommends::No, sink),
        StepKind::Packages | StepKind::PackagesNonInteractive => {
            install(step, &root, setting, Recommends::Yes, sink)
        }
        StepKind::Patches => {
            let name = step.name.replace('/', "-");
            patch::apply(&step.path, stage_work, &name, narrow, sink)
        }
    }?;
    Ok(Opened::default())
}

fn install(
    step: &Step,
    root: &Path,
    setting: &Setting<'_>,
    recommends: Recommends,
    sink: &mut dyn FnMut(&str),
) -> Result<()> {
    let packages = apt::parse_list(&read(&step.path)?);
    if packages.is_empty() {
        return Ok(());
    }
    if apt::is_for_shell(&packages.join(" ")) {
        let script = apt::install_by_shell(&packages, recommends);
        return script::chroot_text(root, &script, setting).stream(sink);
    }
    let env = variables::without_settings(setting.env);
    let setting = &setting.with(&env);
    let argv = apt::install(&packages, recommends);
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    script::chroot_program(root, &argv, setting).stream(sink)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}
