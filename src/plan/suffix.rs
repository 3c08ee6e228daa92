//! What `EXPORT_IMAGE` says of an image: the suffix of its name, and what else it sets.

use super::Export;
use crate::base::command::{Command, PATH};
use crate::base::problem::Problem;
use crate::base::tool::Tool;
use crate::config::Config;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Reads the file and prints the variables `$2`…. What it prints itself does not belong to them.
const SCRIPT: &str = r#"
__ww_file=$1
shift
source "$__ww_file" >/dev/null
for __ww_name; do
	[ ! -v "$__ww_name" ] || printf '%s=%s\0' "$__ww_name" "${!__ww_name}"
done
"#;

const SUFFIX: &str = "IMG_SUFFIX";

/// As it is before the first file.
pub(super) fn start(config: &Config) -> Export {
    Export {
        suffix: String::new(),
        image: config.img_filename.clone(),
        archive: config.archive_filename.clone(),
        variables: BTreeMap::new(),
    }
}

/// What `file` makes of what the one `before` it has set. It has either shell assignments, or just
/// the suffix.
pub(super) fn read(config: &Config, before: &Export, file: &Path) -> Result<Export, Problem> {
    let text = fs::read_to_string(file)
        .map_err(|error| Problem::new(format!("cannot be read: {error}"), "correct the file"))?;
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let mut env = variables(config);
    env.extend(before.variables.clone());
    let found = if lines.iter().any(|line| is_shell(line)) {
        evaluate(&env, file)?
    } else if lines.is_empty() {
        BTreeMap::new()
    } else {
        BTreeMap::from([(SUFFIX.to_owned(), lines.join(" "))])
    };
    let mut variables = before.variables.clone();
    variables.extend(
        found
            .into_iter()
            .filter(|(name, value)| env.get(name) != Some(value)),
    );
    export(config, variables)
}

fn export(config: &Config, variables: BTreeMap<String, String>) -> Result<Export, Problem> {
    let set = |name: &str, default: &str| {
        variables
            .get(name)
            .cloned()
            .unwrap_or_else(|| default.to_owned())
    };
    let suffix = set(SUFFIX, "");
    let names = [
        set("IMG_FILENAME", &config.img_filename),
        set("ARCHIVE_FILENAME", &config.archive_filename),
    ];
    for (part, may_be_empty) in [(&suffix, true), (&names[0], false), (&names[1], false)] {
        let wrong = |c: char| c == '/' || c.is_whitespace() || c.is_control();
        if part.contains(wrong) || (part.is_empty() && !may_be_empty) {
            let what = format!("{part:?} cannot be part of a file name");
            return Err(Problem::new(
                what,
                "write one line such as IMG_SUFFIX=\"-lite\"",
            ));
        }
    }
    let [image, archive] = names.map(|name| format!("{name}{suffix}"));
    Ok(Export {
        suffix,
        image,
        archive,
        variables,
    })
}

/// Whether a line is an assignment or a test rather than a suffix.
fn is_shell(line: &str) -> bool {
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let name = line.split(['=', '+']).next().unwrap_or_default();
    let identifier = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (line.contains('=') && identifier)
        || ["if ", "case ", "[ ", "[[ "]
            .iter()
            .any(|word| line.starts_with(word))
}

/// What the variables of scripts are after the file.
fn evaluate(
    env: &BTreeMap<String, String>,
    file: &Path,
) -> Result<BTreeMap<String, String>, Problem> {
    let bash = |args: &[&str], names: &[&str]| {
        Command::new(Tool::Bash)
            .args(args)
            .arg(file)
            .args(names)
            .env(env.clone())
            .told_as("bash")
            .read()
    };
    let mut names: Vec<&str> = env.keys().map(String::as_str).collect();
    names.push(SUFFIX);
    names.retain(|name| !matches!(*name, "PATH" | "LC_ALL"));
    let said = bash(&["-n"], &[])
        .and_then(|_| {
            bash(
                &["--noprofile", "--norc", "-c", SCRIPT, "EXPORT_IMAGE"],
                &names,
            )
        })
        .map_err(|error| {
            Problem::new(
                format!("bash cannot read it: {error:#}"),
                "correct the shell text",
            )
        })?;
    let pairs = said.split('\0').filter_map(|pair| pair.split_once('='));
    Ok(pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

/// The variables that an `EXPORT_IMAGE` may test: those of scripts that do not depend on a step.
fn variables(config: &Config) -> BTreeMap<String, String> {
    let mut env = config.for_scripts();
    env.insert("LC_ALL".to_owned(), "C.UTF-8".to_owned());
    env.insert("PATH".to_owned(), PATH.to_owned());
    env
}

#[cfg(test)]
mod tests {
    use super::is_shell;

    #[test]
    fn tells_shell_from_a_suffix() {
        for line in [
            "IMG_SUFFIX=\"-lite\"",
            "export IMG_SUFFIX=-x",
            "if [ \"$A\" = 1 ]; then",
            "IMG_SUFFIX+=-x",
        ] {
            assert!(is_shell(line), "{line}");
        }
        for line in ["-lite", "", "-a=b", "full"] {
            assert!(!is_shell(line), "{line}");
        }
    }
}
