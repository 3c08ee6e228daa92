//! `HOST_PATHS`: what of this machine host scripts see besides the tree.

use super::values::Fault;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// One of `HOST_PATHS`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPath {
    /// A file or folder of this machine, absolute.
    pub path: PathBuf,
    /// Whether scripts may change what is there.
    pub writable: bool,
}

/// Absolute paths with white space between them, each with `:rw` after it if it may be written.
pub(super) fn host_paths(text: &str) -> Result<Vec<HostPath>, Fault> {
    text.split_whitespace().map(one).collect()
}

fn one(word: &str) -> Result<HostPath, Fault> {
    let (text, writable) = match word.strip_suffix(":rw") {
        Some(text) => (text, true),
        None => (word, false),
    };
    let path = Path::new(text);
    let fault = |what: String, remedy: &str| Err((what, remedy.to_owned()));
    if !path.is_absolute() {
        return fault(
            format!("{text} is not an absolute path"),
            "begin with /, such as /srv/blobs, or /srv/out:rw for a folder that scripts write to",
        );
    }
    if path.parent().is_none() {
        return fault(
            "/ is the whole machine".to_owned(),
            "name the files and folders that scripts need",
        );
    }
    match path.metadata() {
        Ok(_) => Ok(HostPath {
            path: path.to_owned(),
            writable,
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => fault(
            format!("there is no {text}"),
            "correct the path, or make the folder; paths with blanks cannot be listed",
        ),
        Err(error) => fault(
            format!("{text} cannot be looked at: {error}"),
            "check the path and its mode",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_only_unless_it_is_marked() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().to_str().unwrap();
        let found = host_paths(&format!(" {own}:rw\n\t/etc ")).unwrap();
        let paths = found
            .iter()
            .map(|entry| (entry.path.as_path(), entry.writable))
            .collect::<Vec<_>>();
        assert_eq!(paths, [(dir.path(), true), (Path::new("/etc"), false)]);
        assert_eq!(host_paths("").unwrap(), []);
    }

    #[test]
    fn what_is_not_there_or_opens_everything_is_named() {
        for (text, remedy) in [
            ("blobs", "begin with /"),
            ("/no-such-folder", "make the folder"),
            ("/no-such-folder:rw", "make the folder"),
            ("/", "name the files"),
            ("/:rw", "name the files"),
        ] {
            let (what, said) = host_paths(text).unwrap_err();
            assert!(said.contains(remedy), "{text}: {what}; {said}");
        }
    }
}
