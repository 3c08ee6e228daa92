//! How far writing and reading back are.

use crate::base::size::size;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Between two lines when the output is not a terminal.
const EVERY: Duration = Duration::from_secs(10);

/// A bar with rate and remaining time on a terminal, now and then a line elsewhere.
pub(crate) struct Progress {
    bar: ProgressBar,
    what: &'static str,
    started: Instant,
    shown: Cell<Instant>,
    done: Cell<u64>,
}

impl Progress {
    /// For `total` bytes.
    pub(crate) fn new(what: &'static str, total: u64) -> Self {
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::new(total)
        } else {
            ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden())
        };
        let template = "{prefix:8} {wide_bar:.magenta} {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(what);
        Self {
            bar,
            what,
            started: Instant::now(),
            shown: Cell::new(Instant::now()),
            done: Cell::new(0),
        }
    }

    /// So many bytes more are done.
    pub(crate) fn add(&self, bytes: u64) {
        self.done.set(self.done.get() + bytes);
        self.bar.inc(bytes);
        self.line();
    }

    /// So many bytes need not be done: the total is less.
    pub(crate) fn skip(&self, bytes: u64) {
        let total = self.bar.length().unwrap_or(0);
        self.bar.set_length(total.saturating_sub(bytes));
    }

    fn line(&self) {
        if !self.bar.is_hidden() || self.shown.get().elapsed() < EVERY {
            return;
        }
        self.shown.set(Instant::now());
        let (done, total) = (self.done.get(), self.bar.length().unwrap_or(0));
        let rate = self.rate();
        let left = total.saturating_sub(done) as f64 / rate.max(1.0);
        eprintln!(
            "{}: {} of {}, {}/s, {left:.0} s left",
            self.what,
            size(done),
            size(total),
            size(rate as u64)
        );
    }

    fn rate(&self) -> f64 {
        self.done.get() as f64 / self.started.elapsed().as_secs_f64().max(0.001)
    }

    /// Ends it and says how it went, after `verb`.
    pub(crate) fn done(self, verb: &str) {
        self.bar.finish_and_clear();
        eprintln!(
            "{verb} {} in {:.1} s ({}/s)",
            size(self.done.get()),
            self.started.elapsed().as_secs_f64(),
            size(self.rate() as u64)
        );
    }
}
