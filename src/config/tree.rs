//! Where the tree is, and what files and folders of it are called.

use super::nearest::nearest_of;
use super::reader::Reader;
use super::values::{Fault, fault};
use crate::base::work;
use std::path::{Path, PathBuf};

/// The program's own stages by name: each stands for the one that it is called after and for
/// those below it.
const NAMES: [(&str, &[&str]); 4] = [
    ("base", &["stage0"]),
    ("minimal", &["stage0", "stage1"]),
    ("lite", &["stage0", "stage1", "stage2"]),
    ("westwork", &["stage0", "stage1", "stage2", "stage3"]),
];

/// The stages of a list.
pub(super) struct Named {
    /// Their directories, in build order.
    pub stages: Vec<PathBuf>,
    /// Those of the program's own that were named without a path and have others after them: what
    /// is built is the image of the last.
    pub only_below: Vec<PathBuf>,
}

/// The stages: as listed, or all of the tree.
pub(super) fn stages(reader: &mut Reader<'_>) -> Vec<PathBuf> {
    named(reader).stages
}

/// The same, and which of them the list has by name.
pub(super) fn named(reader: &mut Reader<'_>) -> Named {
    let base = &base_dir(reader);
    let text = reader.get();
    let mut found = Named {
        stages: Vec::new(),
        only_below: Vec::new(),
    };
    if text.is_empty() {
        let own = stages_of(base);
        found.stages = match share() {
            Some(dir) if own.is_empty() => stages_of(&dir),
            _ => own,
        };
        return found;
    }
    for word in listed(text, base) {
        found.only_below.retain(|dir| found.stages.contains(dir));
        let below = found.stages.len();
        let paths = stage_dirs(&word, base, &reader.request.cwd);
        for path in paths {
            if path.is_dir() {
                found.stages.push(path);
                continue;
            }
            reader.blame(missing(&word, &path));
        }
        if by_name(&word).is_some_and(|own| own == found.stages[below..]) {
            found.only_below.extend_from_slice(&found.stages[below..]);
        }
    }
    // The last stage of all is what is wanted.
    if let Some(last) = found.stages.last() {
        found.only_below.retain(|dir| dir != last);
    }
    found
}

fn missing(word: &str, path: &Path) -> Fault {
    if NAMES.iter().any(|(name, _)| *name == word) {
        return fault(
            format!("the program's own stage {word} is not on this machine"),
            format!("set {SHARE} to a directory that has the program's stages/"),
        );
    }
    let remedy = match nearest_of(word, NAMES.iter().map(|(name, _)| *name)) {
        Some(name) => {
            format!("correct the path, which is relative to the tree; or did you mean {name}?")
        }
        None => "correct the path; it is relative to the tree".to_owned(),
    };
    fault(
        format!("there is no stage directory {}", path.display()),
        remedy,
    )
}

/// The directories that a name of the program's own stages means, if they are there.
fn by_name(word: &str) -> Option<Vec<PathBuf>> {
    let (_, stages) = NAMES.iter().find(|(name, _)| *name == word)?;
    let dir = share()?.join("stages");
    Some(stages.iter().map(|stage| dir.join(stage)).collect())
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
    let installed = share();
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
    by_name(word).unwrap_or_else(|| vec![base.join(word)])
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

/// Names another directory with the program's own stages, for programs that were not installed.
const SHARE: &str = "WESTWORK_GEN_SHARE";

/// The directory with the program's own `stages`: as the environment says, else
/// `share/westwork-gen` beside the `bin` of this program, else the checkout that it was compiled in.
fn share() -> Option<PathBuf> {
    let has_stages = |dir: &PathBuf| dir.join("stages/stage0/prerun.sh").is_file();
    if let Some(set) = std::env::var_os(SHARE).filter(|set| !set.is_empty()) {
        return Some(PathBuf::from(set)).filter(has_stages);
    }
    let program = std::env::current_exe().ok()?;
    let installed = program.parent()?.parent()?.join("share/westwork-gen");
    if installed.join("stages").is_dir() {
        return Some(installed);
    }
    // target/debug/westwork-gen
    let checkout = program.parent()?.parent()?.parent()?.to_owned();
    Some(checkout).filter(|dir| dir.join("Cargo.lock").is_file() && has_stages(dir))
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
    let found = work::user_cache(|name| request.env.get(name).map(PathBuf::from));
    found.unwrap_or_else(|| request.cwd.join("westwork-gen"))
}
