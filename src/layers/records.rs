//! The record of the layer that a step makes: before it has run as far as is known, and after.

use crate::layers::differences::ARCHIVE;
use crate::layers::identity::{Inputs, Key, Record};
use crate::layers::job::{At, Job};
use crate::layers::key::Files;
use crate::layers::progress::EXPORT_MARK;
use crate::layers::reads::{self, FILE, Read, Tree, real};
use crate::plan::step::Step;
use crate::sandbox::watch::Opened;
use anyhow::Result;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// An input that is another one each time: such a layer is never found again.
const ONCE: &str = "once";

/// Works out records.
pub struct Records<'a, 'b> {
    job: &'b Job<'a>,
    files: Files<'b>,
}

/// A record of a step that has run.
pub struct Made {
    /// Of its layer.
    pub record: Record,
    /// Why the layer is of no use to other builds.
    pub once: Option<String>,
}

impl<'a, 'b> Records<'a, 'b> {
    /// Those of `job`, whose files are read as they are from now on.
    pub fn new(job: &'b Job<'a>) -> Self {
        let tree = Tree::of(job.config);
        Self {
            job,
            files: Files::new(
                job.seal,
                tree,
                &job.config.work_dir,
                job.plan.common.as_ref(),
            )
            .with_secrets(&job.config.variables),
        }
    }

    /// What `step` is called in a build.
    pub(super) fn name(step: &Step, at: &At<'_>) -> String {
        match at.exported {
            Some(exported) => format!("{}{EXPORT_MARK}{}", exported.name, step.name),
            None => step.name.clone(),
        }
    }

    /// The record of `step` on `parent`, if it reads what `like` did besides its stage.
    ///
    /// # Errors
    /// When a file of the tree cannot be read.
    pub(super) fn of(
        &self,
        step: &Step,
        at: &At<'_>,
        parent: Option<Key>,
        like: Option<&Record>,
    ) -> Result<Record> {
        let stage = real(&at.stage.dir);
        let reads = like.map(|like| self.files.tree().reads(&like.inputs, &stage));
        self.with(step, at, parent, &reads.unwrap_or_default())
    }

    fn with(
        &self,
        step: &Step,
        at: &At<'_>,
        parent: Option<Key>,
        reads: &BTreeSet<Read>,
    ) -> Result<Record> {
        let mut found = self
            .files
            .inputs(step, at.stage, &self.job.env(at), reads)?;
        for inputs in [&mut found.inputs, &mut found.before] {
            if parent.is_none() {
                // Every later layer stands on this one, so it carries it for all.
                inputs.insert(ARCHIVE.to_owned(), self.job.state.id.clone());
            }
            if let Some(exported) = at.exported {
                // Scripts know it by the variables of places, which do not count.
                inputs.insert("exported stage".to_owned(), exported.name.clone());
            }
        }
        let before = Key::new(parent.as_ref(), &found.before);
        let record = Record::new(&Self::name(step, at), parent, found.inputs);
        Ok(Record {
            before: Some(before),
            ..record
        })
    }

    /// The record of `step`, which was begun at `begun` as `planned`, and has opened `opened`.
    ///
    /// # Errors
    /// When a file of the tree cannot be read.
    pub fn made(
        &self,
        step: &Step,
        at: &At<'_>,
        planned: &Record,
        opened: &Opened,
        begun: SystemTime,
    ) -> Result<Made> {
        let parent = planned.parent.clone();
        let reads = reads::of(opened);
        let mut record = self.with(step, at, parent.clone(), &reads)?;
        let once = opened
            .unknown
            .as_ref()
            .map(|why| format!("what it reads outside of its stage is not known ({why})"));
        let once = once.or_else(|| {
            let name = changed(&planned.inputs, &record.inputs)
                .or_else(|| self.changed_since(begun, &reads, at))?;
            Some(format!("{name} has changed while it ran"))
        });
        if let Some(why) = &once {
            let value = format!("{why} {:?}", SystemTime::now());
            record.inputs.insert(ONCE.to_owned(), value);
            record.key = Key::new(parent.as_ref(), &record.inputs);
        }
        Ok(Made { record, once })
    }

    /// One of `reads` that was written after `begun`, so that what was read is not known.
    fn changed_since(
        &self,
        begun: SystemTime,
        reads: &BTreeSet<Read>,
        at: &At<'_>,
    ) -> Option<String> {
        let begun = begun.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let is_later = |path: &Path| {
            path.metadata().is_ok_and(|meta| {
                let (seconds, nanos) = (meta.ctime(), meta.ctime_nsec());
                let changed = Duration::new(
                    u64::try_from(seconds).unwrap_or(0),
                    u32::try_from(nanos).unwrap_or(0),
                );
                changed > begun
            })
        };
        let files = reads.iter().filter_map(|read| match read {
            Read::File(path) => Some(path),
            Read::Directory(_) => None,
        });
        let mut later = files.filter(|path| is_later(path));
        later.find_map(|path| self.files.tree().name(FILE, path, &real(&at.stage.dir)))
    }
}

/// The name of an input of both whose value differs.
fn changed(before: &Inputs, now: &Inputs) -> Option<String> {
    let differs =
        |(name, value): &(&String, &String)| now.get(*name).is_some_and(|it| it != *value);
    before.iter().find(differs).map(|(name, _)| name.clone())
}
