//! Where the tree is, and what files and folders of it are called.

use super::reader::Reader;
use std::path::{Path, PathBuf};

/// The stages: as listed, or all of the tree.
pub(super) fn stages(reader: &mut Reader<'_>) -> Vec<PathBuf> {
    let base = &base_dir(reader);
    let text = reader.get();
    if text.is_empty() {
        let own = stages_of(base);
        return match installed_dir() {
            Some(dir) if own.is_empty() => stages_of(&dir),
            _ => own,
        };
    }
    let paths: Vec<PathBuf> = listed(text, base)
        .into_iter()
        .flat_map(|word| stage_dirs(&word, base, &reader.request.cwd))
        .collect();
    for path in &paths {
        if !path.is_dir() {
            let what = format!("there is no stage directory {}", path.display());
            reader.blame((
                what,
                "correct the path; it is relative to the tree".to_owned(),
            ));
        }
    }
    paths.into_iter().filter(|path| path.is_dir()).collect()
}

/// The words of `STAGE_LIST`. A path with spaces can be an array's element, or the only one.
fn listed(text: &str, base: &Path) -> Vec<String> {
    let words: Vec<&str> = if text.contains(ELEMENT_END) {
        text.split(ELEMENT_END).collect()
    } else if base.join(text).is_dir() {
        vec![text]
    } else {
        text.split_whitespace().collect()
    };
    let full = words.into_iter().filter(|word| !word.is_empty());
    full.map(str::to_owned).collect()
}

/// Stands between the elements of an array of paths.
pub(super) const ELEMENT_END: char = '\u{1f}';

/// The directories that a word of `STAGE_LIST` means: as a path or a pattern, in the tree, where
/// the program was started, or among the installed ones. One that is nowhere is in the tree.
fn stage_dirs(word: &str, base: &Path, cwd: &Path) -> Vec<PathBuf> {
    let installed = installed_dir();
    for dir in [Some(base), Some(cwd), installed.as_deref()]
        .into_iter()
        .flatten()
    {
        let path = dir.join(word);
        if path.is_dir() {
            return vec![path];
        }
        let pattern = Path::new(&glob::Pattern::escape(&dir.to_string_lossy())).join(word);
        let found = glob::glob(&pattern.to_string_lossy());
        let found: Vec<_> = found
            .into_iter()
            .flatten()
            .flatten()
            .filter(|path| path.is_dir())
            .collect();
        if !found.is_empty() {
            return found;
        }
    }
    vec![base.join(word)]
}

fn stages_of(base: &Path) -> Vec<PathBuf> {
    let dir = if base.join("stages").is_dir() {
        base.join("stages")
    } else {
        base.to_owned()
    };
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut stages: Vec<PathBuf> = entries
        .filter(|entry| {
            entry.file_name().to_string_lossy().starts_with("stage") && entry.path().is_dir()
        })
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name != "stages"))
        .collect();
    stages.sort();
    stages
}

/// Where a package puts the stages: `share/westwork-gen` beside the `bin` of this program.
fn installed_dir() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let dir = program.parent()?.parent()?.join("share/westwork-gen");
    dir.join("stages").is_dir().then_some(dir)
}

/// The tree: as set, else as [`found`].
pub(super) fn base_dir(reader: &Reader<'_>) -> PathBuf {
    let (request, raw) = (reader.request, reader.raw);
    let set = reader.get_of("BASE_DIR");
    if !set.is_empty() {
        return request.cwd.join(set);
    }
    found(&request.cwd, raw.files.iter().map(PathBuf::as_path))
}

/// The tree: where the program was started, else where a file of settings is, else the one folder
/// of either that has pi-gen in it, such as a submodule.
pub(super) fn found<'a>(cwd: &Path, files: impl DoubleEndedIterator<Item = &'a Path>) -> PathBuf {
    let is_tree =
        |dir: &Path| dir.join("stages").is_dir() || dir.join("stage0").is_dir() || is_pigen(dir);
    if is_tree(cwd) {
        return cwd.to_owned();
    }
    let places: Vec<&Path> = files.rev().filter_map(Path::parent).collect();
    if let Some(beside) = places.iter().find(|dir| is_tree(dir)) {
        return (*beside).to_owned();
    }
    let inside = std::iter::once(&cwd).chain(&places).find_map(|dir| {
        let mut below = folders(dir);
        below.retain(|dir| is_pigen(dir));
        match below.len() {
            1 => below.pop(),
            _ => None,
        }
    });
    inside.unwrap_or_else(|| cwd.to_owned())
}

/// Whether `dir` has the shape of pi-gen: its `build.sh`, with a first stage beside it that makes
/// its root file system by a `prerun.sh`.
pub(super) fn is_pigen(dir: &Path) -> bool {
    dir.join("build.sh").is_file() && dir.join("stage0/prerun.sh").is_file()
}

fn folders(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.is_dir()).collect()
}

/// Where downloads are kept: as set, else in the user's cache.
pub(super) fn cache_dir(reader: &mut Reader<'_>) -> PathBuf {
    let request = reader.request;
    let set = reader.get();
    if !set.is_empty() {
        return request.cwd.join(set);
    }
    let variable = |name: &str| {
        request
            .env
            .get(name)
            .filter(|value| value.starts_with('/'))
            .map(PathBuf::from)
    };
    let base =
        variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    base.unwrap_or_else(|| request.cwd.clone())
        .join("westwork-gen")
}
