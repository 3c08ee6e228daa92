//! What a command starts.

use crate::base::tool::Tool;
use anyhow::{Context, Result};
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::OnceLock;

/// What is started.
#[derive(Debug, Clone)]
pub enum Program {
    /// A program of this machine, looked for in PATH and in administrators' directories.
    Of(Tool),
    /// The same program from another place, such as the tools root's own.
    At(PathBuf, Tool),
    /// This program itself.
    Own,
    /// A program of the root file system that this process has entered, by name or path.
    Inside(OsString),
}

impl From<Tool> for Program {
    fn from(tool: Tool) -> Self {
        Self::Of(tool)
    }
}

impl Program {
    /// Name by which messages call it.
    pub(super) fn name(&self) -> Cow<'_, OsStr> {
        match self {
            Self::Of(tool) => Cow::Owned(tool.program().into()),
            Self::At(path, _) => Cow::Borrowed(path.as_os_str()),
            Self::Own => Cow::Borrowed("westwork-gen".as_ref()),
            Self::Inside(program) => Cow::Borrowed(program),
        }
    }

    /// What the kernel is given.
    pub(super) fn locate(&self) -> Result<OsString> {
        match self {
            Self::Of(tool) => tool
                .find()
                .map(PathBuf::into_os_string)
                .with_context(|| tool.lacking()),
            Self::At(path, _) => Ok(path.clone().into()),
            Self::Own => own_program().map(PathBuf::into_os_string),
            Self::Inside(program) => Ok(program.clone()),
        }
    }
}

/// This program's own file, as it was found at the first call. The kernel's name for it leads
/// nowhere once the process has another root.
///
/// # Errors
/// When it is gone.
pub fn own_program() -> Result<PathBuf> {
    static OWN: OnceLock<PathBuf> = OnceLock::new();
    if let Some(own) = OWN.get() {
        return Ok(own.clone());
    }
    let own = std::env::current_exe().context("finding the program itself")?;
    Ok(OWN.get_or_init(|| own).clone())
}
