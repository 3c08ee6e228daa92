//! The state of the package archive: what makes two builds on two days different.

use crate::command::Command;
use crate::config::Config;
use crate::mirror::Mirrors;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;

/// Identity and date of the package index at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Hash of the suites' release files; `unknown` when they cannot be had.
    pub id: String,
    /// Date of the newest release file, seconds since 1970.
    pub date: Option<i64>,
}

impl State {
    /// Asks the archive for its release files. They are only compared here; apt checks the
    /// signatures of what it fetches itself.
    ///
    /// Without a network the answer is `unknown`, and the layers there are stay good.
    pub fn fetch(config: &Config, mirrors: &Mirrors) -> Self {
        let release = &config.release;
        let mut places = vec![
            format!("{}/dists/{release}/InRelease", mirrors.build),
            format!("{}/dists/{release}-updates/InRelease", mirrors.build),
        ];
        if !mirrors.security.is_empty() {
            places.push(format!(
                "{}/dists/{release}-security/InRelease",
                mirrors.security
            ));
        }
        let texts: Vec<String> = places
            .iter()
            .filter_map(|url| download(url, config).ok())
            .collect();
        Self::of(&texts)
    }

    fn of(texts: &[String]) -> Self {
        if texts.is_empty() {
            return Self {
                id: "unknown".to_owned(),
                date: None,
            };
        }
        let mut hash = Sha256::new();
        texts.iter().for_each(|text| hash.update(text));
        Self {
            id: hex::encode(hash.finalize()),
            date: texts.iter().filter_map(|text| date_of(text)).max(),
        }
    }
}

/// Fetches by apt's own downloader, so that its proxies and certificates are in force.
fn download(url: &str, config: &Config) -> Result<String> {
    let file = tempfile::NamedTempFile::new().context("making a temporary file")?;
    let mut command = Command::new("/usr/lib/apt/apt-helper")
        .args(["-oAcquire::Retries=1", "-oAcquire::http::Timeout=15"]);
    if let Some(proxy) = &config.apt_proxy {
        command = command.arg(format!("-oAcquire::http::Proxy={proxy}"));
    }
    command
        .arg("download-file")
        .arg(url)
        .arg(file.path())
        .read()?;
    fs::read_to_string(file.path()).with_context(|| format!("reading {url}"))
}

/// The `Date:` field of a Debian release file.
fn date_of(text: &str) -> Option<i64> {
    let value = text.lines().find_map(|line| line.strip_prefix("Date: "))?;
    let value = value.trim().replace("UTC", "+0000");
    Some(
        jiff::fmt::rfc2822::parse(&value)
            .ok()?
            .timestamp()
            .as_second(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_the_newest_of_all_suites() {
        let texts = [
            "Suite: stable\nDate: Sat, 06 Sep 2025 10:15:20 UTC\n".to_owned(),
            "Suite: stable-updates\nDate: Mon, 08 Sep 2025 02:10:00 UTC\n".to_owned(),
        ];
        assert_eq!(State::of(&texts).date, Some(1_757_297_400));
        assert_eq!(State::of(&[]).id, "unknown");
    }
}
