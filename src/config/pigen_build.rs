//! What the `build.sh` of a tree in pi-gen's shape sets before it builds: defaults of pi-gen's keys
//! that a fork has changed, and variables of its own for scripts.

use super::bash::quote_after;
use super::pigen_past::is_past;
use super::setting::{Setting, assignment};
use crate::base::command::{Command, PATH};
use crate::base::tool::Tool;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Names that mean something else here, or are worked out here: places, dates, what the stages are,
/// and how the image is packed.
const NOT_TAKEN: &[&str] = &[
    "ARCH",
    "ARCHIVE_FILENAME",
    "BASE_DIR",
    "CAPSH_ARG",
    "CLEAN",
    "COMPRESSION_LEVEL",
    "DEPLOY_COMPRESSION",
    "DEPLOY_DIR",
    "DEPLOY_ZIP",
    "EXPORT_CONFIG_DIR",
    "EXPORT_DIR",
    "EXPORT_DIRS",
    "EXPORT_ROOTFS_DIR",
    "GIT_HASH",
    "IMG_DATE",
    "IMG_FILENAME",
    "IMG_SUFFIX",
    "LOG_FILE",
    "NOOBS_DESCRIPTION",
    "NOOBS_NAME",
    "PATH",
    "PREV_ROOTFS_DIR",
    "PREV_STAGE",
    "PREV_STAGE_DIR",
    "QUILT_NO_DIFF_INDEX",
    "QUILT_NO_DIFF_TIMESTAMPS",
    "QUILT_PATCHES",
    "QUILT_REFRESH_ARGS",
    "RELEASE",
    "ROOTFS_DIR",
    "SCRIPT_DIR",
    "SETFCAP",
    "STAGE",
    "STAGE_DIR",
    "STAGE_LIST",
    "STAGE_WORK_DIR",
    "WORK_DIR",
];

/// Reads line by line, so that one that goes wrong is no more than left out; then prints what was
/// asked for.
const READER: &str = r#"
__ww_count=$1
shift
for __ww_line in "${@:1:__ww_count}"; do eval "$__ww_line"; done >/dev/null 2>&1 </dev/null
for __ww_name in "${@:__ww_count+1}"; do
	[ ! -v "$__ww_name" ] || printf '%s\0%s\0' "$__ww_name" "${!__ww_name}"
done
"#;

/// Whether a script of pi-gen's `build.sh` has a use for the exported name alone.
pub(super) fn is_taken(name: &str) -> bool {
    !NOT_TAKEN.contains(&name) && !is_past(name)
}

/// The names that `text` exports, with the number of the line.
pub fn exported(text: &str) -> Vec<(usize, String)> {
    let lines = text.lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let (name, _) = line.trim_start().strip_prefix("export ")?.split_once('=')?;
            Some((index + 1, name.to_owned()))
        })
        .filter(|(_, name)| is_name(name) && is_taken(name))
        .collect()
}

/// Every name that `text` exports, with a value or without.
pub(super) fn named(text: &str) -> impl Iterator<Item = &str> {
    let exports = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("export "));
    let words = exports.flat_map(str::split_whitespace);
    let names = words.map(|word| word.split('=').next().unwrap_or(word));
    names.filter(|name| is_name(name) && is_taken(name))
}

/// What the file `build` exports at the beginning of a line, worked out with `settings` set.
pub(super) fn exports(
    build: &Path,
    settings: &BTreeMap<String, Setting>,
) -> Vec<(String, Setting)> {
    let text = fs::read_to_string(build).unwrap_or_default();
    let wanted = exported(&text);
    let lines: Vec<&str> = text.lines().filter(|line| assigns(line)).collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let base = build.parent().unwrap_or(build);
    let text_of = |path: &Path| path.to_string_lossy().into_owned();
    let mut env: BTreeMap<String, String> = settings
        .iter()
        .filter(|(_, setting)| !setting.value.is_empty())
        .map(|(name, setting)| (name.clone(), setting.value.clone()))
        .collect();
    env.insert("PATH".to_owned(), PATH.to_owned());
    env.insert("BASE_DIR".to_owned(), text_of(base));
    env.insert("SCRIPT_DIR".to_owned(), text_of(&base.join("scripts")));
    let said = Command::new(Tool::Bash)
        .args(["--noprofile", "--norc", "-c", READER, "build.sh"])
        .arg(lines.len().to_string())
        .args(&lines)
        .args(wanted.iter().map(|(_, name)| name))
        .env(env)
        .dir(base)
        .read()
        .unwrap_or_default();
    let fields: Vec<&str> = said.split('\0').collect();
    let pairs = fields.chunks_exact(2);
    pairs
        .map(|pair| {
            let setting = Setting {
                value: pair[1].to_owned(),
                file: Some(build.to_owned()),
                line: assignment(&text, pair[0]),
                exported: true,
            };
            (pair[0].to_owned(), setting)
        })
        .collect()
}

/// Whether `line`, not in a function or a condition, sets a variable that may be taken, and ends
/// where that ends: bash would lose its way in another one.
fn assigns(line: &str) -> bool {
    let count = |c: char| line.matches(c).count();
    let whole = quote_after(line, None).is_none()
        && !line.ends_with('\\')
        && count('(') == count(')')
        && count('{') == count('}')
        && count('`') % 2 == 0;
    if !whole {
        return false;
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let name = line.split_once('=').map_or("", |(name, _)| name);
    is_name(name) && is_taken(name)
}

fn is_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(word)
}
