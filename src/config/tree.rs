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
    // A path with spaces can be listed in an array, or when it is the only one.
    let whole = base.join(text);
    let words: Vec<&str> = if text.contains('\n') {
        text.lines().filter(|line| !line.is_empty()).collect()
    } else {
        text.split_whitespace().collect()
    };
    let paths = if whole.is_dir() {
        vec![whole]
    } else {
        words
            .into_iter()
            .map(|word| match base.join(word) {
                path if path.is_dir() => path,
                path => installed_dir()
                    .map(|dir| dir.join(word))
                    .filter(|installed| installed.is_dir())
                    .unwrap_or(path),
            })
            .collect()
    };
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

/// The tree: as set, else where the program was started, else where the config file is.
pub(super) fn base_dir(reader: &Reader<'_>) -> PathBuf {
    let (request, raw) = (reader.request, reader.raw);
    let set = reader.get_of("BASE_DIR");
    if !set.is_empty() {
        return request.cwd.join(set);
    }
    let is_tree = |dir: &Path| dir.join("stages").is_dir() || dir.join("stage0").is_dir();
    let beside = raw
        .files
        .iter()
        .rev()
        .filter_map(|file| file.parent())
        .find(|dir| is_tree(dir));
    match beside {
        Some(dir) if !is_tree(&request.cwd) => dir.to_owned(),
        _ => request.cwd.clone(),
    }
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
