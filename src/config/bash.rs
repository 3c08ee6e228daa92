//! Settings in bash: fragments are sourced by bash itself and read back.

use super::ConfigRequest;
use super::setting::{Setting, assignment};
use crate::base::command::Command;
use crate::base::problem::Problem;
use crate::base::tool::Tool;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `KEY=one two`: bash would run `two` as a command, so it is found before bash reads it.
pub(super) fn unquoted_lists(path: &Path, text: &str) -> Vec<Problem> {
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
                "{name} is a list without quotes, so bash does not take {second} as a part of it"
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

/// Names that bash sets itself, so that what a file makes of them is no setting. Those that a
/// script may well set for itself, such as IFS and PATH, are not among them.
const OWN: &[&str] = &[
    "BASHOPTS",
    "DIRSTACK",
    "EPOCHSECONDS",
    "EUID",
    "GROUPS",
    "HOSTNAME",
    "HOSTTYPE",
    "MACHTYPE",
    "OSTYPE",
    "PPID",
    "PWD",
    "SHELLOPTS",
    "SHLVL",
    "SRANDOM",
    "UID",
];

/// Settings by names that bash has for itself, which would be lost without a word.
pub(super) fn own_names(path: &Path, text: &str) -> Vec<Problem> {
    let found = OWN.iter().filter_map(|name| {
        let line = assignment(text, name)?;
        let remedy = match *name {
            "HOSTNAME" => "write TARGET_HOSTNAME",
            _ => "give it another name, and export it if scripts are to have it",
        };
        let what = format!("{name} is a variable that bash sets itself, so this is no setting");
        Some(Problem::new(what, remedy).at(path).line(line))
    });
    found.collect()
}

/// The quotation mark that is open after `line`, if `open` was at its beginning.
pub(super) fn quote_after(line: &str, mut open: Option<char>) -> Option<char> {
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
# These are there for the fragment to use; what it makes of them is a setting.
unset '__ww_before[BASE_DIR]' '__ww_before[SCRIPT_DIR]'
__ww_base=$BASE_DIR __ww_script=$SCRIPT_DIR
command_not_found_handle() { printf '%s: no such command\n' "$1" >&2; return 127; }
trap 'if [ -n "${BASH_SOURCE[0]}" ]; then printf "\001%s:%s\n" "${BASH_SOURCE[0]}" "$LINENO" >&2; exit 97; fi' ERR
exec 3>&1 1>&2
for __ww_file; do "$BASH" -n "$__ww_file" || exit 98; done
for __ww_file; do . "$__ww_file"; done
trap - ERR
# What the fragment made of its shell is not for what follows.
set +efu
IFS=$' \t\n'
[ "$BASE_DIR" != "$__ww_base" ] || unset BASE_DIR
[ "$SCRIPT_DIR" != "$__ww_script" ] || unset SCRIPT_DIR
for __ww_name in $(compgen -v); do
	[ -z "${__ww_before[$__ww_name]}" ] || continue
	case $__ww_name in __ww_*|BASH_*|PIPESTATUS|FUNCNAME|_|LINENO|OLDPWD) continue ;; esac
	__ww_flags=$(declare -p "$__ww_name" 2>/dev/null) || continue
	__ww_flags=${__ww_flags#declare -}
	case ${__ww_flags%% *} in
	*a*|*A*)
		# Paths may have spaces in them.
		if [ "$__ww_name" = STAGE_LIST ]; then IFS=$'\037'; fi
		eval "__ww_value=\"\${$__ww_name[*]}\""
		IFS=$' \t\n'
		;;
	*) __ww_value=${!__ww_name} ;;
	esac
	printf '%s\0%s\0%s\0' "$__ww_name" "${__ww_flags%% *}" "$__ww_value" >&3
done
printf '\0end\0\0' >&3
"#;

/// Sources the fragments, in order, in one bash with a clean environment.
pub(super) fn source(
    request: &ConfigRequest,
    fragments: &[(PathBuf, String)],
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Setting> {
    if fragments.is_empty() {
        return BTreeMap::new();
    }
    match said_by_bash(request, fragments) {
        Ok(said) => settings_in(&said, fragments),
        Err(problem) => {
            problems.push(problem);
            BTreeMap::new()
        }
    }
}

/// What [`READER`] prints of the fragments: name, flags and value of each variable.
fn said_by_bash(
    request: &ConfigRequest,
    fragments: &[(PathBuf, String)],
) -> Result<String, Problem> {
    let mut env = BTreeMap::from([("PATH".to_owned(), crate::base::command::PATH.to_owned())]);
    let base = super::tree::found(
        &request.cwd,
        fragments.iter().map(|(path, _)| path.as_path()),
    );
    let scripts = base.join("scripts");
    for (name, path) in [("BASE_DIR", &base), ("SCRIPT_DIR", &scripts)] {
        env.insert(name.to_owned(), path.to_string_lossy().into_owned());
    }
    if let Some(home) = request.env.get("HOME") {
        env.insert("HOME".to_owned(), home.clone());
    }
    let command = Command::new(Tool::Bash)
        .args(["--noprofile", "--norc", "-c", READER, "westwork-gen"])
        .args(fragments.iter().map(|(path, _)| path))
        .env(env)
        .dir(&request.cwd);
    let output = match command.output() {
        Ok(output) if output.status.success() => output.stdout,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(sourcing_problem(&said, fragments));
        }
        Err(error) => return Err(sourcing_problem(&format!("{error:#}"), fragments)),
    };
    let output = String::from_utf8_lossy(&output).into_owned();
    if !output.ends_with("\0end\0\0") {
        let problem = Problem::new(
            "ends bash before its last line",
            "remove `exit` and what replaces the shell",
        );
        return Err(problem.at(&fragments[fragments.len() - 1].0));
    }
    Ok(output)
}

/// The settings that bash `said`, each with the place that set it last.
fn settings_in(said: &str, fragments: &[(PathBuf, String)]) -> BTreeMap<String, Setting> {
    let mut settings = BTreeMap::new();
    let mut fields = said.split('\0');
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
    let mark = said
        .lines()
        .find_map(|line| line.split_once('\u{1}')?.1.rsplit_once(':'));
    let message = said
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
