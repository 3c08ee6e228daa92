//! Downloads by apt's own helper.

use crate::base::command::Command;
use crate::base::tool::Tool;
use crate::config::{Config, proxy};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// Seconds to wait for the archive when nothing else would do.
pub(crate) const PATIENT: u32 = 60;

pub(crate) fn download(url: &str, config: &Config, seconds: u32) -> Result<String> {
    let file = tempfile::NamedTempFile::new().context("making a temporary file")?;
    helper(url, file.path(), config, seconds)?;
    fs::read_to_string(file.path()).with_context(|| format!("reading {url}"))
}

/// Fetches `url` to the file `to`.
///
/// # Errors
/// When it cannot be had.
pub(crate) fn fetch_to(url: &str, to: &Path, config: &Config) -> Result<()> {
    helper(url, to, config, PATIENT)
}

/// Fetches by apt's own downloader, so that its proxies and certificates are in force.
fn helper(url: &str, to: &Path, config: &Config, seconds: u32) -> Result<()> {
    let timeout = config.apt_timeout.min(15);
    let mut command = Command::new(Tool::AptHelper)
        .through(Tool::Timeout, [seconds.to_string()])
        .args(["-oAcquire::Retries=1"])
        .arg(format!("-oAcquire::http::Timeout={timeout}"))
        .arg(format!("-oAcquire::https::Timeout={timeout}"));
    command = command.args(proxy::apt_options(config.apt_proxy.as_deref()));
    command.arg("download-file").arg(url).arg(to).read()?;
    Ok(())
}
