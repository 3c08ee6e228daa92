//! What a build tells those who listen to its events.

use crate::archives::pool::Downloaded;
use crate::base::events::{self, Event, Origin, Part, Took, Verdict, Why};
use crate::base::timings::Timings;
use crate::export::publish::SUMS;
use crate::layers::schedule::Schedule;
use crate::layers::store::Store;
use anyhow::Result;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A step that has begun.
pub(super) struct Begun {
    step: String,
    part: Part,
    at: Instant,
    /// Rows of the timings until now.
    rows: usize,
}

/// Tells that `step` begins, and `why` if that is known.
pub(super) fn begun(step: &str, part: Part, why: Option<Why>, timings: &Timings) -> Begun {
    let step = step.to_owned();
    events::tell(&Event::StepBegun {
        step: step.clone(),
        part,
        why,
    });
    Begun {
        step,
        part,
        at: Instant::now(),
        rows: timings.rows().len(),
    }
}

impl Begun {
    /// Tells how the step ended. Its last row of `timings` has what it took.
    pub(super) fn ended<T>(self, result: &Result<T>, timings: &Timings) {
        let row = timings.rows().get(self.rows..).and_then(<[_]>::last);
        events::tell(&Event::StepEnded {
            step: self.step,
            part: self.part,
            verdict: match result {
                Ok(_) => Verdict::Done,
                Err(_) => Verdict::Failed,
            },
            seconds: events::seconds(self.at.elapsed()),
            took: row.filter(|_| result.is_ok()).map(|row| Took {
                processor_seconds: events::seconds(row.processor),
                emulated_seconds: events::seconds(row.emulated),
                bytes_written: row.written,
            }),
        });
    }
}

/// Tells that what `step` would make is there.
pub(super) fn cached(step: &str, part: Part, why: Why) {
    events::tell(&Event::StepCached {
        step: step.to_owned(),
        part,
        why,
    });
}

/// Tells how many steps there are to run, by what is in `store` now.
pub(super) fn planned(schedule: &Schedule<'_>, store: &Store) {
    if !events::is_wanted() {
        return;
    }
    let is_there = |key| store.find(key).is_some();
    let records = schedule.entries.iter().map(|entry| &entry.record);
    let cached = records.filter(|record| is_there(&record.key)).count();
    let steps = schedule.entries.len();
    events::tell(&Event::Planned {
        steps,
        cached,
        to_run: steps - cached,
    });
}

/// Tells what `step` has downloaded, if it has.
pub(super) fn downloaded(step: &str, what: Downloaded) {
    if what.packages > 0 {
        events::tell(&Event::Download {
            from: Origin::Archive,
            step: Some(step.to_owned()),
            packages: what.packages,
            layers: 0,
            bytes: what.bytes,
        });
    }
}

/// Tells what came from the shared cache, if something did.
pub(super) fn fetched(layers: usize, packages: usize, bytes: u64) {
    if layers + packages > 0 {
        events::tell(&Event::Download {
            from: Origin::SharedCache,
            step: None,
            packages,
            layers,
            bytes,
        });
    }
}

/// Tells of files in the deploy directory, which were there before if they are `cached`.
pub fn artefacts(files: &[PathBuf], cached: bool) {
    if !events::is_wanted() {
        return;
    }
    let mut known: BTreeMap<&Path, BTreeMap<String, String>> = BTreeMap::new();
    for file in files {
        let dir = file.parent().unwrap_or(Path::new("."));
        let sums = known.entry(dir).or_insert_with(|| sums(dir));
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let sum = sums.get(name.as_ref()).cloned();
        events::tell(&Event::artefact(file, sum, cached));
    }
}

/// The checksums of the files in `dir` by their names, as the exporter has written them there.
fn sums(dir: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(dir.join(SUMS)).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once("  "));
    lines
        .map(|(sum, name)| (name.to_owned(), sum.to_owned()))
        .collect()
}
