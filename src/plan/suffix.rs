//! What `EXPORT_IMAGE` says: the suffix of the image's name.

use crate::base::command::{Command, PATH};
use crate::base::problem::Problem;
use crate::base::tool::Tool;
use crate::config::Config;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Reads the file and prints the variable. What it prints itself does not belong to the suffix.
const SCRIPT: &str = r#"source "$1" >/dev/null; printf %s "${IMG_SUFFIX-}""#;

/// The suffix, in either form of the file: shell assignments, or the suffix itself.
pub(super) fn read(config: &Config, file: &Path) -> Result<String, Problem> {
    let text = fs::read_to_string(file)
        .map_err(|error| Problem::new(format!("cannot be read: {error}"), "correct the file"))?;
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let suffix = if lines.iter().any(|line| is_shell(line)) {
        evaluate(config, file)?
    } else {
        lines.join(" ")
    };
    if suffix.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control()) {
        let what = format!("{suffix:?} cannot be part of a file name");
        return Err(Problem::new(
            what,
            "write one line such as IMG_SUFFIX=\"-lite\"",
        ));
    }
    Ok(suffix)
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

fn evaluate(config: &Config, file: &Path) -> Result<String, Problem> {
    let bash = |args: &[&str]| {
        Command::new(Tool::Bash)
            .args(args)
            .arg(file)
            .env(variables(config))
            .told_as("bash")
            .read()
    };
    bash(&["-n"])
        .and_then(|_| bash(&["--noprofile", "--norc", "-c", SCRIPT, "EXPORT_IMAGE"]))
        .map_err(|error| {
            Problem::new(
                format!("bash cannot read it: {error:#}"),
                "correct the shell text",
            )
        })
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
