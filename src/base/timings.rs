//! Where a build's time goes: `build --timings`.

use anyhow::Result;
use nix::sys::resource::{UsageWho, getrusage};
use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often processes are looked at to tell emulated from native time. A process that
/// lives shorter than this counts as native, so the emulated share is a lower bound.
const SAMPLE: Duration = Duration::from_millis(10);

/// Name that a process under qemu-user has: that of the file the dispatcher starts.
const EMULATOR: &str = "emulator";

/// One row of the table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// What took the time, as the user is told.
    pub name: String,
    /// From begin to end.
    pub wall: Duration,
    /// Processor time of the step: this program's and everything's that it started.
    pub processor: Duration,
    /// The part of it spent under qemu-user.
    pub emulated: Duration,
    /// Bytes the step's layer takes.
    pub written: u64,
}

/// Measures a build step by step.
pub struct Timings {
    started: Instant,
    rows: Vec<Row>,
    sampler: Sampler,
}

impl Timings {
    /// Starts the clock.
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            rows: Vec::new(),
            sampler: Sampler::start(),
        }
    }

    /// Begins to measure; give the result to [`Timings::end`].
    pub fn begin(&self) -> Mark {
        Mark {
            at: Instant::now(),
            processor: processor_time(),
            emulated: self.sampler.emulated(),
        }
    }

    /// What has been measured so far.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Adds a row for what happened since `mark`.
    pub fn end(&mut self, mark: &Mark, name: &str, written: u64) {
        self.rows.push(Row {
            name: name.to_owned(),
            wall: mark.at.elapsed(),
            processor: processor_time().saturating_sub(mark.processor),
            emulated: self.sampler.emulated().saturating_sub(mark.emulated),
            written,
        });
    }
}

impl Default for Timings {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Timings {
    /// The table, what lies between its rows, and the whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.started.elapsed();
        let mut sum = Row::default();
        writeln!(
            f,
            "{:>8} {:>9} {:>9} {:>8} {:>8}  step",
            "wall s", "native s", "emulated", "cpu s", "MB"
        )?;
        for row in &self.rows {
            write_row(f, row)?;
            sum.wall += row.wall;
            sum.processor += row.processor;
            sum.emulated += row.emulated;
            sum.written += row.written;
        }
        let between = Row {
            name: "(between steps)".to_owned(),
            wall: whole.saturating_sub(sum.wall),
            ..Row::default()
        };
        write_row(f, &between)?;
        sum.wall = whole;
        sum.name = "whole build".to_owned();
        write_row(f, &sum)
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, row: &Row) -> fmt::Result {
    writeln!(
        f,
        "{:>8.1} {:>9.1} {:>9.1} {:>8.1} {:>8.1}  {}",
        row.wall.as_secs_f64(),
        row.processor.saturating_sub(row.emulated).as_secs_f64(),
        row.emulated.as_secs_f64(),
        row.processor.as_secs_f64(),
        row.written as f64 / 1e6,
        row.name
    )
}

/// A moment to measure from.
pub struct Mark {
    at: Instant,
    processor: Duration,
    emulated: Duration,
}

/// Processor time of this process and of all children that have ended and were waited for.
fn processor_time() -> Duration {
    time_of(UsageWho::RUSAGE_SELF) + time_of(UsageWho::RUSAGE_CHILDREN)
}

fn time_of(who: UsageWho) -> Duration {
    let Ok(usage) = getrusage(who) else {
        return Duration::ZERO;
    };
    let micros = |time: nix::sys::time::TimeVal| {
        let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
        Duration::from_micros(u64::try_from(micros).unwrap_or_default())
    };
    micros(usage.user_time()) + micros(usage.system_time())
}

/// Bytes that the files below `dir` take on disk.
pub fn disk_usage(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = walkdir::WalkDir::new(dir).into_iter().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|meta| meta.blocks() * 512)
        .sum()
}

/// A thread that adds up the processor time of processes under qemu-user.
struct Sampler {
    ticks: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    fn start() -> Self {
        let (ticks, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (shared_ticks, shared_stop) = (Arc::clone(&ticks), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut seen = HashMap::new();
            while !shared_stop.load(Ordering::Relaxed) {
                if let Ok(more) = sample(&mut seen) {
                    shared_ticks.fetch_add(more, Ordering::Relaxed);
                }
                std::thread::sleep(SAMPLE);
            }
        });
        Self {
            ticks,
            stop,
            thread: Some(thread),
        }
    }

    fn emulated(&self) -> Duration {
        // Clock ticks of /proc/PID/stat are hundredths of a second on every Linux there is.
        Duration::from_millis(self.ticks.load(Ordering::Relaxed) * 10)
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say and cannot fail.
            let _ = thread.join();
        }
    }
}

/// Ticks that emulated processes have used since the last look; `seen` maps processes to
/// their ticks.
fn sample(seen: &mut HashMap<String, u64>) -> Result<u64> {
    let mut now = HashMap::new();
    let mut more = 0;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        let Ok(stat) = fs::read_to_string(format!("/proc/{name}/stat")) else {
            continue;
        };
        if let Some(ticks) = emulated_ticks(&stat) {
            more += ticks.saturating_sub(seen.get(&name).copied().unwrap_or(0));
            now.insert(name, ticks);
        }
    }
    *seen = now;
    Ok(more)
}

/// User and system ticks of a process under qemu-user; proc_pid_stat(5), fields 14 and 15.
fn emulated_ticks(stat: &str) -> Option<u64> {
    let (head, tail) = stat.rsplit_once(") ")?;
    if !head.ends_with(&format!("({EMULATOR}")) {
        return None;
    }
    let mut fields = tail.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_emulated_processes_count() {
        let tail = "S 1 1 1 0 -1 4194304 100 0 0 0 7 5 0 0 20 0 1 0 100 0 0";
        assert_eq!(emulated_ticks(&format!("12 (emulator) {tail}")), Some(12));
        assert_eq!(emulated_ticks(&format!("12 (bash) {tail}")), None);
    }

    #[test]
    fn the_rows_and_what_is_between_them_make_the_whole() {
        let mut timings = Timings::new();
        let mark = timings.begin();
        std::thread::sleep(Duration::from_millis(120));
        timings.end(&mark, "a step", 2_000_000);
        let table = timings.to_string();
        let walls: Vec<f64> = table
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(walls.len(), 3, "{table}");
        assert!((walls[0] + walls[1] - walls[2]).abs() < 0.11, "{table}");
        assert!(table.contains("2.0  a step"), "{table}");
    }
}
