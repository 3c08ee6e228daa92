//! `build`: config → plan → check → build and export, the last two in the sandbox.

use super::{in_sandbox, request, variants, wall};
use crate::archives::keyring::Signed;
use crate::archives::lockfile;
use crate::archives::mirror::Mirrors;
use crate::archives::state::State;
use crate::base::work;
use crate::check;
use crate::cli::BuildArgs;
use crate::config::{Config, ConfigRequest};
use crate::layers::deployed;
use crate::layers::job::{Job, Locked};
use crate::layers::progress::Progress;
use crate::layers::schedule::Schedule;
use crate::layers::store::Store;
use crate::native::dispatch::Mode;
use crate::pipeline;
use crate::sandbox::{self, Terminal};
use anyhow::Result;

pub(super) fn build(args: &BuildArgs) -> Result<u8> {
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
            let schedule = Schedule::new(
                &job,
                &Store::at(&config.work_dir, &wall::ids(&config)?),
                Some(&last),
            )?;
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
    let job = Job {
        config: &config,
        plan: &plan,
        mirrors: &mirrors,
        state: &state,
        locked: locked.as_ref(),
    };
    in_sandbox(&config, &plan, Terminal::Detached, |ids| {
        pipeline::build(&job, &options, ids).map(|()| 0)
    })
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
