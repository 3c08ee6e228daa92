//! Each service's own checker looks at the configuration before it is used.
//!
//! Which checkers there are is a table: `/data/conf/westwork/checks.toml`, or the built-in
//! `dist/checks.toml`. `{conf}` stands for /data/conf, `{file}` for one file of `each`.

use crate::root::Root;
use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    check: Vec<Check>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    name: String,
    /// An absolute path. Not installed: not checked.
    program: String,
    args: Vec<String>,
    /// Relative to /data/conf. Not there: not checked.
    needs: Option<String>,
    /// Run once for each rendered file with this ending.
    each: Option<String>,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The program takes the configuration.
    Passed,
    /// The program or the file is not there.
    LeftOut,
}

/// Runs all checks with `next` in the place of /data/conf.
pub(crate) fn run(
    root: &Root,
    next: &Path,
    rendered: &[PathBuf],
) -> Result<Vec<(String, Verdict)>> {
    let own = next.join("westwork/checks.toml");
    let text = if own.exists() {
        std::fs::read_to_string(&own).context("reading checks.toml")?
    } else {
        include_str!("../dist/checks.toml").to_owned()
    };
    let table: Table = toml::from_str(&text).map_err(|error| {
        anyhow!(
            "checks.toml: {}",
            error.to_string().trim().replace('\n', " ")
        )
    })?;
    let mut verdicts = Vec::new();
    for check in table.check {
        let absent = !root.has(&check.program)
            || check
                .needs
                .as_ref()
                .is_some_and(|file| !next.join(file).exists());
        let files: Vec<Option<&PathBuf>> = match &check.each {
            _ if absent => Vec::new(),
            Some(ending) => rendered
                .iter()
                .filter(|file| file.to_string_lossy().ends_with(ending.as_str()))
                .map(Some)
                .collect(),
            None => vec![None],
        };
        for file in &files {
            run_one(root, next, &check, *file)?;
        }
        verdicts.push((
            check.name,
            if files.is_empty() {
                Verdict::LeftOut
            } else {
                Verdict::Passed
            },
        ));
    }
    Ok(verdicts)
}

fn run_one(root: &Root, next: &Path, check: &Check, file: Option<&PathBuf>) -> Result<()> {
    let conf = root.conf();
    let file = file
        .map(|file| conf.join(file).display().to_string())
        .unwrap_or_default();
    let fill = |arg: &String| {
        arg.replace("{conf}", &conf.display().to_string())
            .replace("{file}", &file)
    };
    let outcome = root
        .program_seeing(next, &conf, &check.program)
        .args(check.args.iter().map(fill))
        .outcome()?;
    match outcome.code {
        Some(0) => Ok(()),
        Some(97) => bail!(
            "nothing was changed: the next configuration could not be mounted for {}: {}",
            check.name,
            outcome.last_lines
        ),
        _ => bail!(
            "nothing was changed: {} refuses its configuration: {}",
            check.name,
            outcome.last_lines
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_table_is_well_formed() {
        let table: Table = toml::from_str(include_str!("../dist/checks.toml")).unwrap();
        assert!(
            table
                .check
                .iter()
                .all(|check| check.program.starts_with('/'))
        );
        assert!(
            ["nginx", "dovecot", "postfix", "slapd", "nftables"]
                .iter()
                .all(|name| table.check.iter().any(|check| check.name == *name))
        );
    }
}
