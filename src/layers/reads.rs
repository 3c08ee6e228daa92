//! What a host script reads besides its stage: told by `sandbox::watch` when it has run, and
//! part of its layer's key from then on.

use super::facts::{NOTHING, hash};
use crate::archives::lockfile;
use crate::config::Config;
use crate::layers::identity::Inputs;
use crate::sandbox::watch::Opened;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// How inputs of files begin.
pub(super) const FILE: &str = "file ";
/// How inputs of directories, whose names were read, begin.
pub(super) const DIRECTORY: &str = "directory ";
/// Stands before what lies in the tree, outside of the step's stage.
pub(super) const OF_TREE: &str = "of the tree ";

/// A file, or the names in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Read {
    /// What is in the file.
    File(PathBuf),
    /// Which names there are.
    Directory(PathBuf),
}

/// The tree, as far as it says what a path of it is called.
pub struct Tree {
    base: PathBuf,
    /// What is the program's own, perhaps below it.
    apart: Vec<PathBuf>,
    /// What scripts see besides.
    besides: Vec<PathBuf>,
}

/// A path without links in it, as far as it is there.
pub(super) fn real(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    match (path.parent(), path.file_name()) {
        (Some(dir), Some(name)) => real(dir).join(name),
        _ => path.to_owned(),
    }
}

impl Tree {
    /// The tree of `config`.
    pub fn of(config: &Config) -> Self {
        let lock = lockfile::path_of(config);
        let own = [
            &config.work_dir,
            &config.cache_dir,
            &config.deploy_dir,
            &lock,
        ];
        let stages = config.stage_list.iter().chain([&config.export_config_dir]);
        let hosts = config.host_paths.iter().map(|host| &host.path);
        Self {
            base: real(&config.base_dir),
            apart: own.into_iter().map(|dir| real(dir)).collect(),
            besides: stages.chain(hosts).map(|path| real(path)).collect(),
        }
    }

    /// What an input of `kind` is called whose path, without links, is `path`. `None` for what is
    /// none of the tree's.
    pub(super) fn name(&self, kind: &str, path: &Path, stage: &Path) -> Option<String> {
        if self.is_apart(path) {
            return None;
        }
        let (place, path) = match (path.strip_prefix(stage), path.strip_prefix(&self.base)) {
            (Ok(path), _) => ("", path),
            (_, Ok(path)) => (OF_TREE, path),
            _ => ("", path),
        };
        let path = match path.as_os_str().is_empty() {
            true => Path::new("."),
            false => path,
        };
        Some(format!("{kind}{place}{}", path.display()))
    }

    /// Whether the path is of the tree, or of what is opened to scripts besides.
    pub(super) fn has(&self, path: &Path) -> bool {
        let places = self.besides.iter().chain([&self.base]);
        !self.is_apart(path) && places.into_iter().any(|place| path.starts_with(place))
    }

    fn is_apart(&self, path: &Path) -> bool {
        self.apart.iter().any(|dir| path.starts_with(dir))
    }

    /// The reads that `inputs` name, those of the stage at `stage` among them.
    pub(super) fn reads(&self, inputs: &Inputs, stage: &Path) -> BTreeSet<Read> {
        let place = |path: &str| match path.strip_prefix(OF_TREE) {
            Some(path) => self.base.join(path),
            // Of an absolute path it is that.
            None => stage.join(path),
        };
        let read = |name: &String| {
            let file = name.strip_prefix(FILE).map(|path| Read::File(place(path)));
            let names = name.strip_prefix(DIRECTORY);
            file.or_else(|| Some(Read::Directory(place(names?))))
        };
        // Records come from other machines too, which have no say in what is looked at here.
        let is_ours = |read: &Read| {
            let (Read::File(path) | Read::Directory(path)) = read;
            let up = path.components().any(|part| part == Component::ParentDir);
            !up && (path.starts_with(stage) || self.has(path))
        };
        inputs.keys().filter_map(read).filter(is_ours).collect()
    }

    /// A hash of the names in the directory `path`, and of what each is, without the program's
    /// own, such as the lock file, which a build writes.
    pub(super) fn listing(&self, path: &Path) -> String {
        let Ok(entries) = fs::read_dir(path) else {
            return NOTHING.to_owned();
        };
        let mut names = Vec::new();
        for entry in entries.flatten() {
            if self.is_apart(&entry.path()) {
                continue;
            }
            let kind = match entry.file_type() {
                Ok(kind) if kind.is_dir() => "/".to_owned(),
                Ok(kind) if kind.is_symlink() => {
                    let target = fs::read_link(entry.path()).unwrap_or_default();
                    format!("@{}", target.display())
                }
                _ => String::new(),
            };
            names.push(format!("{:?}{kind}", entry.file_name()));
        }
        names.sort();
        let mut text = String::new();
        for name in names {
            let _ = writeln!(text, "{name}");
        }
        hash(text)
    }
}

/// What `opened` says was read.
pub(super) fn of(opened: &Opened) -> BTreeSet<Read> {
    let files = opened.files.iter().cloned().map(Read::File);
    let directories = opened.directories.iter().cloned().map(Read::Directory);
    files.chain(directories).collect()
}
