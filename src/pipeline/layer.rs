//! From a step to its layer.

use super::{Build, carry_out, lists, reads, told};
use crate::archives::pool::Staging;
use crate::base::events::Part;
use crate::base::timings::disk_usage;
use crate::layers::blocks;
use crate::layers::mounts::View;
use crate::layers::schedule::{Entry, Schedule};
use crate::layers::store::{Key, NewLayer, Record};
use crate::layers::variables::stage_work_dir;
use crate::plan::step::StepKind;
use crate::sandbox::stand_ins;
use crate::steps::patch;
use crate::steps::script::Setting;
use anyhow::Result;
use std::path::Path;
use std::time::SystemTime;

impl Build<'_> {
    /// Runs one step on a layer of its own, unless that layer is there.
    pub(super) fn make_layer(&mut self, schedule: &mut Schedule<'_>, index: usize) -> Result<()> {
        let _making = self.store.making(&schedule.entries[index].record.key)?;
        if self.one_of_several && on_the_host(schedule.entries[index].step.kind) {
            // Another build of the same command may have been at the very same step by now.
            self.plan_again(schedule)?;
        }
        let entry = &schedule.entries[index];
        if let Some(record) = self.store.find(&entry.record.key) {
            self.output.say(&format!("cached  {}", record.name));
            told::cached(&record.name, Part::Step, entry.why_cached());
            self.tell_what_is_gone(&record);
            return self.reached(entry);
        }
        let begun = told::begun(
            &entry.record.name,
            Part::Step,
            Some(entry.why()),
            &self.timings,
        );
        let record = self.run_step(schedule, index);
        begun.ended(&record, &self.timings);
        let record = record?;
        let is_planned = record.key == entry.record.key;
        self.known.made.insert(record.name.clone(), record);
        if !is_planned {
            self.plan_again(schedule)?;
            self.fetch(schedule)?;
        }
        self.reached(&schedule.entries[index])
    }

    /// Runs one step and commits its layer, of which the record is returned.
    fn run_step(&mut self, schedule: &Schedule<'_>, index: usize) -> Result<Record> {
        let entry = &schedule.entries[index];
        let name = &entry.record.name;
        let at = stage_work_dir(&self.work, entry.at.stage);
        let (mark, begun) = (self.timings.begin(), SystemTime::now());
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
        let staging = self.staging(entry)?;
        self.share_tmp(entry.at.stage, &at)?;
        let previous = entry.at.previous.filter(|_| before.is_some());
        let previous = previous.map(|stage| stage_work_dir(&self.work, stage));
        let mounts: Vec<_> = [at.clone()].into_iter().chain(previous).collect();
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
        let root = at.join("rootfs");
        let mut sink = |line: &str| output.line(line);
        let result = lists::renew(self.job, &root, &setting, &mut sink)
            .and_then(|()| carry_out(entry.step, &at, &setting, &mut sink))
            .and_then(|opened| {
                let made = reads::made(self.job, entry, &opened, begun)?;
                let key = made.record.key.hash();
                told::downloaded(name, self.archives.save(staging, &root, key)?);
                Ok(made)
            });
        drop(before);
        self.shared.clear();
        match result {
            Ok(made) => {
                output.done();
                self.tell_of(&made);
                let written = self.commit(layer, made.record.clone())?;
                self.timings.end(&mark, name, written);
                Ok(made.record)
            }
            Err(cause) => {
                let last_lines = output.failed();
                self.keep_failed(entry, layer);
                Err(self.failure(name, last_lines, cause))
            }
        }
    }

    /// The packages that a step may see.
    fn staging(&mut self, entry: &Entry<'_>) -> Result<Staging> {
        let below = entry.record.parent.as_ref().map_or("", Key::hash);
        self.archives.staging(&self.work, below)
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

    /// Commits the layer of a step that has succeeded, without the stand-ins it may have. The bytes
    /// that it takes.
    fn commit(&self, layer: NewLayer<'_>, record: Record) -> Result<u64> {
        let beneath = layer.beneath;
        let key = layer.commit(record, |upper| {
            if !beneath {
                stand_ins::forget(&upper.join("rootfs"))?;
            }
            blocks::settle(upper)
        })?;
        self.durable.committed(self.store.layer(&key));
        Ok(disk_usage(&self.store.upper(&key)))
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
            self.share.give_reads(&entry.record);
        }
        let step = entry.record.name.clone();
        self.known.made.insert(step.clone(), entry.record.clone());
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
