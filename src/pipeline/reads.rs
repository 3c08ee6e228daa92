//! What a host script reads besides its stage, and what it leaves besides its layer.

use super::Build;
use crate::layers::job::Job;
use crate::layers::records::{Made, Records};
use crate::layers::schedule::{Entry, Schedule};
use crate::layers::store::Record;
use crate::sandbox::watch::Opened;
use anyhow::Result;
use std::time::SystemTime;

/// The record of the step that was begun at `begun`, now that is known what it has read.
pub(super) fn made(
    job: &Job<'_>,
    entry: &Entry<'_>,
    opened: &Opened,
    begun: SystemTime,
) -> Result<Made> {
    let records = Records::new(job);
    let mut made = records.made(entry.step, &entry.at, &entry.record, opened, begun)?;
    made.record.left.extend(opened.left.iter().cloned());
    Ok(made)
}

impl Build<'_> {
    /// Works out again what is to be done, since a step read other files than it was thought to,
    /// and so has another key: all that stand on it have others too.
    pub(super) fn plan_again(&self, schedule: &mut Schedule<'_>) -> Result<()> {
        let last = self.last.as_ref();
        let fresh = Schedule::after(self.job, self.store, last, &self.known)?;
        schedule.take(fresh);
        Ok(())
    }

    /// Says that files outside of its layer are not made again while that is there, and why there
    /// is no other build that it is of use to.
    pub(super) fn tell_of(&mut self, made: &Made) {
        let Record { name, left, .. } = &made.record;
        if let Some(first) = left.first() {
            self.output.note(&format!(
                "{name} leaves {}{} outside of its layer: not made again while the step is cached",
                first.display(),
                more(left.len())
            ));
        }
        if let Some(why) = &made.once {
            self.output
                .note(&format!("{name} runs again in the next build: {why}"));
        }
    }

    /// Says that a step that does not run would have made files that are gone.
    pub(super) fn tell_what_is_gone(&mut self, record: &Record) {
        let mut gone = record.left.iter().filter(|path| !path.exists());
        if let Some(first) = gone.next() {
            self.output.note(&format!(
                "{} made {}{}, which is gone; `westwork-gen build --set CLEAN=1` makes it again",
                record.name,
                first.display(),
                more(gone.count() + 1)
            ));
        }
    }
}

fn more(count: usize) -> String {
    match count {
        0 | 1 => String::new(),
        count => format!(" and {} more", count - 1),
    }
}
