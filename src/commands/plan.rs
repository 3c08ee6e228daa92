//! `plan` and `why`: what a build would do, and for what reasons.

use super::{print_json, request, variants, wall};
use crate::archives::mirror::Mirrors;
use crate::archives::state::State;
use crate::base::tool::Task;
use crate::check;
use crate::cli::ConfigArgs;
use crate::config::Config;
use crate::layers::job::Job;
use crate::layers::progress::Progress;
use crate::layers::schedule::Schedule;
use crate::layers::seal::Seal;
use crate::layers::store::Store;
use crate::layers::told::{Plans, Reasons};
use anyhow::Result;

/// Prints every step: whether it would run, and why.
pub(super) fn plan(args: &ConfigArgs, json: bool) -> Result<u8> {
    if !json {
        return show(args, |config, schedule| {
            let variables = config.variables.iter().map(|one| format!("{one}\n"));
            Ok(format!("{}{schedule}", variables.collect::<String>()))
        });
    }
    let mut builds = Vec::new();
    each(args, |config, schedule, _| {
        builds.push(schedule.told(config));
        Ok(())
    })?;
    print_json(&Plans::of(builds))?;
    Ok(0)
}

/// Prints why the stage or step `at` would run, or not.
pub(super) fn why(args: &ConfigArgs, at: &str, json: bool) -> Result<u8> {
    if !json {
        return show(args, |_, schedule| schedule.why(at));
    }
    let mut builds = Vec::new();
    each(args, |config, schedule, _| {
        let (image, arch) = (&config.img_name, config.arch.debian());
        builds.push(schedule.told_why(at, image, arch)?);
        Ok(())
    })?;
    print_json(&Reasons::of(builds))?;
    Ok(0)
}

/// What `why` says of `at`, for all images.
pub(super) fn why_text(args: &ConfigArgs, at: &str) -> Result<String> {
    let mut all = String::new();
    each(args, |_, schedule, _| {
        all += &schedule.why(at)?;
        Ok(())
    })?;
    Ok(all)
}

/// Prints what `text` makes of the schedule of each image.
fn show(args: &ConfigArgs, text: impl Fn(&Config, &Schedule<'_>) -> Result<String>) -> Result<u8> {
    each(args, |config, schedule, of_several| {
        if of_several {
            println!("{} ({})", config.img_name, config.arch.debian());
        }
        print!("{}", text(config, schedule)?);
        Ok(())
    })?;
    Ok(0)
}

/// Hands the schedule of each image to `work`, and whether there are several.
fn each(
    args: &ConfigArgs,
    mut work: impl FnMut(&Config, &Schedule<'_>, bool) -> Result<()>,
) -> Result<()> {
    let variants = variants::of(&request(args)?);
    for variant in &variants {
        let (config, plan) = check::ready_for(Task::Plan, variant)?;
        let mirrors = Mirrors::resolve(&config);
        let state = State::now(&config, &mirrors, &config.work());
        let job = Job {
            config: &config,
            plan: &plan,
            mirrors: &mirrors,
            state: &state,
            locked: None,
            seal: &Seal::look(&config.work_dir)?,
        };
        let last = Progress::last(&config)?;
        let schedule = Schedule::new(
            &job,
            &Store::at(&config.work_dir, &wall::ids(&config)?),
            last.as_ref(),
        )?;
        work(&config, &schedule, variants.len() > 1)?;
    }
    Ok(())
}
