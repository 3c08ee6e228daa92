//! Bringing committed layers to the disk while the build goes on.
//!
//! A step itself never waits for the disk. A thread takes the checksum of each layer, while its
//! files are in memory still, syncs the file system now and then, and marks the layers that
//! were complete before it began.

use anyhow::{Context, Result};
use nix::unistd::syncfs;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between the beginnings of two syncs. The kernel itself writes what is older than 30 s, so
/// this writes little more, only somewhat earlier.
const INTERVAL: Duration = Duration::from_secs(20);

/// Marks a layer as durable: a file of this name in its directory.
pub(crate) const DURABLE: &str = "durable";

/// The thread that syncs. Dropped without [`Durable::finish`], it goes with the process.
pub struct Durable {
    committed: Option<Sender<PathBuf>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Durable {
    /// Starts the thread for the layers in `dir`; `seal` is called with each layer's directory
    /// before it is synced.
    pub(crate) fn start(
        dir: &Path,
        seal: impl Fn(&Path) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let (committed, queue) = channel();
        let dir = dir.to_owned();
        let thread = std::thread::Builder::new()
            .name("durable".to_owned())
            .spawn(move || sync_all(&dir, &queue, &seal))
            .context("starting the thread that syncs")?;
        Ok(Self {
            committed: Some(committed),
            thread: Some(thread),
        })
    }

    /// Tells of a layer that has been committed, by its directory.
    pub fn committed(&self, layer: PathBuf) {
        if let Some(sender) = &self.committed {
            // Without the thread the layer just stays unmarked.
            let _ = sender.send(layer);
        }
    }

    /// Brings the rest to the disk as well, and waits for it.
    pub fn finish(mut self) -> Result<()> {
        self.committed = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Ok(()),
        }
    }
}

fn sync_all(
    dir: &Path,
    queue: &Receiver<PathBuf>,
    seal: &dyn Fn(&Path) -> Result<()>,
) -> Result<()> {
    let mut last: Option<Instant> = None;
    while let Ok(first) = queue.recv() {
        seal(&first)?;
        let mut layers = vec![first];
        let due = last.map_or_else(Instant::now, |last| last + INTERVAL);
        // Whatever is committed until then comes along; at the end of the build, all at once.
        while let Ok(layer) = queue.recv_timeout(due.saturating_duration_since(Instant::now())) {
            seal(&layer)?;
            layers.push(layer);
        }
        last = Some(Instant::now());
        let store = File::open(dir).with_context(|| format!("opening {}", dir.display()))?;
        syncfs(&store).with_context(|| format!("syncing {}", dir.display()))?;
        for layer in layers {
            let mark = layer.join(DURABLE);
            File::create(&mark).with_context(|| format!("making {}", mark.display()))?;
        }
    }
    Ok(())
}
