//! Builds bootable Raspberry Pi images from stage directories.
//!
//! The way through the code, in one direction:
//!
//! | band | modules |
//! |---|---|
//! | read and judge | [`cli`], [`config`], [`variants`], [`step`], [`plan`], [`check`], [`mirror`], [`keyring`], [`archive`], [`lockfile`] |
//! | decide | [`key`], [`layer`], [`progress`], [`schedule`], [`deployed`] |
//! | build | [`build`], [`durable`], [`script`], [`apt`], [`pool`], [`patch`], [`bootstrap`] |
//! | export | [`finalise`], [`export`] |
//! | try out | [`shell`], [`boot`] |
//! | images in hand | `image`, [`flash`], [`inspect`], [`diff`] |
//! | tidy | [`work`], [`clean`] |
//! | system | [`sandbox`], [`isolate`], [`rootfs`], [`dispatch`], [`command`], [`tool`], [`output`], [`timings`], [`problem`], `disk` |

pub mod apt;
pub mod archive;
pub mod boot;
pub mod bootstrap;
pub mod build;
pub mod check;
pub mod clean;
pub mod cli;
pub mod command;
pub mod config;
pub mod cross;
pub mod deployed;
pub mod diff;
mod disk;
pub mod dispatch;
pub mod durable;
pub mod export;
pub mod finalise;
pub mod flash;
mod image;
pub mod inspect;
pub mod isolate;
pub mod key;
pub mod keyring;
pub mod layer;
pub mod lockfile;
pub mod mirror;
pub mod output;
pub mod patch;
pub mod plan;
pub mod pool;
pub mod problem;
pub mod progress;
pub mod python;
pub mod rootfs;
pub mod sandbox;
pub mod schedule;
pub mod script;
pub mod share;
pub mod shell;
pub mod step;
pub mod timings;
pub mod tool;
pub mod trouble;
pub mod variants;
pub mod work;

use anyhow::{Context, Result};
use archive::State;
use cli::{BuildArgs, Cli, Command, ConfigArgs, ExportArgs, Internal};
use config::{Config, ConfigRequest};
use dispatch::Mode;
use layer::Store;
use mirror::Mirrors;
use progress::Progress;
use sandbox::{Role, Terminal};
use schedule::{Job, Locked, Schedule};
use work::work_of;

/// Carries out one command. Returns the process's exit code.
///
/// # Errors
/// [`problem::Problems`] for bad input or an unfit host (exit code 2); anything else is a
/// build that failed (exit code 1).
pub fn run(cli: Cli) -> Result<u8> {
    match cli.command {
        Command::Build(args) => build(&args),
        Command::Plan { config } => show_schedules(&config, |schedule| Ok(schedule.to_string())),
        Command::Why { config, step } => show_schedules(&config, |schedule| schedule.why(&step)),
        Command::Check { config } => check_only(&config),
        Command::Clean { config, what } => {
            let (config, _) = check::plan(&variants::only(&request(&config)?, "clean")?)?;
            let _held = work::hold(&config.work_dir, "clean")?;
            in_sandbox(&config, Terminal::Detached, || {
                clean::clean(&config.work_dir, what).map(|()| 0)
            })
        }
        Command::Shell { config, at, keep } => {
            let (config, plan) = check::plan(&variants::only(&request(&config)?, "shell")?)?;
            // Nothing is made where nothing was built.
            Progress::load(&config)?;
            let _held = work::hold(&config.work_dir, "shell")?;
            in_sandbox(&config, Terminal::Shared, || {
                shell::shell(&config, &plan, at.as_deref(), keep)
            })
        }
        Command::Lock { config, update } => lock(&config, update),
        Command::Boot(args) => boot::run(&args),
        Command::Diff(args) => Ok(diff::run(&args)),
        Command::Flash(args) => flash::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Internal(internal) => run_internal(internal),
    }
}

fn build(args: &BuildArgs) -> Result<u8> {
    let mut request = request(&args.config)?;
    if args.resume {
        request.set.push("CONTINUE=1".to_owned());
    }
    for (key, address) in [
        ("CACHE_FROM", &args.cache_from),
        ("CACHE_TO", &args.cache_to),
    ] {
        request
            .set
            .extend(address.iter().map(|address| format!("{key}={address}")));
    }
    let variants = variants::of(&request);
    if args.install_deps {
        variants.iter().try_for_each(check::install_missing)?;
    }
    match variants.as_slice() {
        [one] => build_one(one, args),
        several => variants::build(several, args),
    }
}

/// config → plan → check → build and export, the last two in the sandbox.
fn build_one(request: &ConfigRequest, args: &BuildArgs) -> Result<u8> {
    let mut note = |text: &str| eprintln!("note: {text}");
    let hold = |config: &Config| {
        let own = !args.one_of_several;
        own.then(|| work::hold(&config.work_dir, "build"))
            .transpose()
    };
    if args.one_of_several {
        sandbox::stop_with_parent()?;
    }
    let mut ready = None;
    // When nothing has changed there is no need to look at the build machine, unless others are
    // to have what is there.
    if let Ok((config, plan)) = check::plan(request) {
        let last = Progress::last(&config)?
            .filter(|last| last.complete && !config.clean && config.cache_to.is_none());
        if let Some(last) = last {
            let held = hold(&config)?;
            let (mirrors, locked, state) = stand_on(&config, args, &mut note)?;
            let job = Job {
                config: &config,
                plan: &plan,
                mirrors: &mirrors,
                state: &state,
                locked: locked.as_ref(),
            };
            let schedule = Schedule::new(&job, &Store::at(&config.work_dir), Some(&last))?;
            if let Some(files) = deployed::all_there(&job, &schedule)? {
                println!("nothing has changed since the last build");
                files
                    .iter()
                    .for_each(|file| println!("        {}", file.display()));
                return Ok(0);
            }
            ready = Some((held, mirrors, locked, state));
        }
    }
    let (config, plan) = check::everything(request)?;
    check::notes(&config, &plan)
        .iter()
        .for_each(|text| note(text));
    let (_held, mirrors, locked, state) = match ready {
        Some(ready) => ready,
        None => {
            let held = hold(&config)?;
            let (mirrors, locked, state) = stand_on(&config, args, &mut note)?;
            (held, mirrors, locked, state)
        }
    };
    let options = build::Options {
        mode: if args.emulate {
            Mode::Emulate
        } else {
            Mode::Native
        },
        timings: args.timings,
        one_of_several: args.one_of_several,
    };
    let job = Job {
        config: &config,
        plan: &plan,
        mirrors: &mirrors,
        state: &state,
        locked: locked.as_ref(),
    };
    in_sandbox(&config, Terminal::Detached, || {
        build::build(&job, &options).map(|()| 0)
    })
}

/// The archive a build stands on: as it is now, or as a lock file has it.
fn stand_on(
    config: &Config,
    args: &BuildArgs,
    note: &mut dyn FnMut(&str),
) -> Result<(Mirrors, Option<Locked>, State)> {
    let mirrors = Mirrors::resolve(config);
    for signed in keyring::Signed::of(config) {
        signed.find(config, args.offline)?;
    }
    if !args.locked && !args.offline {
        let state = State::of_build(config, &mirrors, &work_of(config), note)?;
        return Ok((mirrors, None, state));
    }
    let (file, image) = lockfile::of_image(config)?;
    let tools = file.root(lockfile::Which::of(config, lockfile::Use::Tools));
    let state = State {
        tools: tools.map(|tools| tools.archive.clone()),
        ..image.state()
    };
    let locked = Locked {
        file,
        image,
        offline: args.offline,
    };
    Ok((mirrors, Some(locked), state))
}

/// Writes the lock file from the last build, or with `update` shows and takes what is new.
fn lock(args: &ConfigArgs, update: Option<Option<String>>) -> Result<u8> {
    let (config, plan) = check::everything(&variants::only(&request(args)?, "lock")?)?;
    let mirrors = Mirrors::resolve(&config);
    if let Some(package) = update {
        lockfile::update::update(&config, &mirrors, package.as_deref())?;
        return Ok(0);
    }
    let last = Progress::load(&config)?;
    let _held = work::hold(&config.work_dir, "lock")?;
    let state = State::last(&work_of(&config))?;
    let job = Job {
        config: &config,
        plan: &plan,
        mirrors: &mirrors,
        state: &state,
        locked: None,
    };
    in_sandbox(&config, Terminal::Detached, || {
        build::lock(&job, &last).map(|()| 0)
    })
}

/// Prints what `text` makes of the schedule of each image.
fn show_schedules(args: &ConfigArgs, text: impl Fn(&Schedule<'_>) -> Result<String>) -> Result<u8> {
    let variants = variants::of(&request(args)?);
    for variant in &variants {
        let (config, plan) = check::plan(variant)?;
        if variants.len() > 1 {
            println!("{} ({})", config.img_name, config.arch.debian());
        }
        let mirrors = Mirrors::resolve(&config);
        let state = State::now(&config, &mirrors, &work_of(&config));
        let job = Job {
            config: &config,
            plan: &plan,
            mirrors: &mirrors,
            state: &state,
            locked: None,
        };
        let last = Progress::last(&config)?;
        let schedule = Schedule::new(&job, &Store::at(&config.work_dir), last.as_ref())?;
        print!("{}", text(&schedule)?);
    }
    Ok(0)
}

fn check_only(args: &ConfigArgs) -> Result<u8> {
    for variant in variants::of(&request(args)?) {
        let (config, plan) = check::everything(&variant)?;
        for note in check::notes(&config, &plan) {
            println!("note: {note}");
        }
        let steps = plan.steps().count();
        println!(
            "nothing stands in the way of building {} for {} ({steps} steps)",
            config.img_name,
            config.arch.debian()
        );
    }
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

/// Exports `args.root` with the settings of `args.config` that concern an export.
fn export_tree(args: &ExportArgs) -> Result<()> {
    let mut request = request(&args.config)?;
    request.set.push(format!("IMG_NAME={}", args.name));
    // The stages do not matter, but a config has some.
    request
        .set
        .push(format!("STAGE_LIST={}", args.root.display()));
    let loaded = Config::load(&request);
    problem::Problems(loaded.problems).into_result()?;
    let config = loaded.config.context("reading the settings")?;
    let scratch = tempfile::tempdir_in(&args.deploy_dir).context("making a directory")?;
    let exported = export::export(
        &export::ExportRequest {
            rootfs: &args.root,
            scratch: scratch.path(),
            deploy_dir: &args.deploy_dir,
            name: args.name.clone(),
            archive_name: args.name.clone(),
            formats: config.compression.clone(),
            level: config.compression_level,
            boot_size: config.boot_size,
            root_margin: config.root_margin,
            arch: config.arch,
            distro: config.distro,
            release: config.release.clone(),
            source_date_epoch: config.source_date_epoch.unwrap_or(0),
            info_lines: Vec::new(),
            init_format: "none",
            deploy_url: config.deploy_url.clone(),
            signer: config.sign_with.clone(),
            record: serde_json::Value::Null,
            beside: Vec::new(),
            disk: config.disk.clone(),
            mke2fs: "mke2fs".to_owned(),
            mkfs_root: match config.disk.root {
                config::RootKind::Ext4 => None,
                config::RootKind::Squashfs => Some("mksquashfs".to_owned()),
                config::RootKind::Erofs => Some("mkfs.erofs".to_owned()),
            },
        },
        &mut |line| eprintln!("{line}"),
    )?;
    for file in exported.files.iter().chain(&exported.shared) {
        println!("{}", file.display());
    }
    Ok(())
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
        Internal::CrossBuild(request) => {
            cross::cross_build(&request)?;
            0
        }
        Internal::PythonEnv(request) => {
            python::environment(&request)?;
            0
        }
        Internal::Export(args) => {
            export_tree(&args)?;
            0
        }
    };
    u8::try_from(code).context("reading an exit code")
}
