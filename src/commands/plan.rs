//! `plan` and `why`: what a build would do, and for what reasons.

use super::{request, variants, wall};
use crate::archives::mirror::Mirrors;
use crate::archives::state::State;
use crate::base::tool::Task;
use crate::check;
use crate::cli::ConfigArgs;
use crate::layers::job::Job;
use crate::layers::progress::Progress;
use crate::layers::schedule::Schedule;
use crate::layers::seal::Seal;
use crate::layers::store::Store;
use anyhow::Result;

/// Prints what `text` makes of the schedule of each image.
pub(super) fn show_schedules(
    args: &ConfigArgs,
    text: impl Fn(&Schedule<'_>) -> Result<String>,
) -> Result<u8> {
    let variants = variants::of(&request(args)?);
    for variant in &variants {
        let (config, plan) = check::ready_for(Task::Plan, variant)?;
        if variants.len() > 1 {
            println!("{} ({})", config.img_name, config.arch.debian());
        }
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
        print!("{}", text(&schedule)?);
    }
    Ok(0)
}
