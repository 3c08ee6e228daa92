//! `build`: config → plan → check → build and export, the last two in the sandbox.

use super::{in_sandbox, request, variants, wall};
use crate::archives::keyring::Signed;
use crate::archives::lockfile;
use crate::archives::mirror::Mirrors;
use crate::archives::state::State;
use crate::base::events::{self, Event, Target};
use crate::base::problem::Problems;
use crate::base::tool::Task;
use crate::base::work;
use crate::check::{self, tools_for};
use crate::cli::BuildArgs;
use crate::config::{Config, Settings};
use crate::images::{self, test::args::TestArgs};
use crate::layers::deployed::{self, Deployed};
use crate::layers::job::{Job, Locked};
use crate::layers::progress::Progress;
use crate::layers::schedule::Schedule;
use crate::layers::seal::Seal;
use crate::layers::store::Store;
use crate::native::dispatch::Mode;
use crate::pipeline;
use crate::plan::Plan;
use crate::sandbox::{self, Terminal};
use anyhow::{Context, Result};
use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

pub(super) fn build(args: &BuildArgs) -> Result<u8> {
    let target = args.events.as_deref().map(Target::of);
    if args.one_of_several {
        if let Some(target) = &target {
            events::append(target).map_err(|problem| Problems(vec![problem]))?;
        }
        return build_one(&variants::handed_over()?, args);
    }
    if let Some(target) = &target {
        events::begin(target).map_err(|problem| Problems(vec![problem]))?;
    }
    let result = build_all(args);
    events::end(code_of(&result));
    result
}

/// Builds what `args` ask for: one image, or several.
fn build_all(args: &BuildArgs) -> Result<u8> {
    let variants = told(variants_of(args))?;
    match variants.as_slice() {
        [one] => build_one(one, args),
        several => told(variants::build(several, args)),
    }
}

/// The variants that `args` ask for; what the build machine lacks is installed if it is to be.
fn variants_of(args: &BuildArgs) -> Result<Vec<Settings>> {
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
    Ok(variants)
}

/// Builds one image, and tells of its begin and end.
fn build_one(settings: &Settings, args: &BuildArgs) -> Result<u8> {
    if events::is_wanted() {
        let config = settings.judge().config;
        events::of(config.as_ref().map(check::subject).unwrap_or_default());
    }
    let result = told(build_it(settings, args));
    events::end_build(code_of(&result));
    result
}

/// The exit code that `main` makes of a command's result.
fn code_of(result: &Result<u8>) -> u8 {
    match result {
        Ok(code) => *code,
        Err(error) if error.is::<Problems>() => 2,
        Err(_) => 1,
    }
}

/// Tells those who listen to events why a build ends.
fn told<T>(result: Result<T>) -> Result<T> {
    if let Err(error) = &result {
        match error.downcast_ref::<Problems>() {
            Some(Problems(problems)) => problems
                .iter()
                .for_each(|problem| events::tell(&Event::Problem(problem.clone()))),
            None => events::tell(&Event::Error {
                text: format!("{error:#}"),
            }),
        }
    }
    result
}

/// config → plan → check → build and export, the last two in the sandbox.
fn build_it(settings: &Settings, args: &BuildArgs) -> Result<u8> {
    let mut note = events::note;
    if args.one_of_several {
        sandbox::stop_with_parent()?;
    }
    let ready = match look_for_changes(settings, args, &mut note)? {
        Before::NothingChanged(files) => {
            println!("nothing has changed since the last build");
            files
                .iter()
                .for_each(|file| println!("        {}", file.display()));
            pipeline::artefacts(&files, true);
            return test(settings, args);
        }
        Before::Held(ground) => Some(*ground),
        Before::Unknown => None,
    };
    let (config, plan) = check::everything(settings)?;
    check::notes(&config, &plan)
        .iter()
        .for_each(|text| note(text));
    let ground = match ready {
        Some(ground) => ground,
        None => Ground::hold(&config, args, &mut note)?,
    };
    let options = pipeline::Options {
        mode: if args.emulate {
            Mode::Emulate
        } else {
            Mode::Native
        },
        timings: args.timings,
        one_of_several: args.one_of_several,
        // Inside, the machine has another name.
        host_name: nix::unistd::gethostname()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
    };
    // Read out here: in the sandbox another user may be the one who is root.
    let seal = Seal::make(&config.work_dir)?;
    let job = ground.job(&config, &plan, &seal);
    let inside = Cell::new(false);
    let code = in_sandbox(&config, &plan, Terminal::Detached, |ids| {
        inside.set(true);
        pipeline::build(&job, &options, ids).map(|()| 0)
    })?;
    // The images are tested out here, by the user who asked for it.
    if inside.get() || code != 0 {
        return Ok(code);
    }
    test(settings, args)
}

/// With `--test`, tests each image by the `tests.toml` of its stage, or else by the tests that
/// come with the program. The exit code.
fn test(settings: &Settings, args: &BuildArgs) -> Result<u8> {
    if !args.test {
        return Ok(0);
    }
    let (config, plan) = check::everything(settings)?;
    tools_for(Task::Boot)?;
    if let Some(dir) = &args.junit {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    }
    let deployed = Deployed::load(&config.work())?;
    let mut worst = 0;
    for stage in &plan.stages {
        let Some(export) = &stage.export else {
            continue;
        };
        let image = deployed.image(&export.image);
        let image = image.with_context(|| format!("{} is not there", export.image))?;
        let tests = stage.dir.join(TESTS);
        let code = images::test::run(&TestArgs {
            paths: std::iter::once(image.to_owned())
                .chain(tests.exists().then_some(tests))
                .collect(),
            junit: args
                .junit
                .as_ref()
                .map(|dir| dir.join(format!("{}.xml", export.image))),
            ..TestArgs::default()
        });
        worst = images::test::worse(worst, code);
    }
    Ok(worst)
}

/// What a stage expects of its image.
const TESTS: &str = "tests.toml";

/// What is found before the build machine is looked at.
enum Before {
    /// The last build's files, which are what this one would make.
    NothingChanged(Vec<PathBuf>),
    /// Something is to be built, on this.
    Held(Box<Ground>),
    /// Nothing, or a fault that the full check tells of.
    Unknown,
}

/// When nothing has changed there is no need to look at the build machine, unless others are to
/// have what is there.
fn look_for_changes(
    settings: &Settings,
    args: &BuildArgs,
    note: &mut dyn FnMut(&str),
) -> Result<Before> {
    let Ok((config, plan)) = check::plan(settings) else {
        return Ok(Before::Unknown);
    };
    let last = Progress::last(&config)?
        .filter(|last| last.complete && !config.clean && config.cache_to.is_none());
    let Some(last) = last else {
        return Ok(Before::Unknown);
    };
    let ground = Ground::hold(&config, args, note)?;
    let seal = Seal::look(&config.work_dir)?;
    let job = ground.job(&config, &plan, &seal);
    let store = Store::at(&config.work_dir, &wall::ids(&config)?);
    let schedule = Schedule::new(&job, &store, Some(&last))?;
    Ok(match deployed::all_there(&job, &schedule)? {
        Some(files) => Before::NothingChanged(files),
        None => Before::Held(Box::new(ground)),
    })
}

/// What a build stands on, with the work directory held for it.
struct Ground {
    /// Another build of the same command holds it where this is `None`.
    _held: Option<work::Held>,
    mirrors: Mirrors,
    locked: Option<Locked>,
    state: State,
}

impl Ground {
    fn hold(config: &Config, args: &BuildArgs, note: &mut dyn FnMut(&str)) -> Result<Self> {
        let own = !args.one_of_several;
        let held = own
            .then(|| work::hold(&config.work_dir, "build"))
            .transpose()?;
        let (mirrors, locked, state) = stand_on(config, args, note)?;
        Ok(Self {
            _held: held,
            mirrors,
            locked,
            state,
        })
    }

    fn job<'a>(&'a self, config: &'a Config, plan: &'a Plan, seal: &'a Seal) -> Job<'a> {
        Job {
            config,
            plan,
            mirrors: &self.mirrors,
            state: &self.state,
            locked: self.locked.as_ref(),
            seal,
        }
    }
}

/// The archive a build stands on: as it is now, or as a lock file has it.
fn stand_on(
    config: &Config,
    args: &BuildArgs,
    note: &mut dyn FnMut(&str),
) -> Result<(Mirrors, Option<Locked>, State)> {
    let mirrors = Mirrors::resolve(config);
    // One that cannot be read would be found at the end of the build otherwise.
    lockfile::LockFile::load(&lockfile::path_of(config))?;
    for signed in Signed::of(config) {
        signed.find(config, args.offline)?;
    }
    if !args.locked && !args.offline {
        let state = State::of_build(config, &mirrors, &config.work(), note)?;
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
