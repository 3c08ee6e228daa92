//! `clean`: removes layers.

use super::{in_sandbox, in_sandbox_of, request, variants};
use crate::base::tool::Task;
use crate::base::work;
use crate::check;
use crate::cli::ConfigArgs;
use crate::layers::clean::{self, What};
use crate::sandbox::Terminal;
use crate::sandbox::view::{Access, View};
use anyhow::Result;
use std::path::Path;

/// Empties `work_dir`, whatever is in it.
pub(super) fn empty(work_dir: &Path) -> Result<u8> {
    let _held = work::hold(work_dir, "clean")?;
    let everything = What {
        all: true,
        keep: 1,
        size: None,
        verify: false,
    };
    let mut view = View::of_machine();
    view.see(work_dir, Access::Write)?;
    in_sandbox_of(view, "westwork-gen", Terminal::Detached, |_| {
        clean::clean(work_dir, everything).map(|_| 0)
    })
}

pub(super) fn clean(args: &ConfigArgs, what: What) -> Result<u8> {
    let (config, plan) = check::ready_for(Task::Clean, &variants::only(&request(args)?, "clean")?)?;
    let _held = work::hold(&config.work_dir, "clean")?;
    in_sandbox(&config, &plan, Terminal::Detached, |_| {
        clean::clean(&config.work_dir, what).map(|sound| u8::from(!sound))
    })
}
