//! What has to be there before a step runs: its stage's /tmp and /run, and toolchains.

use super::Build;
use crate::layers::context::Context;
use crate::native::{cross, python};
use crate::plan::Stage;
use crate::plan::step::{Step, StepKind};
use crate::sandbox::mounts::{self, Tree};
use anyhow::{Context as _, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use walkdir::WalkDir;

impl Build<'_> {
    /// Mounts the stage's /tmp and /run in its root file system, if it has one: what a step leaves
    /// there is seen by the next one, on both sides, and is gone with the stage, as in pi-gen. They
    /// are in the steps' layers, beside the root file system, and so in no image.
    pub(super) fn share_tmp(&mut self, stage: &Stage, at: &Path) -> Result<()> {
        let Ok(root) = mounts::point(&at.join("rootfs")) else {
            return Ok(());
        };
        for (name, mode) in [("tmp", 0o1777), ("run", 0o755)] {
            let Some(target) = mounts::point_inside(&root, name)? else {
                return Ok(());
            };
            let dir = at.join(format!(".{name}-{}", stage.name));
            if !dir.is_dir() {
                fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
                fs::set_permissions(&dir, fs::Permissions::from_mode(mode))
                    .with_context(|| format!("setting the mode of {}", dir.display()))?;
            }
            Tree::of(&dir)?.attach(&target)?;
            self.shared.insert(at.join("rootfs").join(name));
        }
        Ok(())
    }

    /// Makes the roots that `cross_build` and `python_env` take, if the step's script, or a file
    /// beside it, names these: steps themselves cannot write where trees share.
    pub(super) fn prepare_toolchains(&mut self, step: &Step, context: &Path) -> Result<()> {
        let host = matches!(step.kind, StepKind::Prerun | StepKind::RunHost);
        let dir = step.path.parent().filter(|_| host);
        let Some(dir) = dir.filter(|_| self.job.config.westwork_bin.is_none()) else {
            return Ok(());
        };
        let mut wanted = [("cross_build", false), ("python_env", false)];
        for entry in WalkDir::new(dir).max_depth(2).into_iter().flatten() {
            let small = entry.metadata().is_ok_and(|meta| meta.len() < 1 << 18);
            if !entry.file_type().is_file() || !small {
                continue;
            }
            let text = fs::read(entry.path()).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            for (name, found) in &mut wanted {
                *found |= text.contains(*name);
            }
        }
        let told = Context::load(context)?;
        let [(_, cross), (_, python)] = wanted;
        let mut missing = Vec::new();
        if cross {
            missing.extend(cross::toolchain(&told));
        }
        if python {
            missing.push(python::interpreter(&told));
        }
        missing.retain(|root| !root.is_there(&told));
        for root in missing {
            let mut output = self.output.step(&format!("unpacking {}", root.name));
            match root.make(&told, &mut |line| output.line(line)) {
                Ok(()) => drop(output.done()),
                Err(error) => {
                    output.failed();
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
