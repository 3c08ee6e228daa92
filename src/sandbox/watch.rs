//! What a script opened of the tree, by the kernel's own word.
//!
//! A script sees the tree through an overlay of its own, so that what is opened there was opened
//! by the script or by what it started. inotify needs no privilege and costs nothing for files
//! that nobody opens. It does not tell of names that are looked up and are not there, nor of
//! links that are followed: `layers` looks for the first in the script's text, and the second are
//! noted down here.

use super::view::View;
use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use walkdir::{DirEntry, WalkDir};

/// Names the descriptor to which is written what a script has opened.
pub const OPENED_VAR: &str = "WESTWORK_GEN_OPENED";

/// So many directories are watched at most: each takes a kilobyte of the kernel's memory.
const MOST: usize = 100_000;

/// What is told of directories whose contents stay.
const LEFT: AddWatchFlags = AddWatchFlags::IN_CLOSE_WRITE
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_MOVED_TO);

/// What was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Files, absolute, and links that may have led to them.
    pub files: BTreeSet<PathBuf>,
    /// Directories whose names were read.
    pub directories: BTreeSet<PathBuf>,
    /// What was written where it stays.
    #[serde(default)]
    pub left: BTreeSet<PathBuf>,
    /// Why it is not known, where it is not.
    pub unknown: Option<String>,
}

impl Opened {
    pub(super) fn nothing_known(why: impl Into<String>) -> Self {
        Self {
            unknown: Some(why.into()),
            ..Self::default()
        }
    }

    /// What `text` says, as it was written for [`OPENED_VAR`].
    pub fn parse(text: &str) -> Self {
        let parsed = serde_json::from_str(text);
        parsed.unwrap_or_else(|_| Self::nothing_known("nothing was reported"))
    }

    /// As text.
    pub(super) fn text(&self) -> String {
        let text = serde_json::to_string(self);
        text.unwrap_or_else(|_| "{\"files\":[],\"directories\":[],\"unknown\":\"a file that was read has a name that is not UTF-8\"}".to_owned())
    }
}

/// Watches directories and files until it is told to end.
pub(super) struct Watch {
    kernel: Inotify,
    watched: HashMap<WatchDescriptor, PathBuf>,
    /// Links below the watched directories, each with where it leads.
    links: Vec<(PathBuf, PathBuf)>,
    opened: Opened,
}

impl Watch {
    /// Watches what `view` wants watched, in a root that is that view.
    ///
    /// # Errors
    /// When the kernel has no more of what it takes; what is opened is then not known.
    pub(super) fn new(view: &View) -> Result<Self> {
        let kernel = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .context("watching what is opened")?;
        let mut watch = Self {
            kernel,
            watched: HashMap::new(),
            links: Vec::new(),
            opened: Opened::default(),
        };
        let others: BTreeSet<&Path> = view.seen.iter().map(|seen| seen.at.as_path()).collect();
        let mut found = Vec::new();
        for (roots, mask) in [
            (&view.watched, AddWatchFlags::IN_OPEN),
            (&view.lasting, LEFT),
        ] {
            for root in roots {
                found.extend(
                    watch
                        .directories(root, &others)
                        .into_iter()
                        .map(|path| (path, mask)),
                );
            }
        }
        if found.len() > MOST {
            watch.opened = Opened::nothing_known(format!("there are over {MOST} directories"));
            return Ok(watch);
        }
        // Only now: the walk has opened them all.
        for (path, mask) in found {
            // One that is both is watched for both.
            let mask = mask | AddWatchFlags::from_bits_retain(libc::IN_MASK_ADD);
            let watched = watch.kernel.add_watch(&path, mask);
            match watched {
                Ok(descriptor) => drop(watch.watched.insert(descriptor, path)),
                Err(error) => {
                    watch.opened = Opened::nothing_known(format!(
                        "the kernel cannot watch {} directories ({error}); raise \
                         fs.inotify.max_user_watches with sysctl",
                        watch.watched.len() + 1
                    ));
                    break;
                }
            }
        }
        Ok(watch)
    }

    /// The directories below `root`, or the file that it is, without what is mounted there;
    /// links are noted down.
    fn directories(&mut self, root: &Path, others: &BTreeSet<&Path>) -> Vec<PathBuf> {
        let device = std::fs::metadata(root).map(|meta| meta.dev()).ok();
        // Not by walkdir's own option, which goes badly together with a filter.
        let is_here = |entry: &DirEntry| {
            let other = || entry.metadata().map(|meta| meta.dev()).ok() != device;
            entry.depth() == 0
                || !entry.file_type().is_dir()
                || !(others.contains(entry.path()) || other())
        };
        let mut found = Vec::new();
        // What cannot be read by the script's root is not read by it either.
        for entry in WalkDir::new(root)
            .into_iter()
            .filter_entry(is_here)
            .flatten()
        {
            let kind = entry.file_type();
            if kind.is_symlink() {
                if let Ok(target) = entry.path().canonicalize() {
                    self.links.push((entry.into_path(), target));
                }
            } else if kind.is_dir() || entry.depth() == 0 {
                found.push(entry.into_path());
            }
        }
        found
    }

    /// Listens until `end` is closed. What was opened by then.
    pub(super) fn listen(mut self, end: OwnedFd) -> Opened {
        loop {
            let mut ready = [
                PollFd::new(self.kernel.as_fd(), PollFlags::POLLIN),
                PollFd::new(end.as_fd(), PollFlags::POLLIN),
            ];
            let polled = poll(&mut ready, PollTimeout::NONE);
            let ended = ready[1].any().unwrap_or(true);
            if !matches!(polled, Ok(_) | Err(nix::errno::Errno::EINTR)) {
                return Opened::nothing_known("what was opened could not be listened to");
            }
            while let Ok(events) = self.kernel.read_events() {
                for event in events {
                    if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                        self.opened.unknown = Some("too much was opened at once".to_owned());
                    }
                    self.note(event.wd, event.name.as_deref(), event.mask);
                }
            }
            if ended && polled.is_ok() {
                return self.with_links();
            }
        }
    }

    fn note(&mut self, at: WatchDescriptor, name: Option<&std::ffi::OsStr>, mask: AddWatchFlags) {
        let Some(path) = self.watched.get(&at) else {
            return;
        };
        if mask.intersects(LEFT) {
            self.opened.left.extend(name.map(|name| path.join(name)));
            return;
        }
        match (name, mask.contains(AddWatchFlags::IN_ISDIR)) {
            (Some(name), false) => drop(self.opened.files.insert(path.join(name))),
            (None, false) => drop(self.opened.files.insert(path.clone())),
            (None, true) => drop(self.opened.directories.insert(path.clone())),
            // A directory tells of itself.
            (Some(_), true) => {}
        }
    }

    /// A link counts if something was opened that it leads to.
    fn with_links(mut self) -> Opened {
        let opened = &self.opened;
        let is_used = |target: &Path| {
            let mut all = opened.files.iter().chain(&opened.directories);
            all.any(|path| path.starts_with(target))
        };
        let used = self.links.into_iter().filter(|(_, to)| is_used(to));
        let used: Vec<_> = used.map(|(link, _)| link).collect();
        self.opened.files.extend(used);
        self.opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_directories_and_the_links_to_them_are_told_of_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["a", "b/c", "hidden"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        for name in ["a/read", "a/not", "b/c/read", "hidden/read"] {
            fs::write(root.join(name), name).unwrap();
        }
        symlink("a", root.join("to-a")).unwrap();
        symlink("hidden", root.join("to-hidden")).unwrap();
        let mut view = View::default();
        view.see(&root, super::super::view::Access::Read).unwrap();
        view.hide(&root.join("hidden"));
        view.watch(&root).unwrap();
        let watch = Watch::new(&view).unwrap();
        let (end, ended) = nix::unistd::pipe().unwrap();
        let listener = std::thread::spawn(move || watch.listen(end));
        fs::read(root.join("to-a/read")).unwrap();
        fs::read(root.join("b/c/read")).unwrap();
        fs::read(root.join("hidden/read")).unwrap();
        fs::metadata(root.join("a/not")).unwrap();
        fs::read_dir(root.join("b")).unwrap().for_each(drop);
        drop(ended);
        let opened = Opened::parse(&listener.join().unwrap().text());
        let paths = |names: &[&str]| names.iter().map(|name| root.join(name)).collect();
        assert_eq!(opened.files, paths(&["a/read", "b/c/read", "to-a"]));
        assert_eq!(opened.directories, paths(&["b"]));
        assert_eq!(opened.unknown, None);
        assert!(Opened::parse("").unknown.is_some());
    }
}
