//! From a step to its layer.

use super::{Build, carry_out};
use crate::base::timings::disk_usage;
use crate::layers::mounts::View;
use crate::layers::schedule::{Entry, Schedule};
use crate::layers::store::{Key, NewLayer};
use crate::layers::variables::stage_work_dir;
use crate::plan::step::StepKind;
use crate::sandbox::stand_ins;
use crate::steps::patch;
use crate::steps::script::Setting;
use anyhow::Result;
use std::path::Path;

impl Build<'_> {
    /// Runs one step on a layer of its own, unless that layer is there.
    pub(super) fn make_layer(&mut self, schedule: &Schedule<'_>, index: usize) -> Result<()> {
        let entry = &schedule.entries[index];
        let (name, key) = (&entry.record.name, &entry.record.key);
        let at = stage_work_dir(&self.work, entry.at.stage);
        // Another build of the same command may be at the very same step.
        let _making = self.store.making(key)?;
        if self.store.find(key).is_some() {
            self.output.say(&format!("cached  {name}"));
            return self.reached(entry);
        }
        let mark = self.timings.begin();
        let layer = self.store.begin(
            entry.record.clone(),
            &schedule.stack_below(index),
            &at,
            |below, layer| match on_the_host(entry.step.kind) {
                // It sees the image's files as they are; what it runs in the image finds them.
                true => Ok(false),
                false => stand_ins::fill(&below.join("rootfs"), layer),
            },
        )?;
        let before = self.stage_before(schedule, index)?;
        self.refresh_dispatch(&at)?;
        let below = entry.record.parent.as_ref().map_or("", Key::hash);
        let staging = self.archives.staging(&self.work, below)?;
        self.share_tmp(entry.at.stage, &at)?;
        let mut mounts = vec![at.clone()];
        if let (Some(_), Some(previous)) = (&before, entry.at.previous) {
            mounts.push(stage_work_dir(&self.work, previous));
        }
        let context = self.context(&entry.at, &mounts, Some(&staging), layer.beneath)?;
        self.prepare_toolchains(entry.step, &context)?;
        let env = self.env(&entry.at);
        let setting = Setting {
            env: &env,
            context: &context,
        };
        let mut output = self.output.step(name);
        if patch::wants_shell(entry.step) {
            output.leave_terminal();
        }
        let result = carry_out(entry.step, &at, &setting, &mut |line| output.line(line))
            .and_then(|()| self.archives.save(staging, &at.join("rootfs"), key.hash()));
        drop(before);
        self.shared.clear();
        match result {
            Ok(()) => {
                output.done();
                let key = self.commit(layer)?;
                self.timings
                    .end(&mark, name, disk_usage(&self.store.upper(&key)));
                self.reached(entry)
            }
            Err(cause) => {
                let last_lines = output.failed();
                self.keep_failed(entry, layer);
                Err(self.failure(name, last_lines, cause))
            }
        }
    }

    /// Shows the last stage's result at its own place, if the step at `index` is of another one.
    fn stage_before(&self, schedule: &Schedule<'_>, index: usize) -> Result<Option<View>> {
        let at = &schedule.entries[index].at;
        let Some(previous) = at.previous.filter(|stage| stage.name != at.stage.name) else {
            return Ok(None);
        };
        let view = self.store.view(
            &schedule.stack_before_stage(index),
            &stage_work_dir(&self.work, previous),
        )?;
        Ok(Some(view))
    }

    /// Decides anew what runs natively in the root file system below `at`.
    fn refresh_dispatch(&mut self, at: &Path) -> Result<()> {
        let Some(dispatch) = &self.dispatch else {
            return Ok(());
        };
        for left_out in dispatch.refresh(&at.join("rootfs"))? {
            self.output.log(&format!("emulated: {left_out}"));
            // What was found last of a package counts.
            let name = left_out.split(':').next().unwrap_or_default();
            self.emulated.insert(name.to_owned(), left_out);
        }
        Ok(())
    }

    /// Commits the layer of a step that has succeeded, without the stand-ins it may have.
    fn commit(&self, layer: NewLayer<'_>) -> Result<Key> {
        let beneath = layer.beneath;
        let key = layer.commit(|upper| match beneath {
            true => Ok(()),
            false => stand_ins::forget(&upper.join("rootfs")),
        })?;
        self.durable.committed(self.store.layer(&key));
        Ok(key)
    }

    /// Keeps the layer of a step that has failed aside.
    fn keep_failed(&mut self, entry: &Entry<'_>, layer: NewLayer<'_>) {
        let record = &entry.record;
        self.progress.failed = Some((record.name.clone(), record.key.clone()));
        // On a full disk this cannot be done either; the step's failure is what counts.
        let kept = layer.keep_failed().and(self.progress.save(&self.work));
        if let Err(error) = kept {
            self.output.log(&format!("{error:#}"));
        }
    }

    fn reached(&mut self, entry: &Entry<'_>) -> Result<()> {
        let key = &entry.record.key;
        if !entry.private {
            self.share.give_layer(key, self.store.layer(key));
        }
        let step = entry.record.name.clone();
        self.progress.steps.push((step, key.clone()));
        self.progress.save(&self.work)
    }
}

/// Whether a step works on the root file system from outside.
fn on_the_host(kind: StepKind) -> bool {
    matches!(
        kind,
        StepKind::Prerun | StepKind::RunHost | StepKind::Patches
    )
}
