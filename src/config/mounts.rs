//! What of the machine a container must have mounted, each at its own path, for the settings to
//! mean the same in it.

use super::ConfigRequest;
use super::row::Mount;
use super::setting::Raw;
use super::source::read_all;
use super::table;
use super::tree::ELEMENT_END;
use std::fmt;
use std::path::PathBuf;

/// A line for build-docker.sh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A key that counts from the environment.
    Key(&'static str),
    /// To be read, if it is there.
    Read(PathBuf),
    /// To be read and written, if it is there.
    Write(PathBuf),
    /// A folder to be made, read and written.
    Make(PathBuf),
    /// The same, for the artefacts.
    Deploy(PathBuf),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(name) => write!(f, "key {name}"),
            Self::Read(path) => write!(f, "read {}", path.display()),
            Self::Write(path) => write!(f, "write {}", path.display()),
            Self::Make(path) => write!(f, "make {}", path.display()),
            Self::Deploy(path) => write!(f, "deploy {}", path.display()),
        }
    }
}

/// All lines for `request`. What is wrong with the settings is for the build to say; nothing that
/// they name need be there.
pub fn list(request: &ConfigRequest) -> Vec<Line> {
    let mut lines: Vec<_> = table::rows().map(|row| Line::Key(row.name)).collect();
    // Each file is an image of its own, after the tree's config.
    let mut images = vec![Vec::new()];
    images.extend(request.files.iter().map(|file| vec![file.clone()]));
    for files in images {
        let image = ConfigRequest {
            files,
            ..request.clone()
        };
        let raw = read_all(&image, &mut Vec::new());
        for row in table::rows() {
            for line in mounts(row.facts.mount, &raw, row.name, row.facts.default) {
                let line = line.below(request);
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
    }
    lines
}

/// What the setting `name` needs.
fn mounts(mount: Mount, raw: &Raw, name: &str, default: &str) -> Vec<Line> {
    let set = raw.settings.get(name).map(|setting| &setting.value);
    let text = set.filter(|text| !text.is_empty());
    let text = text.map_or(default, String::as_str);
    if text.is_empty() {
        return Vec::new();
    }
    let path = || PathBuf::from(text);
    match mount {
        Mount::No => Vec::new(),
        Mount::Place => vec![Line::Read(path())],
        Mount::Folders => {
            let mut words: Vec<_> = if text.contains(ELEMENT_END) {
                text.split(ELEMENT_END).map(PathBuf::from).collect()
            } else {
                text.split_whitespace().map(PathBuf::from).collect()
            };
            // The only path there is may have spaces in it.
            if words.len() > 1 && !text.contains(ELEMENT_END) {
                words.push(path());
            }
            let whole = words.into_iter().map(without_pattern);
            whole.map(Line::Read).collect()
        }
        Mount::Marked => text
            .split_whitespace()
            .map(|word| match word.strip_suffix(":rw") {
                Some(path) => Line::Write(path.into()),
                None => Line::Read(word.into()),
            })
            .collect(),
        Mount::SigningKey => {
            let key = text.strip_prefix("minisign:");
            key.map(|path| Line::Read(path.into()))
                .into_iter()
                .collect()
        }
        Mount::Cache if text.contains("://") => Vec::new(),
        Mount::Cache => vec![Line::Make(path())],
        Mount::Deploy => vec![Line::Deploy(path())],
    }
}

/// Of a path with a pattern in it the folder in which that is looked for.
fn without_pattern(path: PathBuf) -> PathBuf {
    let is_pattern = |part: &std::ffi::OsStr| part.to_string_lossy().contains(['*', '?', '[']);
    path.iter().take_while(|part| !is_pattern(part)).collect()
}

impl Line {
    /// The same with its path where the program was started.
    fn below(self, request: &ConfigRequest) -> Self {
        let path = |path: PathBuf| request.cwd.join(path);
        match self {
            Self::Key(name) => Self::Key(name),
            Self::Read(at) => Self::Read(path(at)),
            Self::Write(at) => Self::Write(path(at)),
            Self::Make(at) => Self::Make(path(at)),
            Self::Deploy(at) => Self::Deploy(path(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_the_settings_is_listed_as_it_is_used() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("config"),
            "STAGE_LIST='stage0 /srv/mine'\nHOST_PATHS='/srv/a /srv/b:rw'\n\
             SIGN_WITH=minisign:keys/k\nCACHE_FROM=s3://b/x\nCACHE_TO=../cache\n",
        )
        .unwrap();
        std::fs::write(dir.path().join("second"), "DEPLOY_DIR=/srv/deploy\n").unwrap();
        let lines: Vec<_> = list(&ConfigRequest {
            cwd: dir.path().to_owned(),
            files: vec!["second".into()],
            set: vec!["RASPBIAN_KEY=/srv/k.gpg".to_owned()],
            ..ConfigRequest::default()
        })
        .iter()
        .map(|line| line.to_string().replace(dir.path().to_str().unwrap(), "."))
        .collect();
        for line in [
            "key IMG_NAME",
            "read ./stage0",
            "read /srv/mine",
            "read /srv/a",
            "write /srv/b",
            "read ./keys/k",
            "make ./../cache",
            "read /srv/k.gpg",
            "deploy ./deploy",
            "deploy /srv/deploy",
        ] {
            assert!(lines.iter().any(|found| found == line), "{line}: {lines:?}");
        }
        assert!(!lines.iter().any(|line| line.contains("s3://")));
    }
}
