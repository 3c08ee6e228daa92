//! Reading settings as they are written: bash fragments, TOML, command line, environment.

use super::ConfigRequest;
use super::keys::is_known;
use crate::command::Command;
use crate::problem::Problem;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// One setting before it is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub value: String,
    /// The file it is from; `None` for command line and environment.
    pub file: Option<PathBuf>,
    pub line: Option<usize>,
    /// The fragment exports it, so it is meant for scripts.
    pub exported: bool,
}

/// Settings by name, and the files they were read from.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub settings: BTreeMap<String, Setting>,
    pub files: Vec<PathBuf>,
}

/// Collects settings from all sources, the strongest last.
pub(super) fn read_all(request: &ConfigRequest, problems: &mut Vec<Problem>) -> Raw {
    let mut raw = Raw::default();
    let (mut fragments, mut tables) = (Vec::new(), Vec::new());
    for (path, required) in candidates(request) {
        match check_text(&path, required) {
            Ok(None) => {}
            Ok(Some(text)) => {
                raw.files.push(path.clone());
                if path
                    .extension()
                    .is_some_and(|extension| extension == "toml")
                {
                    tables.push(read_toml(&path, &text, problems));
                } else {
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
        raw.files
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
    raw.settings = settings;
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
    raw
}

fn outside(value: &str) -> Setting {
    Setting {
        value: value.to_owned(),
        file: None,
        line: None,
        exported: false,
    }
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
        let Some(value) = toml_text(&value) else {
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

fn toml_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(if *flag { "1" } else { "0" }.to_owned()),
        toml::Value::Array(items) => items
            .iter()
            .map(toml_text)
            .collect::<Option<Vec<_>>>()
            .map(|items| items.join(" ")),
        _ => None,
    }
}

/// Line (from 1) of the last assignment to `name`.
fn assignment(text: &str, name: &str) -> Option<usize> {
    let assigns = |line: &str| {
        let line = line.trim_start();
        let line = ["export ", "declare -x ", "declare ", "readonly "]
            .iter()
            .find_map(|word| line.strip_prefix(word))
            .unwrap_or(line);
        line.trim_start()
            .strip_prefix(name)
            .is_some_and(|rest| rest.trim_start().starts_with(['=', '+', '[']))
    };
    text.lines()
        .enumerate()
        .filter(|(_, line)| assigns(line))
        .last()
        .map(|(index, _)| index + 1)
}

fn place(problem: Problem, path: &Path, line: Option<usize>) -> Problem {
    let problem = problem.at(path);
    match line {
        Some(line) => problem.line(line),
        None => problem,
    }
}

/// `KEY=one two`: bash would run `two` as a command, so it is found before bash reads it.
fn unquoted_lists(path: &Path, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut quote = None;
    for (index, line) in text.lines().enumerate() {
        let begins_inside = quote.is_some();
        quote = quote_after(line, quote);
        if begins_inside || quote.is_some() {
            continue;
        }
        let bare = line.trim_start();
        let (exported, bare) = bare
            .strip_prefix("export ")
            .map_or((false, bare), |bare| (true, bare.trim_start()));
        let Some((name, value)) = bare.split_once('=') else {
            continue;
        };
        if !is_key(name) || value.starts_with(char::is_whitespace) {
            continue;
        }
        let mut words = value.split_whitespace();
        let plain = |word: &&str| {
            word.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._/-+:@,~${}".contains(&byte))
        };
        let (first, second) = (words.next().filter(plain), words.next().filter(plain));
        // `export A=1 B` is right: it exports B as well.
        if let (Some(_), Some(second)) = (first, second.filter(|word| !exported || !is_key(word))) {
            let what = format!(
                "{name} is a list without quotes: bash would not take {second} for a part of it"
            );
            problems.push(
                Problem::new(what, format!("write {name}='{}'", value.trim()))
                    .at(path)
                    .line(index + 1),
            );
        }
    }
    problems
}

fn is_key(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// The quotation mark that is open after `line`, if `open` was at its beginning.
fn quote_after(line: &str, mut open: Option<char>) -> Option<char> {
    let mut escaped = false;
    let mut before = ' ';
    for c in line.chars() {
        match (open, c) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => escaped = true,
            (None, '#') if before.is_whitespace() => return None,
            (None, '"' | '\'') => open = Some(c),
            (Some(mark), c) if mark == c => open = None,
            _ => {}
        }
        before = c;
    }
    open
}

/// What bash is told: note its own variables, source the files, print what is new, by
/// builtins alone, for a fragment may change PATH. A command that fails in a fragment ends it
/// and is reported as `FILE:LINE`; the last fields say that all of it was read.
const READER: &str = r#"
declare -A __ww_before
for __ww_name in $(compgen -v); do __ww_before[$__ww_name]=1; done
command_not_found_handle() { printf '%s: no such command\n' "$1" >&2; return 127; }
trap 'if [ -n "${BASH_SOURCE[0]}" ]; then printf "\001%s:%s\n" "${BASH_SOURCE[0]}" "$LINENO" >&2; exit 97; fi' ERR
exec 3>&1 1>&2
for __ww_file; do "$BASH" -n "$__ww_file" || exit 98; done
for __ww_file; do . "$__ww_file"; done
trap - ERR
for __ww_name in $(compgen -v); do
	[ -z "${__ww_before[$__ww_name]}" ] || continue
	case $__ww_name in __ww_*|BASH_*|PIPESTATUS|FUNCNAME|_|LINENO|OLDPWD) continue ;; esac
	__ww_flags=$(declare -p "$__ww_name" 2>/dev/null) || continue
	__ww_flags=${__ww_flags#declare -}
	case ${__ww_flags%% *} in
	*a*|*A*) eval "__ww_value=\"\${$__ww_name[*]}\"" ;;
	*) __ww_value=${!__ww_name} ;;
	esac
	printf '%s\0%s\0%s\0' "$__ww_name" "${__ww_flags%% *}" "$__ww_value" >&3
done
printf '\0end\0\0' >&3
"#;

/// Sources the fragments, in order, in one bash with a clean environment.
fn source(
    request: &ConfigRequest,
    fragments: &[(PathBuf, String)],
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Setting> {
    let mut settings = BTreeMap::new();
    if fragments.is_empty() {
        return settings;
    }
    let mut env = BTreeMap::from([("PATH".to_owned(), crate::script::PATH.to_owned())]);
    if let Some(home) = request.env.get("HOME") {
        env.insert("HOME".to_owned(), home.clone());
    }
    let command = Command::new("bash")
        .args(["--noprofile", "--norc", "-c", READER, "westwork-gen"])
        .args(fragments.iter().map(|(path, _)| path))
        .env(env)
        .dir(&request.cwd);
    let output = match command.read() {
        Ok(output) => output,
        Err(error) => {
            problems.push(sourcing_problem(&error.to_string(), fragments));
            return settings;
        }
    };
    if !output.ends_with("\0end\0\0") {
        let problem = Problem::new(
            "ends bash before its last line",
            "remove `exit` and what replaces the shell",
        );
        problems.push(problem.at(&fragments[fragments.len() - 1].0));
        return settings;
    }
    let mut fields = output.split('\0');
    while let (Some(name), Some(flags), Some(value)) = (fields.next(), fields.next(), fields.next())
    {
        if name.is_empty() {
            break;
        }
        let place = fragments
            .iter()
            .rev()
            .find_map(|(path, text)| Some((path.clone(), assignment(text, name)?)));
        let (file, line) = place.map_or(
            (fragments.first().map(|(path, _)| path.clone()), None),
            |(path, line)| (Some(path), Some(line)),
        );
        let setting = Setting {
            value: value.to_owned(),
            file,
            line,
            exported: flags.contains('x'),
        };
        settings.insert(name.to_owned(), setting);
    }
    settings
}

/// Finds file and line in what bash said: our own mark, or `FILE: line N: message`.
fn sourcing_problem(said: &str, fragments: &[(PathBuf, String)]) -> Problem {
    // After `bash ended with exit status: 1: `.
    let text = said.splitn(3, ": ").nth(2).unwrap_or_default();
    let mark = said
        .lines()
        .find_map(|line| line.split_once('\u{1}')?.1.rsplit_once(':'));
    let message = text
        .lines()
        .map(|line| line.split('\u{1}').next().unwrap_or_default())
        .find(|line| !line.trim().is_empty());
    if let Some((file, line)) = mark {
        let what = message
            .map_or("a command failed", |message| message.trim())
            .to_owned();
        let problem = Problem::new(
            what,
            "mend or remove the command; the file is sourced by bash",
        )
        .at(Path::new(file));
        return problem.line(line.parse().unwrap_or(1));
    }
    for (path, _) in fragments {
        let prefix = format!("{}: line ", path.display());
        let found = said
            .split_once(&prefix)
            .and_then(|(_, rest)| rest.split_once(": "));
        if let Some((line, what)) = found {
            let what = what.lines().next().unwrap_or_default().to_owned();
            let problem = Problem::new(what, "mend it; the file is sourced by bash").at(path);
            return problem.line(line.parse().unwrap_or(1));
        }
    }
    Problem::new(
        format!("sourcing the config: {said}"),
        "mend the file; it is sourced by bash",
    )
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
            ["c", "x y", "1"]
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
