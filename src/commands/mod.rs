//! One file a subcommand.
//!
//! May import everything.

mod audit;
mod build;
mod check;
mod clean;
mod explain;
mod internal;
mod lock;
mod new;
mod plan;
mod schema;
mod shell;
mod variants;
mod wall;

use crate::base::events;
use crate::base::problem::{Problem, Problems};
use crate::base::tool::Task;
use crate::check::tools_for;
use crate::cli::{Cli, Command, ConfigArgs};
use crate::config::{self, Config, ConfigRequest};
use crate::images::{boot, diff, flash, inspect, report, test, verify};
use crate::plan::Plan;
use crate::sandbox::view::View;
use crate::sandbox::{self, Role, Terminal, Wall};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::ffi::OsString;

/// Carries out one command. Returns the process's exit code.
///
/// # Errors
/// [`crate::base::problem::Problems`] for bad input or an unfit host (exit code 2); anything else is a
/// build that failed (exit code 1).
pub fn run(cli: Cli) -> Result<u8> {
    match cli.command {
        Command::Build(args) => build::build(&args),
        Command::Plan { config, json } => plan::plan(&config, json),
        Command::Why { config, step, json } => plan::why(&config, &step, json),
        Command::Check { config, json } => check::check_only(&config, json),
        Command::New { name, recipe, list } => new::new(name.as_deref(), recipe.as_deref(), list),
        Command::Explain { config, words } => explain::explain(&config, &words),
        Command::Clean { config, what } => clean::clean(&config, what),
        Command::Shell { config, at, keep } => shell::shell(&config, at.as_deref(), keep),
        Command::Lock { config, update } => lock::lock(&config, update),
        Command::Audit(args) => Ok(audit::audit(&args)),
        Command::Boot(args) => {
            tools_for(Task::Boot)?;
            boot::run(&args)
        }
        Command::Diff(args) => {
            tools_for(Task::Diff)?;
            Ok(diff::run(&args))
        }
        Command::Flash(args) => {
            tools_for(Task::Flash)?;
            flash::run(&args)
        }
        Command::Inspect(args) => {
            tools_for(Task::Inspect)?;
            inspect::run(&args)
        }
        Command::Report(args) => {
            tools_for(Task::Inspect)?;
            report::run(&args)
        }
        Command::Test(args) => {
            if !args.static_only {
                tools_for(Task::Boot)?;
            }
            Ok(test::run(&args))
        }
        Command::Verify(args) => Ok(verify::run(&args)),
        Command::Schema { what } => Ok(schema::print(what)),
        Command::Internal(internal) => internal::run_internal(internal),
    }
}

/// Runs `work` as root of fresh namespaces; it is told whose ids the owners in layers are.
fn in_sandbox(
    config: &Config,
    plan: &Plan,
    terminal: Terminal,
    work: impl FnOnce(&str) -> Result<u8>,
) -> Result<u8> {
    let exports = plan.export_tree.iter().map(|tree| &tree.stage);
    let stages: Vec<_> = plan
        .stages
        .iter()
        .chain(exports)
        .map(|stage| stage.dir.as_path())
        .collect();
    let view = wall::view(config, &stages)?;
    in_sandbox_of(view, &config.target_hostname, terminal, work)
}

/// The same with a view of its own, on a build machine that calls itself `hostname`.
fn in_sandbox_of(
    view: View,
    hostname: &str,
    terminal: Terminal,
    work: impl FnOnce(&str) -> Result<u8>,
) -> Result<u8> {
    let wall = Wall {
        view,
        hostname: hostname.to_owned(),
        terminal,
    };
    match sandbox::enter(&wall, &mut events::note)? {
        Role::Supervisor(code) => {
            if code == sandbox::INTERRUPTED {
                eprintln!(
                    "\ninterrupted; `westwork-gen build --continue` goes on where it stopped"
                );
            }
            u8::try_from(code).context("reading the build's exit code")
        }
        Role::Builder(ids) => {
            events::enter_sandbox();
            work(&ids.on_disk())
        }
    }
}

/// Prints what programs asked for.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).context("writing JSON")?;
    println!("{text}");
    Ok(())
}

fn request(args: &ConfigArgs) -> Result<ConfigRequest> {
    Ok(ConfigRequest {
        cwd: std::env::current_dir().context("finding the working directory")?,
        files: args.files.clone(),
        set: args.set.clone(),
        env: environment(std::env::vars_os())?,
    })
}

/// The environment as text. What is none is of no use to a config, unless it is a key's value.
fn environment(
    vars: impl Iterator<Item = (OsString, OsString)>,
) -> Result<BTreeMap<String, String>, Problems> {
    let (mut env, mut problems) = (BTreeMap::new(), Vec::new());
    for (name, value) in vars {
        let Ok(name) = name.into_string() else {
            continue;
        };
        match value.into_string() {
            Ok(value) => {
                env.insert(name, value);
            }
            Err(_) if config::is_key(&name) => problems.push(Problem::new(
                format!("{name} of the environment is not UTF-8"),
                format!("unset {name}, or write it in UTF-8"),
            )),
            Err(_) => {}
        }
    }
    Problems(problems).into_result()?;
    Ok(env)
}

#[cfg(test)]
mod tests {
    use super::environment;
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn only_a_key_must_be_text() {
        let raw = |name: &[u8]| (OsStr::from_bytes(name).to_owned(), OsString::from("x"));
        let bad = |name: &str| (name.into(), OsStr::from_bytes(b"\xff").to_owned());
        let env = environment([raw(b"A"), raw(b"\xff"), bad("HOME")].into_iter()).unwrap();
        assert_eq!(
            env.into_iter().collect::<Vec<_>>(),
            [("A".into(), "x".into())]
        );
        let said = environment([bad("IMG_NAME"), bad("ARCH")].into_iter()).unwrap_err();
        let said = said.to_string();
        assert!(
            said.contains("IMG_NAME of the environment is not UTF-8"),
            "{said}"
        );
        assert!(said.contains("unset ARCH"), "{said}");
    }
}
