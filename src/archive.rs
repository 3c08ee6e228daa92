//! The state of the package archive: what makes two builds on two days different.

use crate::command::Command;
use crate::config::Config;
use crate::mirror::Mirrors;
use crate::work;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

const UNKNOWN: &str = "unknown";

/// Seconds to wait for the archive when its last known state would do too, and otherwise.
const SOON: u32 = 5;
const PATIENT: u32 = 60;

/// Identity and date of the package index at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Hash of the suites' release files; `unknown` when they cannot be had.
    pub id: String,
    /// Date of the newest release file, seconds since 1970.
    pub date: Option<i64>,
}

impl State {
    /// The state this build stands on: the archive's as it is now, or with `CONTINUE=1`, and
    /// without a network, that of the last build in `work`. What is not as one would expect is
    /// told to `note`.
    ///
    /// # Errors
    /// When the archive cannot be reached and was not before, or the state cannot be kept for
    /// the next build.
    pub fn of_build(
        config: &Config,
        mirrors: &Mirrors,
        work: &Path,
        note: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let path = work.join("archive.json");
        let last: Option<Self> = work::load(&path)?.filter(|state: &Self| state.id != UNKNOWN);
        let state = match last {
            Some(last) if config.resume => return Ok(last),
            Some(last) => {
                let now = Self::fetch(config, mirrors, SOON);
                if now.id == UNKNOWN {
                    note("the package archive cannot be reached: the last build's index counts");
                    return Ok(last);
                }
                now
            }
            None => Self::fetch(config, mirrors, PATIENT),
        };
        if state.id == UNKNOWN && !mirrors.build.is_empty() {
            bail!(
                "the package archive {} has no release {} to read, or cannot be reached; see MIRROR and RELEASE in config.example",
                mirrors.build,
                config.release
            );
        }
        fs::create_dir_all(work).with_context(|| format!("making {}", work.display()))?;
        work::save(&path, &state)?;
        Ok(state)
    }

    /// The state that the last build in `work` stood on.
    ///
    /// # Errors
    /// When nothing was built there.
    pub fn last(work: &Path) -> Result<Self> {
        work::load(&work.join("archive.json"))?
            .with_context(|| format!("nothing was built yet in {}", work.display()))
    }

    /// The state a build would stand on now; nothing is kept, and no state is no error.
    pub fn now(config: &Config, mirrors: &Mirrors, work: &Path) -> Self {
        let last: Option<Self> = work::load(&work.join("archive.json")).ok().flatten();
        match last {
            Some(last) if config.resume => last,
            last => match (Self::fetch(config, mirrors, SOON), last) {
                (now, Some(last)) if now.id == UNKNOWN => last,
                (now, _) => now,
            },
        }
    }

    /// Asks the archive for its release files. They are only compared here; apt checks the
    /// signatures of what it fetches itself.
    fn fetch(config: &Config, mirrors: &Mirrors, seconds: u32) -> Self {
        let release = &config.release;
        let mut places = vec![format!("{}/dists/{release}", mirrors.build)];
        for suite in config.extra_suites() {
            let mirror = if suite == "security" {
                &mirrors.security
            } else {
                &mirrors.build
            };
            places.push(format!("{mirror}/dists/{release}-{suite}"));
        }
        // All at once: one after the other would be the longest part of a build that has
        // nothing to do.
        let texts: Vec<String> = std::thread::scope(|scope| {
            let fetch =
                |place: &String| download(&format!("{place}/InRelease"), config, seconds).ok();
            let threads: Vec<_> = places
                .iter()
                .map(|place| scope.spawn(move || fetch(place)))
                .collect();
            threads
                .into_iter()
                .filter_map(|thread| thread.join().ok().flatten())
                .collect()
        });
        Self::of(&texts)
    }

    fn of(texts: &[String]) -> Self {
        if texts.is_empty() {
            return Self {
                id: UNKNOWN.to_owned(),
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
fn download(url: &str, config: &Config, seconds: u32) -> Result<String> {
    let file = tempfile::NamedTempFile::new().context("making a temporary file")?;
    let mut command = Command::new("timeout")
        .args([&seconds.to_string(), "/usr/lib/apt/apt-helper"])
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
