//! Collecting settings as they are written: files, command line, environment.

use super::ConfigRequest;
use super::bash::{own_names, source, unquoted_lists};
use super::setting::{Raw, Setting, assignment, outside};
use super::table::is_known;
use super::{pigen, tree};
use crate::base::problem::Problem;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Collects settings from all sources, the strongest last.
pub(super) fn read_all(request: &ConfigRequest, problems: &mut Vec<Problem>) -> Raw {
    let mut raw = Raw {
        now: jiff::Timestamp::now().as_second(),
        ..Raw::default()
    };
    raw.settings = in_files(request, &mut raw.files, problems);
    let environment = request.env.iter().filter(|(name, _)| is_known(name));
    for (name, value) in environment {
        raw.settings.insert(name.clone(), outside(value));
    }
    for text in &request.set {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                raw.settings.insert(name.to_owned(), outside(value));
            }
            _ => problems.push(Problem::new(
                format!("--set {text} has no value"),
                "write --set KEY=VALUE",
            )),
        }
    }
    let base = match raw.settings.get("BASE_DIR") {
        Some(set) if !set.value.is_empty() => request.cwd.join(&set.value),
        _ => tree::found(&request.cwd, raw.files.iter().map(PathBuf::as_path)),
    };
    pigen::fill(&mut raw, &base);
    raw
}

/// The settings in the config's files, whose names are added to `files` in reading order.
fn in_files(
    request: &ConfigRequest,
    files: &mut Vec<PathBuf>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Setting> {
    let (mut fragments, mut tables) = (Vec::new(), Vec::new());
    for (path, required) in candidates(request) {
        match check_text(&path, required) {
            Ok(None) => {}
            Ok(Some(text)) => {
                files.push(path.clone());
                if path
                    .extension()
                    .is_some_and(|extension| extension == "toml")
                {
                    tables.push(read_toml(&path, &text, problems));
                } else {
                    problems.extend(own_names(&path, &text));
                    let found = unquoted_lists(&path, &text);
                    if found.is_empty() {
                        fragments.push((path, text));
                    }
                    problems.extend(found);
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
    // All fragments are one bash, so that a later one sees what an earlier one set; among
    // them and the tables, the file that is named last wins.
    let position = |setting: &Setting| {
        files
            .iter()
            .position(|file| Some(file) == setting.file.as_ref())
    };
    let mut settings = source(request, &fragments, problems);
    for (name, setting) in tables.into_iter().flatten() {
        match settings.get(&name) {
            Some(other) if position(other) > position(&setting) => {}
            _ => {
                settings.insert(name, setting);
            }
        }
    }
    settings
}

/// Files in reading order, and whether each must exist.
fn candidates(request: &ConfigRequest) -> Vec<(PathBuf, bool)> {
    let mut files = vec![
        (request.cwd.join("config.toml"), false),
        (request.cwd.join("config"), false),
    ];
    files.extend(
        request
            .files
            .iter()
            .map(|file| (request.cwd.join(file), true)),
    );
    files
}

/// The text of a settings file, if it is one that can be read line by line.
fn check_text(path: &Path, required: bool) -> Result<Option<String>, Problem> {
    if path.is_dir() {
        return Err(
            Problem::new("this is a directory, not a file of settings", "name a file").at(path),
        );
    }
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => return Ok(None),
        Err(error) => {
            return Err(Problem::new(
                format!("cannot be read ({error})"),
                "check the path and its mode",
            )
            .at(path));
        }
    };
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(Problem::new(
            "starts with a byte-order mark",
            format!(
                "remove it: sed -i '1s/^\\xEF\\xBB\\xBF//' {}",
                path.display()
            ),
        )
        .at(path)
        .line(1));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Problem::new("is not UTF-8 text", "save it as UTF-8").at(path))?;
    match text
        .lines()
        .position(|line| line.ends_with('\r'))
        .or_else(|| text.find("\r\n").map(|at| text[..at].matches('\n').count()))
    {
        Some(index) => Err(Problem::new(
            "has Windows line ends (CRLF)",
            format!("convert it: sed -i 's/\\r$//' {}", path.display()),
        )
        .at(path)
        .line(index + 1)),
        None => Ok(Some(text)),
    }
}

fn read_toml(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Vec<(String, Setting)> {
    let mut settings = Vec::new();
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            let line = error
                .span()
                .map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            let what = error.message().trim().to_owned();
            problems.push(
                Problem::new(what, "write TOML: KEY = \"value\"")
                    .at(path)
                    .line(line),
            );
            return settings;
        }
    };
    for (name, value) in table {
        let line = assignment(text, &name);
        let Some(value) = toml_text(&name, &value) else {
            let problem = Problem::new(
                format!("{name} is a table or a date"),
                "write a text, a number, true or false, or a list of texts",
            );
            problems.push(place(problem, path, line));
            continue;
        };
        let setting = Setting {
            value,
            file: Some(path.to_owned()),
            line,
            exported: false,
        };
        settings.push((name, setting));
    }
    settings
}

fn toml_text(name: &str, value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(if *flag { "1" } else { "0" }.to_owned()),
        toml::Value::Array(items) => items
            .iter()
            .map(|item| toml_text(name, item))
            .collect::<Option<Vec<_>>>()
            // Paths may have spaces in them.
            .map(|items| items.join(if name == "STAGE_LIST" { "\u{1f}" } else { " " })),
        _ => None,
    }
}

fn place(problem: Problem, path: &Path, line: Option<usize>) -> Problem {
    let problem = problem.at(path);
    match line {
        Some(line) => problem.line(line),
        None => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Raw, Vec<Problem>) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config"), text).unwrap();
        let mut problems = Vec::new();
        let request = ConfigRequest {
            cwd: dir.path().to_owned(),
            ..ConfigRequest::default()
        };
        let raw = read_all(&request, &mut problems);
        (raw, problems)
    }

    #[test]
    fn bash_is_really_bash() {
        let (raw, problems) = read(
            "A=1\nB=\"x${A}y\"\nLIST=(a 'b c')\nexport OWN=\"$(echo hi)\"\nprintf noise\nif true; then C=2; fi\n",
        );
        assert_eq!(problems, []);
        let value = |name: &str| raw.settings[name].value.clone();
        assert_eq!(
            (value("B"), value("LIST"), value("OWN"), value("C")),
            ("x1y".into(), "a b c".into(), "hi".into(), "2".into())
        );
        assert!(raw.settings["OWN"].exported && !raw.settings["A"].exported);
        assert_eq!(raw.settings["B"].line, Some(2));
    }

    #[test]
    fn what_bash_would_trip_over_is_named_by_line() {
        for (text, line, what) in [
            ("A=1\nSTAGE_LIST=stage0 stage1\n", 2, "stage1"),
            ("export STAGE_LIST=stage0 stage1\n", 1, "stage1"),
            ("A=1\nSTAGE_LIST=$A true\n", 2, "true"),
            ("A=1\n\nfalse\n", 3, "failed"),
            ("A=1\nfrobnicate x\n", 2, "frobnicate"),
            ("A=1\nif true; then\n", 3, "syntax error"),
            ("A=1\r\nB=2\r\n", 1, "CRLF"),
            ("\u{feff}A=1\n", 1, "byte-order"),
        ] {
            let (_, problems) = read(text);
            assert_eq!(problems.len(), 1, "{text:?}: {problems:?}");
            assert_eq!(problems[0].line, Some(line), "{text:?}: {}", problems[0]);
            assert!(problems[0].what.contains(what), "{text:?}: {}", problems[0]);
        }
    }

    #[test]
    fn what_a_config_makes_of_its_shell_does_not_hinder_reading_it() {
        for option in ["set -u", "IFS=,", "set -f", "set -eu -o pipefail"] {
            let (raw, problems) = read(&format!("{option}\nA=1\nexport B='x y'\nL=(a b)\n"));
            assert_eq!(problems, [], "{option}");
            let values = ["A", "B", "L"].map(|name| raw.settings[name].value.as_str());
            assert_eq!(values, ["1", "x y", "a b"], "{option}");
        }
        let (_, problems) = read("A=1\nset -u\nB=$NOT_THERE\n");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].line, Some(3), "{}", problems[0]);
    }

    #[test]
    fn a_tree_is_known_before_its_config_is_read() {
        let (raw, problems) = read("A=${BASE_DIR}\nB=$SCRIPT_DIR\n");
        assert_eq!(problems, []);
        let values = ["A", "B"].map(|name| raw.settings[name].value.clone());
        assert_eq!(values[1], format!("{}/scripts", values[0]));
        assert!(values[0].starts_with('/') && !raw.settings.contains_key("BASE_DIR"));
        let (raw, _) = read("BASE_DIR=/elsewhere\n");
        assert_eq!(raw.settings["BASE_DIR"].value, "/elsewhere");
    }

    #[test]
    fn harmless_shell_is_left_alone() {
        let (raw, problems) =
            read("PATH=/nowhere\nA='x\nB=c d\n'\nexport C D\n[ -n \"$X\" ] && A=no\n");
        assert_eq!(problems, []);
        assert_eq!(raw.settings["A"].value, "x\nB=c d\n");
        let (_, problems) = read("A=1\nexit 0\n");
        assert_eq!(problems.len(), 1, "{problems:?}");
    }

    #[test]
    fn the_file_named_last_wins_whatever_its_form() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config"), "A=bash\n").unwrap();
        fs::write(dir.path().join("one.toml"), "A = \"toml\"\nB = \"toml\"\n").unwrap();
        fs::write(dir.path().join("two"), "B=bash\n").unwrap();
        let request = ConfigRequest {
            cwd: dir.path().to_owned(),
            files: vec!["one.toml".into(), "two".into()],
            ..ConfigRequest::default()
        };
        let raw = read_all(&request, &mut Vec::new());
        assert_eq!(
            [
                raw.settings["A"].value.as_str(),
                raw.settings["B"].value.as_str()
            ],
            ["toml", "bash"]
        );
    }

    #[test]
    fn command_line_beats_environment_beats_files() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join("config"),
            "IMG_NAME=a\nARCH=a\nRELEASE=a\nDISTRO=a\n",
        )
        .unwrap();
        fs::write(
            dir.path().join("more"),
            "ARCH=$IMG_NAME-b\nRELEASE=b\nDISTRO=b\n",
        )
        .unwrap();
        fs::write(
            dir.path().join("third.toml"),
            "TEMP_REPO = \"c\"\nSTAGE_LIST = [\"x\", \"y\"]\nCLEAN = true\n",
        )
        .unwrap();
        let request = ConfigRequest {
            cwd: dir.path().to_owned(),
            files: vec!["more".into(), "third.toml".into()],
            set: vec!["DISTRO=d".into()],
            env: BTreeMap::from([
                ("RELEASE".into(), "c".into()),
                ("DISTRO".into(), "c".into()),
                ("SHELL".into(), "no".into()),
            ]),
        };
        let mut problems = Vec::new();
        let raw = read_all(&request, &mut problems);
        assert_eq!(problems, []);
        let value = |name: &str| raw.settings[name].value.as_str();
        assert_eq!(
            [
                value("IMG_NAME"),
                value("ARCH"),
                value("RELEASE"),
                value("DISTRO")
            ],
            ["a", "a-b", "c", "d"]
        );
        assert_eq!(
            [value("TEMP_REPO"), value("STAGE_LIST"), value("CLEAN")],
            ["c", "x\u{1f}y", "1"]
        );
        assert!(!raw.settings.contains_key("SHELL"));
    }

    #[test]
    fn a_directory_and_a_missing_file_are_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("config")).unwrap();
        let request = ConfigRequest {
            cwd: dir.path().to_owned(),
            files: vec!["missing".into()],
            ..ConfigRequest::default()
        };
        let mut problems = Vec::new();
        read_all(&request, &mut problems);
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
}
