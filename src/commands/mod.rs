//! One file a subcommand.
//!
//! May import everything.

mod build;
mod check;
mod clean;
mod internal;
mod lock;
mod plan;
mod shell;
mod variants;
mod wall;

use crate::base::tool::Task;
use crate::check::tools_for;
use crate::cli::{Cli, Command, ConfigArgs};
use crate::config::{Config, ConfigRequest};
use crate::images::{boot, diff, flash, inspect};
use crate::plan::Plan;
use crate::sandbox::{self, Role, Terminal, Wall};
use anyhow::{Context, Result};

/// Carries out one command. Returns the process's exit code.
///
/// # Errors
/// [`crate::base::problem::Problems`] for bad input or an unfit host (exit code 2); anything else is a
/// build that failed (exit code 1).
pub fn run(cli: Cli) -> Result<u8> {
    match cli.command {
        Command::Build(args) => build::build(&args),
        Command::Plan { config } => {
            plan::show_schedules(&config, |schedule| Ok(schedule.to_string()))
        }
        Command::Why { config, step } => {
            plan::show_schedules(&config, |schedule| schedule.why(&step))
        }
        Command::Check { config } => check::check_only(&config),
        Command::Clean { config, what } => clean::clean(&config, what),
        Command::Shell { config, at, keep } => shell::shell(&config, at.as_deref(), keep),
        Command::Lock { config, update } => lock::lock(&config, update),
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
        Command::Schema => {
            println!("{:#}", crate::config::describe::schema());
            Ok(0)
        }
        Command::Internal(internal) => internal::run_internal(internal),
    }
}

/// Runs `work` as root of fresh namespaces.
fn in_sandbox(
    config: &Config,
    plan: &Plan,
    terminal: Terminal,
    work: impl FnOnce() -> Result<u8>,
) -> Result<u8> {
    let exports = plan.export_tree.iter().map(|tree| &tree.stage);
    let stages: Vec<_> = plan
        .stages
        .iter()
        .chain(exports)
        .map(|stage| stage.dir.as_path())
        .collect();
    let wall = Wall {
        view: wall::view(config, &stages)?,
        hostname: config.target_hostname.clone(),
        terminal,
    };
    match sandbox::enter(&wall, &mut |text| eprintln!("note: {text}"))? {
        Role::Supervisor(code) => {
            if code == sandbox::INTERRUPTED {
                eprintln!(
                    "\ninterrupted; `westwork-gen build --continue` goes on where it stopped"
                );
            }
            u8::try_from(code).context("reading the build's exit code")
        }
        Role::Builder => work(),
    }
}

fn request(args: &ConfigArgs) -> Result<ConfigRequest> {
    Ok(ConfigRequest {
        cwd: std::env::current_dir().context("finding the working directory")?,
        files: args.files.clone(),
        set: args.set.clone(),
        env: std::env::vars().collect(),
    })
}
