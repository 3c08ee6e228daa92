//! From a step to its layer.

use super::{Build, carry_out};
use crate::base::timings::disk_usage;
use crate::layers::schedule::{Entry, Schedule};
use crate::layers::store::{Key, View};
use crate::layers::variables::stage_work_dir;
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
            |below, layer| stand_ins::fill(&below.join("rootfs"), layer),
        )?;
        let before = match entry.at.previous {
            Some(previous) if previous.name != entry.at.stage.name => Some(self.store.view(
                &schedule.stack_before_stage(index),
                &stage_work_dir(&self.work, previous),
            )?),
            _ => None,
        };
        if let Some(dispatch) = &self.dispatch {
            for left_out in dispatch.refresh(&at.join("rootfs"))? {
                self.output.log(&format!("emulated: {left_out}"));
                // What was found last of a package counts.
                let name = left_out.split(':').next().unwrap_or_default();
                self.emulated.insert(name.to_owned(), left_out);
            }
        }
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
                let beneath = layer.beneath;
                let key = layer.commit(|upper| match beneath {
                    true => Ok(()),
                    false => stand_ins::forget(&upper.join("rootfs")),
                })?;
                self.durable.committed(self.store.layer(&key));
                self.timings
                    .end(&mark, name, disk_usage(&self.store.upper(&key)));
                self.reached(entry)
            }
            Err(cause) => {
                let last_lines = output.failed();
                self.progress.failed = Some((name.clone(), key.clone()));
                // On a full disk this cannot be done either; the step's failure is what counts.
                let kept = layer.keep_failed().and(self.progress.save(&self.work));
                if let Err(error) = kept {
                    self.output.log(&format!("{error:#}"));
                }
                Err(self.failure(name, last_lines, cause))
            }
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
