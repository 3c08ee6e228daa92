//! `lock`: the last build's packages, or what is new, into the lock file.

use super::{in_sandbox, request, variants};
use crate::archives::lockfile;
use crate::archives::mirror::Mirrors;
use crate::archives::state::State;
use crate::base::tool::Task;
use crate::base::work;
use crate::check;
use crate::cli::ConfigArgs;
use crate::layers::job::Job;
use crate::layers::progress::Progress;
use crate::layers::seal::Seal;
use crate::pipeline;
use crate::sandbox::Terminal;
use anyhow::Result;

/// Writes the lock file from the last build, or with `update` shows and takes what is new.
pub(super) fn lock(args: &ConfigArgs, update: Option<Option<String>>) -> Result<u8> {
    let task = if update.is_some() {
        Task::Update
    } else {
        Task::Lock
    };
    let (config, plan) = check::ready_for(task, &variants::only(&request(args)?, "lock")?)?;
    let mirrors = Mirrors::resolve(&config);
    if let Some(package) = update {
        lockfile::update::update(&config, &mirrors, package.as_deref())?;
        return Ok(0);
    }
    let last = Progress::load(&config)?;
    let _held = work::hold(&config.work_dir, "lock")?;
    let state = State::last(&config.work())?;
    let job = Job {
        config: &config,
        plan: &plan,
        mirrors: &mirrors,
        state: &state,
        locked: None,
        seal: &Seal::look(&config.work_dir)?,
    };
    in_sandbox(&config, &plan, Terminal::Detached, |ids| {
        pipeline::lock(&job, &last, ids).map(|()| 0)
    })
}
