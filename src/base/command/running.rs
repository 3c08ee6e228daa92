//! Programs that are read while they run.

use anyhow::{Context, Result};
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::Arc;
use std::time::Duration;

/// Gives each line of `from` to `sink`, without its end.
pub(super) fn lines(from: impl Read, sink: &mut (impl FnMut(&str) + ?Sized)) -> Result<()> {
    let mut lines = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = lines.read_until(b'\n', &mut line);
        if read.context("reading a program's output")? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line);
        // Progress bars redraw with carriage returns: the last state is what counts.
        let text = text.trim_end_matches(['\n', '\r']);
        sink(text.rsplit('\r').next().unwrap_or(text));
    }
}

/// A running program's standard output. The program is ended when this is dropped.
pub struct Console(Source);

enum Source {
    Running(Arc<duct::ReaderHandle>),
    Said(Cursor<Vec<u8>>),
}

impl Console {
    pub(super) fn of(reader: duct::ReaderHandle) -> Self {
        Self(Source::Running(Arc::new(reader)))
    }

    pub(super) fn said(text: Vec<u8>) -> Self {
        Self(Source::Said(Cursor::new(text)))
    }

    /// Reads what is printed, in another thread if need be. The program's end is the end.
    pub fn reader(&self) -> Box<dyn Read + Send> {
        match &self.0 {
            Source::Running(reader) => Box::new(Output(Arc::clone(reader))),
            Source::Said(text) => Box::new(text.clone()),
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Source::Running(reader) = &self.0 {
            // Already gone is as good.
            drop(reader.kill());
            // It cannot stay for long after that, and nobody is to meet it any more.
            for _ in 0..1000 {
                if !matches!(reader.try_wait(), Ok(None)) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

struct Output(Arc<duct::ReaderHandle>);

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buffer)
    }
}
