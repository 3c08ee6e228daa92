//! Paths outside of its stage that a host script names. The kernel tells what a script opens, not
//! what it looks for and does not find: whether something is there counts where the text names it.

use super::facts::NOTHING;
use super::reads::{Tree, real};
use crate::base::command::Env;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// How such inputs begin.
pub(super) const KIND: &str = "path ";

/// Ends a word of a script, as far as that matters here.
const ENDS: [char; 14] = [
    ' ', '\t', '"', '\'', '`', ';', '|', '&', '(', ')', '<', '>', ',', '=',
];

/// Only the shell knows what these stand for.
const UNKNOWN: [char; 9] = ['$', '*', '?', '[', ']', '{', '}', '~', '\\'];

/// The paths that `script` names, run in `dir` with `env`: those that begin with `..` or a
/// variable that is a path, up to where something in them is not known.
pub(super) fn of(script: &str, dir: &Path, env: &Env) -> BTreeSet<PathBuf> {
    let lines = script
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let words = lines.flat_map(|line| line.split(ENDS));
    words.filter_map(|word| path(word, dir, env)).collect()
}

fn path(word: &str, dir: &Path, env: &Env) -> Option<PathBuf> {
    let (start, rest) = match word.strip_prefix('$') {
        Some(rest) => {
            let (name, rest) = variable(rest)?;
            let value = env.get(name).filter(|value| value.starts_with('/'))?;
            (Path::new(value), rest.strip_prefix('/').unwrap_or(rest))
        }
        None if word.starts_with('/') => (Path::new("/"), word),
        None => {
            let leaves = Path::new(word).components();
            if !leaves.into_iter().any(|it| it == Component::ParentDir) {
                return None;
            }
            (dir, word)
        }
    };
    let mut path = real(start);
    for part in Path::new(rest).components() {
        match part {
            Component::Normal(name) => {
                if name.to_str()?.contains(UNKNOWN) {
                    break;
                }
                // As the kernel goes through it.
                path = real(&path.join(name));
            }
            Component::ParentDir => drop(path.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Some(path)
}

/// The name of a variable, and what follows it.
fn variable(text: &str) -> Option<(&str, &str)> {
    let is_other = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    let (name, rest) = match text.strip_prefix('{') {
        Some(text) => text.split_once('}')?,
        None => text.split_at(text.find(is_other).unwrap_or(text.len())),
    };
    (!name.is_empty() && !name.contains(is_other)).then_some((name, rest))
}

/// What counts of `path`: whether it is there, and of a directory the names in it.
pub(super) fn value(path: &Path, tree: &Tree) -> String {
    match path.symlink_metadata() {
        Err(_) => NOTHING.to_owned(),
        Ok(meta) if meta.is_dir() => format!("a directory {}", tree.listing(path)),
        Ok(_) => "a file".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_directory_are_found_as_far_as_they_are_known() {
        let env = [("BASE_DIR", "/no/tree"), ("STAGE_DIR", "/no/tree/stage1")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let env = Env::from(env);
        let found = |script: &str| {
            let found = of(script, Path::new("/no/tree/stage1/00-a"), &env);
            let found = found.iter().map(|path| path.display().to_string());
            found.collect::<Vec<_>>().join(" ")
        };
        for (script, paths) in [
            ("install -m 644 ../../app/app.bin x", "/no/tree/app/app.bin"),
            (
                "[ -f \"${STAGE_DIR}/../local.sh\" ] && . $BASE_DIR/b.sh",
                "/no/tree/b.sh /no/tree/local.sh",
            ),
            ("cp ${BASE_DIR}/conf-${ARCH}/x .", "/no/tree"),
            ("cd ../../app; cat */x", "/no/tree/app"),
            ("X=${BASE_DIR}/fw/*.bin", "/no/tree/fw"),
            ("  # ../../old\ncat files/a ./b $HOME/x ${BASE_DIR%/}", ""),
            ("cat /no/tree/direct", "/no/tree/direct"),
        ] {
            assert_eq!(found(script), paths, "{script}");
        }
    }
}
