//! What a build will do before it does it: for every step the layer it makes, whether that
//! layer is there, and if not, why.

use crate::layers::differences::differences;
use crate::layers::engine::is_host;
use crate::layers::job::{At, Job};
use crate::layers::key::has_secret;
use crate::layers::progress::Progress;
use crate::layers::records::Records;
use crate::layers::store::{Key, Record, Store};
use crate::plan::step::Step;
use crate::plan::{Export, Stage};
use anyhow::{Result, bail};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// A step and its layer.
pub struct Entry<'a> {
    /// The step.
    pub step: &'a Step,
    /// Where it stands in the plan.
    pub at: At<'a>,
    /// The entry whose layer this one stands on.
    parent: Option<usize>,
    /// The last entry of the stage before.
    below: Option<usize>,
    /// Its layer's key, and what that is made of.
    pub record: Record,
    /// Whether it runs.
    pub verdict: Verdict,
    /// It depends on a secret, or stands on a layer that does: its key means nothing to other
    /// machines, and what is in it is nothing for them.
    pub private: bool,
}

/// An image that is made of the layers up to an entry.
pub struct Image<'a> {
    /// What `EXPORT_IMAGE` says.
    pub export: &'a Export,
    /// Its topmost layer.
    pub tip: usize,
}

/// Whether a step runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its layer is there.
    Cached,
    /// Its layer is kept: the interrupted build made it, and is resumed, or its stage has `SKIP`.
    /// What has changed since does not count.
    Kept(Vec<String>),
    /// It runs, for these reasons.
    Run(Reason),
}

/// Why a step runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The last build had no such step.
    New,
    /// What its layer was made from has changed.
    Changed(Vec<String>),
    /// It is the same, but the step of this name before it runs.
    Follows(String),
    /// Nothing has changed, but its layer is gone, or may have been damaged by a power loss.
    Gone,
}

/// What a build knows beyond what is in the store.
#[derive(Debug, Default)]
pub struct Known {
    /// Records of the layers that it has reached already, by their steps' names.
    pub made: BTreeMap<String, Record>,
    /// Records of layers elsewhere, which tell what to look at.
    pub others: Vec<Record>,
}

/// All steps of a build in their order. The stages stand on one another; the export tree's steps
/// for an image stand on its stage, and nothing stands on them.
pub struct Schedule<'a> {
    /// Every step, in order.
    pub entries: Vec<Entry<'a>>,
    /// In the order in which they are made: each as soon as its topmost layer is there.
    pub images: Vec<Image<'a>>,
}

impl<'a> Schedule<'a> {
    /// Works out what `job` has to do on top of what is in `store`.
    ///
    /// # Errors
    /// When a file of the tree cannot be read.
    pub fn new(job: &Job<'a>, store: &Store, last: Option<&Progress>) -> Result<Self> {
        Self::after(job, store, last, &Known::default())
    }

    /// The same for a build that knows more by now.
    ///
    /// # Errors
    /// As [`Schedule::new`].
    pub fn after(
        job: &Job<'a>,
        store: &Store,
        last: Option<&Progress>,
        more: &Known,
    ) -> Result<Self> {
        let mut found = Finding {
            store,
            last,
            resumed: last.filter(|last| job.config.resume && !last.complete),
            records: Records::new(job),
            more,
            known: None,
            keeping: true,
            schedule: Self {
                entries: Vec::new(),
                images: Vec::new(),
            },
        };
        let (mut previous, mut tip) = (None, None);
        for stage in job.plan.stages.iter().filter(|stage| !stage.skip) {
            tip = found.stage(stage, (previous, tip), None)?;
            previous = Some(stage);
            let Some(export) = &stage.export else {
                continue;
            };
            let top = match &job.plan.export_tree {
                Some(tree) => found.stage(&tree.stage, (previous, tip), previous)?,
                None => tip,
            };
            if let Some(tip) = top {
                found.schedule.images.push(Image { export, tip });
            }
        }
        Ok(found.schedule)
    }

    /// Takes keys and verdicts from `fresh`, a schedule of the same job.
    pub fn take(&mut self, fresh: Schedule<'_>) {
        for (old, new) in self.entries.iter_mut().zip(fresh.entries) {
            old.record = new.record;
            old.verdict = new.verdict;
            old.private = new.private;
        }
    }

    fn verdict(
        &self,
        record: &Record,
        parent: Option<usize>,
        store: &Store,
        last: Option<&Progress>,
    ) -> Verdict {
        if store.find(&record.key).is_some() {
            return Verdict::Cached;
        }
        let before = last
            .and_then(|last| last.steps.iter().find(|(name, _)| *name == record.name))
            .and_then(|(_, key)| store.record(key));
        let Some(before) = before else {
            return Verdict::Run(Reason::New);
        };
        let changes = differences(&before.inputs, &record.inputs);
        if !changes.is_empty() {
            return Verdict::Run(Reason::Changed(changes));
        }
        // The lowest one that runs is the cause of all that stand on it.
        let down = std::iter::successors(parent, |index| self.entries[*index].parent);
        let cause = down
            .map(|index| &self.entries[index])
            .filter(|entry| matches!(entry.verdict, Verdict::Run(_)))
            .last();
        match cause {
            Some(entry) => Verdict::Run(Reason::Follows(entry.record.name.clone())),
            None if before.parent != record.parent => {
                let step = parent.map(|index| self.entries[index].record.name.clone());
                Verdict::Run(Reason::Follows(step.unwrap_or_default()))
            }
            None => Verdict::Run(Reason::Gone),
        }
    }

    /// Whether no step runs.
    pub fn nothing_to_run(&self) -> bool {
        !self
            .entries
            .iter()
            .any(|entry| matches!(entry.verdict, Verdict::Run(_)))
    }

    /// The layers up to and with that of entry `tip`, bottom first.
    pub fn stack(&self, tip: usize) -> Vec<Key> {
        self.stack_from(Some(tip))
    }

    /// The layers that entry `index` stands on, bottom first.
    pub fn stack_below(&self, index: usize) -> Vec<Key> {
        self.stack_from(self.entries[index].parent)
    }

    /// The layers of the stage before that of entry `index`, bottom first.
    pub fn stack_before_stage(&self, index: usize) -> Vec<Key> {
        self.stack_from(self.entries[index].below)
    }

    fn stack_from(&self, tip: Option<usize>) -> Vec<Key> {
        let down = std::iter::successors(tip, |index| self.entries[*index].parent);
        let mut stack: Vec<Key> = down
            .map(|index| self.entries[index].record.key.clone())
            .collect();
        stack.reverse();
        stack
    }

    /// The images that are made when entry `index` is there.
    pub fn images_of(&self, index: usize) -> impl Iterator<Item = &Image<'a>> {
        self.images.iter().filter(move |image| image.tip == index)
    }
}

/// A schedule in the making.
struct Finding<'a, 'b> {
    store: &'b Store,
    last: Option<&'b Progress>,
    /// The interrupted build that this one goes on with.
    resumed: Option<&'b Progress>,
    /// Whether it has made every layer so far.
    keeping: bool,
    records: Records<'a, 'b>,
    more: &'b Known,
    /// Layers in the store by what was known before they were made; read when it is needed.
    known: Option<HashMap<Key, Vec<Record>>>,
    schedule: Schedule<'a>,
}

impl<'a> Finding<'a, '_> {
    /// Appends the steps of `stage`, which stands on `below`: that stage and its last entry.
    /// Returns the last entry now.
    fn stage(
        &mut self,
        stage: &'a Stage,
        below: (Option<&'a Stage>, Option<usize>),
        exported: Option<&'a Stage>,
    ) -> Result<Option<usize>> {
        let mut parent = below.1;
        for (step, sub_stage) in steps_of(stage) {
            let at = At {
                stage,
                previous: below.0,
                sub_stage,
                exported,
            };
            let (record, verdict) = self.step(step, &at, parent)?;
            let below_is_private = parent.is_some_and(|index| self.schedule.entries[index].private);
            self.schedule.entries.push(Entry {
                private: below_is_private || has_secret(&record.inputs),
                step,
                at,
                parent,
                below: below.1,
                record,
                verdict,
            });
            parent = Some(self.schedule.entries.len() - 1);
        }
        Ok(parent)
    }

    /// The layer of a step, and whether it is there.
    fn step(
        &mut self,
        step: &Step,
        at: &At<'a>,
        parent: Option<usize>,
    ) -> Result<(Record, Verdict)> {
        if at.stage.kept {
            return self.kept(step, at, parent);
        }
        let name = Records::name(step, at);
        if let Some(record) = self.more.made.get(&name) {
            return Ok((record.clone(), Verdict::Cached));
        }
        let on = parent.map(|index| self.schedule.entries[index].record.key.clone());
        let kept = self
            .resumed
            .filter(|_| self.keeping)
            .and_then(|last| last.steps.get(self.schedule.entries.len()))
            .filter(|(made, _)| *made == name)
            .and_then(|(_, key)| self.store.find(key));
        self.keeping = kept.is_some();
        if let Some(record) = kept {
            let now = self.records.of(step, at, on, Some(&record))?;
            let changes = differences(&record.inputs, &now.inputs);
            return Ok((record, Verdict::Kept(changes)));
        }
        let mut planned = self.records.of(step, at, on.clone(), None)?;
        if is_host(step.kind) {
            // What it read besides its stage is known from when it ran: as in the last build, or
            // in an earlier one of the same script.
            let mut first = None;
            for like in self.alike(&name, &planned) {
                let record = self.records.of(step, at, on.clone(), Some(&like))?;
                if self.store.find(&record.key).is_some() {
                    return Ok((record, Verdict::Cached));
                }
                first.get_or_insert(record);
            }
            planned = first.unwrap_or(planned);
        }
        let verdict = self
            .schedule
            .verdict(&planned, parent, self.store, self.last);
        Ok((planned, verdict))
    }

    /// Records of the step `name` that may tell what it reads: that of the last build first, then
    /// those with the same known before they were made.
    fn alike(&mut self, name: &str, planned: &Record) -> Vec<Record> {
        let last = self.last.into_iter().flat_map(|last| &last.steps);
        let last = last.filter(|(made, _)| made == name);
        let last = last.filter_map(|(_, key)| self.store.record(key));
        let mut alike: Vec<Record> = last.collect();
        let store = self.store;
        let known = self.known.get_or_insert_with(|| store.by_what_was_known());
        if let Some(before) = &planned.before {
            alike.extend(known.get(before).into_iter().flatten().cloned());
            let others = self.more.others.iter();
            alike.extend(
                others
                    .filter(|it| it.before.as_ref() == Some(before))
                    .cloned(),
            );
        }
        alike
    }
}

impl<'a> Finding<'a, '_> {
    /// The layer that an earlier build made of a step whose stage has `SKIP`, whatever has become
    /// of its files since.
    fn kept(&self, step: &Step, at: &At<'a>, parent: Option<usize>) -> Result<(Record, Verdict)> {
        let on = parent.map(|index| &self.schedule.entries[index].record.key);
        let last = self.last.iter().flat_map(|last| &last.steps);
        let made = last
            .filter(|(name, _)| *name == step.name)
            .find_map(|(_, key)| self.store.find(key));
        let Some(record) = made.filter(|record| record.parent.as_ref() == on) else {
            let skip = at.stage.dir.join("SKIP");
            bail!(
                "{}: this file keeps what an earlier build made of the stage, and no build has made {}; \
                 remove it for one build, or leave the stage out of STAGE_LIST",
                skip.display(),
                step.name
            );
        };
        let now = self.records.of(step, at, on.cloned(), Some(&record));
        let inputs = now.map_or_else(|_| record.inputs.clone(), |now| now.inputs);
        let changes = differences(&record.inputs, &inputs);
        Ok((record, Verdict::Kept(changes)))
    }
}

/// The steps of a stage with the sub-stage each is in.
pub(crate) fn steps_of(stage: &Stage) -> impl Iterator<Item = (&Step, Option<&Path>)> {
    let prerun = stage.prerun.iter().map(|step| (step, None));
    let subs = stage
        .sub_stages
        .iter()
        .flat_map(|sub| sub.steps.iter().map(|step| (step, Some(sub.dir.as_path()))));
    prerun.chain(subs)
}
