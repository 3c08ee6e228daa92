//! The thread that fills a shared cache.

use super::blob::{Shape, checksum};
use super::objects::Objects;
use super::{locked, pack};
use crate::layers::sound;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;

/// What the other thread is to give away.
pub(super) enum Gift {
    Directory {
        name: String,
        dir: PathBuf,
        shape: Shape,
        /// Even if there is one of this name.
        replace: bool,
    },
    File {
        path: PathBuf,
        sha256: String,
    },
    /// In place of what has the name.
    Text {
        name: String,
        text: String,
    },
}

pub(super) struct Uploads {
    pub(super) queue: Sender<Gift>,
    pub(super) thread: JoinHandle<()>,
}

/// Gives everything in the queue; after the first failure nothing more.
pub(super) fn give_all(
    to: &dyn Objects,
    gifts: &Receiver<Gift>,
    work_dir: &Path,
    notes: &Mutex<Vec<String>>,
) {
    for gift in gifts {
        match give(to, &gift, work_dir) {
            Ok(note) => locked(notes).extend(note),
            Err(error) => {
                locked(notes).push(format!(
                    "the shared cache is not filled any further: {error:#}"
                ));
                return;
            }
        }
    }
}

/// Gives one thing, or says why not.
fn give(to: &dyn Objects, gift: &Gift, work_dir: &Path) -> Result<Option<String>> {
    match gift {
        Gift::Text { name, text } => {
            let mut file = tempfile::tempfile_in(work_dir).context("making a file")?;
            file.write_all(text.as_bytes())?;
            file.rewind()?;
            to.put(name, &mut file)?;
        }
        Gift::File { path, sha256 } => {
            let mut file =
                File::open(path).with_context(|| format!("opening {}", path.display()))?;
            let blob = checksum(&mut file)?;
            // The file is another package by now.
            if blob.sha256 != *sha256 || to.has(&blob.name())? {
                return Ok(None);
            }
            file.rewind()?;
            to.put(&blob.name(), &mut file)?;
        }
        Gift::Directory {
            name,
            dir,
            shape,
            replace,
        } => {
            if !replace && to.has(name)? {
                return Ok(None);
            }
            if shape.is_layer() && !sound::is_sound(dir)? {
                return Ok(Some(format!(
                    "{} is damaged, and is not given to the shared cache; `westwork-gen clean --verify` removes it, then build again",
                    dir.display()
                )));
            }
            let mut archive = tempfile::tempfile_in(work_dir).context("making a file")?;
            pack::pack(dir, &shape.parts(), &mut archive)?;
            archive.rewind()?;
            let blob = checksum(&mut archive)?;
            archive.rewind()?;
            to.put(&blob.name(), &mut archive)?;
            // Last, so that it never stands for what is not there.
            let mut line = tempfile::tempfile_in(work_dir).context("making a file")?;
            writeln!(line, "{} {}", blob.sha256, blob.size)?;
            line.rewind()?;
            to.put(name, &mut line)?;
        }
    }
    Ok(None)
}
