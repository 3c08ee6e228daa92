//! `clean`: removes layers.

use super::{in_sandbox, request, variants};
use crate::base::tool::Task;
use crate::base::work;
use crate::check;
use crate::cli::ConfigArgs;
use crate::layers::clean::{self, What};
use crate::sandbox::Terminal;
use anyhow::Result;

pub(super) fn clean(args: &ConfigArgs, what: What) -> Result<u8> {
    let (config, plan) = check::ready_for(Task::Clean, &variants::only(&request(args)?, "clean")?)?;
    let _held = work::hold(&config.work_dir, "clean")?;
    in_sandbox(&config, &plan, Terminal::Detached, |_| {
        clean::clean(&config.work_dir, what).map(|sound| u8::from(!sound))
    })
}
