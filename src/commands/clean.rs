//! `clean`: removes layers.

use super::{in_sandbox, in_sandbox_of, request, variants};
use crate::base::work;
use crate::check;
use crate::cli::ConfigArgs;
use crate::layers::clean::{self, What};
use crate::sandbox::Terminal;
use anyhow::Result;
use std::path::Path;

/// Empties `work_dir`, whatever is in it.
pub(super) fn empty(work_dir: &Path) -> Result<u8> {
    let _held = work::hold(work_dir, "clean")?;
    let everything = What {
        all: true,
        keep: 1,
        size: None,
    };
    in_sandbox_of("westwork-gen", Terminal::Detached, || {
        clean::clean(work_dir, everything).map(|()| 0)
    })
}

pub(super) fn clean(args: &ConfigArgs, what: What) -> Result<u8> {
    let (config, _) = check::plan(&variants::only(&request(args)?, "clean")?)?;
    let _held = work::hold(&config.work_dir, "clean")?;
    in_sandbox(&config, Terminal::Detached, || {
        clean::clean(&config.work_dir, what).map(|()| 0)
    })
}
