//! Builds bootable Raspberry Pi images from stage directories.
//!
//! The way through the code, in one direction:
//!
//! | band | modules |
//! |---|---|
//! | read and judge | [`cli`], [`config`], [`step`], [`plan`], [`check`], [`mirror`], [`archive`] |
//! | build | [`build`], [`progress`], [`key`], [`layer`], [`script`], [`apt`], [`patch`], [`bootstrap`] |
//! | export | [`finalise`], [`export`] |
//! | try out | [`shell`], [`boot`] |
//! | system | [`sandbox`], [`isolate`], [`rootfs`], [`dispatch`], [`command`], [`tool`], [`output`], [`timings`], [`problem`] |

pub mod apt;
pub mod archive;
pub mod boot;
pub mod bootstrap;
pub mod build;
pub mod check;
pub mod cli;
pub mod command;
pub mod config;
pub mod dispatch;
pub mod export;
pub mod finalise;
pub mod isolate;
pub mod key;
pub mod layer;
pub mod mirror;
pub mod output;
pub mod patch;
pub mod plan;
pub mod problem;
pub mod progress;
pub mod rootfs;
pub mod sandbox;
pub mod script;
pub mod shell;
pub mod step;
pub mod timings;
pub mod tool;

use anyhow::{Context, Result};
use cli::{BuildArgs, Cli, Command, ConfigArgs, Internal};
use config::{Config, ConfigRequest};
use dispatch::Mode;
use sandbox::{Role, Terminal};

/// Carries out one command. Returns the process's exit code.
///
/// # Errors
/// [`problem::Problems`] for bad input or an unfit host (exit code 2); anything else is a
/// build that failed (exit code 1).
pub fn run(cli: Cli) -> Result<u8> {
    match cli.command {
        Command::Build(args) => build(&args),
        Command::Plan { config } => {
            print!("{}", check::plan(&request(&config)?)?.1);
            Ok(0)
        }
        Command::Check { config } => check_only(&config),
        Command::Shell { config, at } => {
            let (config, plan) = check::plan(&request(&config)?)?;
            in_sandbox(&config, Terminal::Shared, || {
                shell::shell(&config, &plan, at.as_deref())
            })
        }
        Command::Boot(args) => boot::run(&args),
        Command::Internal(internal) => run_internal(internal),
    }
}

/// config → plan → check → build and export, the last two in the sandbox.
fn build(args: &BuildArgs) -> Result<u8> {
    let mut request = request(&args.config)?;
    if args.resume {
        request.set.push("CONTINUE=1".to_owned());
    }
    if args.install_deps {
        check::install_missing(&request)?;
    }
    let (config, plan) = check::everything(&request)?;
    for note in check::notes(&config) {
        eprintln!("note: {note}");
    }
    let mirrors = mirror::Mirrors::resolve(&config);
    let mode = if args.emulate {
        Mode::Emulate
    } else {
        Mode::Native
    };
    let options = build::Options {
        mode,
        timings: args.timings,
    };
    in_sandbox(&config, Terminal::Detached, || {
        build::build(&config, &plan, &mirrors, &options)?;
        Ok(0)
    })
}

fn check_only(args: &ConfigArgs) -> Result<u8> {
    let (config, plan) = check::everything(&request(args)?)?;
    for note in check::notes(&config) {
        println!("note: {note}");
    }
    let steps: usize = plan
        .stages
        .iter()
        .flat_map(|stage| &stage.sub_stages)
        .map(|sub| sub.steps.len())
        .sum();
    println!(
        "nothing stands in the way of building {} ({steps} steps)",
        config.img_name
    );
    Ok(0)
}

/// Runs `work` as root of fresh namespaces.
fn in_sandbox(
    config: &Config,
    terminal: Terminal,
    work: impl FnOnce() -> Result<u8>,
) -> Result<u8> {
    match sandbox::enter(&config.target_hostname, terminal)? {
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

fn run_internal(internal: Internal) -> Result<u8> {
    let code = match internal {
        Internal::Host { argv } => isolate::isolate(&isolate::Isolation {
            root: None,
            argv,
            script: None,
        })?,
        Internal::Chroot { script, root, argv } => {
            script::run_in_chroot(root, script.is_some(), argv)?
        }
        Internal::Bootstrap(request) => {
            bootstrap::bootstrap(&request)?;
            0
        }
    };
    u8::try_from(code).context("reading an exit code")
}
