//! The state of the package archive: what makes two builds on two days different.

use crate::archives::download::{PATIENT, download};
use crate::archives::keyring::Signed;
use crate::archives::mirror::Mirrors;
use crate::base::work;
use crate::config::{Base, Config, Distro};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

const UNKNOWN: &str = "unknown";

/// Seconds to wait for the archive when its last known state would do too.
const SOON: u32 = 5;

/// Identity and date of the package index at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Hash of the suites' release files; `unknown` when they cannot be had.
    pub id: String,
    /// Date of the newest release file, seconds since 1970.
    pub date: Option<i64>,
    /// The same as `id` of the suites that the native tools come from, where those are not all
    /// of the image's and no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<String>,
}

impl State {
    /// The state this build stands on: the archives' as it is now, or with `CONTINUE=1`, and
    /// without a network, that of the last build in `work`. What is not as one would expect is
    /// told to `note`. Signatures of archives with a pinned key are judged here already, where
    /// the reason can be told; apt judges them again.
    ///
    /// # Errors
    /// When an archive cannot be reached and was not before, when its signature does not hold,
    /// or when the state cannot be kept for the next build.
    pub fn of_build(
        config: &Config,
        mirrors: &Mirrors,
        work: &Path,
        note: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let path = work.join("archive.json");
        let last: Option<Self> = work::load(&path)?.filter(|state: &Self| state.id != UNKNOWN);
        let now = match last {
            Some(last) if config.resume => return Ok(last),
            Some(last) => {
                let now = Fetched::new(config, mirrors, SOON);
                if now.missing(config).is_some() {
                    note(
                        "the package archive cannot be reached; the index of the last build is used",
                    );
                    return Ok(last);
                }
                now
            }
            None => Fetched::new(config, mirrors, PATIENT),
        };
        if let Some((key, address)) = now
            .missing(config)
            .filter(|(_, archive)| !archive.is_empty())
        {
            bail!(
                "the package archive {address} has no release {} to read, or cannot be reached; see {key} and RELEASE in config.example",
                config.release
            );
        }
        now.verify(config)?;
        fs::create_dir_all(work).with_context(|| format!("making {}", work.display()))?;
        let state = now.state(config);
        work::save(&path, &state)?;
        Ok(state)
    }

    /// Identity of what the native tools come from.
    pub fn of_tools(&self) -> &str {
        self.tools.as_deref().unwrap_or(&self.id)
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
            last => match (Fetched::new(config, mirrors, SOON).state(config), last) {
                (now, Some(last)) if now.id == UNKNOWN => last,
                (now, _) => now,
            },
        }
    }

    fn of(texts: &[&str]) -> Self {
        if texts.is_empty() {
            return Self {
                id: UNKNOWN.to_owned(),
                date: None,
                tools: None,
            };
        }
        let mut hash = Sha256::new();
        texts.iter().for_each(|text| hash.update(text));
        Self {
            id: hex::encode(hash.finalize()),
            date: texts.iter().filter_map(|text| date_of(text)).max(),
            tools: None,
        }
    }
}

/// The release files of all archives of a build, as they are now.
struct Fetched(Vec<Suite>);

/// One suite of one archive.
struct Suite {
    /// Address of the archive.
    archive: String,
    suite: String,
    /// Whose it is, if its key is pinned.
    signed: Option<Signed>,
    /// Nothing can be built without it.
    needed: bool,
    /// The image takes packages from it; else only the native tools come from there.
    of_image: bool,
    text: Option<String>,
}

impl Fetched {
    fn new(config: &Config, mirrors: &Mirrors, seconds: u32) -> Self {
        let release = &config.release;
        let suite_of = |archive: &String, suite: String, signed, needed| Suite {
            archive: archive.clone(),
            suite,
            signed,
            needed,
            of_image: true,
            text: None,
        };
        let raspbian = (config.base() == Base::Raspbian).then_some(Signed::Raspbian);
        let mut suites = vec![suite_of(&mirrors.build, release.clone(), raspbian, true)];
        if !mirrors.raspberrypi.is_empty() {
            let signed = Some(Signed::RaspberryPi);
            suites.push(suite_of(
                &mirrors.raspberrypi,
                release.clone(),
                signed,
                true,
            ));
        }
        for suite in config.extra_suites() {
            let archive = if suite == "security" {
                &mirrors.security
            } else {
                &mirrors.build
            };
            suites.push(suite_of(archive, format!("{release}-{suite}"), None, false));
        }
        if raspbian.is_some() {
            let debian = suite_of(&mirrors.debian().build, release.clone(), None, false);
            suites.push(Suite {
                of_image: false,
                ..debian
            });
        }
        // All at once: one after the other would be the longest part of a build that has
        // nothing to do.
        std::thread::scope(|scope| {
            for one in &mut suites {
                scope.spawn(move || {
                    let url = format!("{}/dists/{}/InRelease", one.archive, one.suite);
                    one.text = download(&url, config, seconds).ok();
                });
            }
        });
        Self(suites)
    }

    /// The config key and the address of an archive that is needed and cannot be had.
    fn missing(&self, config: &Config) -> Option<(&'static str, String)> {
        let one = self.0.iter().find(|one| one.needed && one.text.is_none())?;
        // A mirror that has the extra suites is there, and may have no InRelease file.
        let there = self.0.iter().any(|one| one.text.is_some());
        if there && config.distro == Distro::Debian {
            return None;
        }
        let key = one.signed.map_or("MIRROR", Signed::mirror_key);
        Some((key, one.archive.clone()))
    }

    fn verify(&self, config: &Config) -> Result<()> {
        for one in &self.0 {
            if let (Some(signed), Some(text)) = (one.signed, &one.text) {
                let key = signed
                    .known(config)
                    .with_context(|| format!("finding the key of {}", signed.name()))?;
                signed.verify(config, &key, text)?;
            }
        }
        Ok(())
    }

    fn state(&self, config: &Config) -> State {
        if self.missing(config).is_some() {
            return State::of(&[]);
        }
        let texts = |counts: fn(&Suite) -> bool| -> Vec<&str> {
            let suites = self.0.iter().filter(|one| counts(one));
            suites.filter_map(|one| one.text.as_deref()).collect()
        };
        let mut state = State::of(&texts(|one| one.of_image));
        if config.distro == Distro::Raspios {
            // Debian's suites: those that nobody but Debian signs.
            let tools = State::of(&texts(|one| one.signed.is_none()));
            state.tools = Some(tools.id);
        }
        state
    }
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
            "Suite: stable\nDate: Sat, 06 Sep 2025 10:15:20 UTC\n",
            "Suite: stable-updates\nDate: Mon, 08 Sep 2025 02:10:00 UTC\n",
        ];
        assert_eq!(State::of(&texts).date, Some(1_757_297_400));
        assert_eq!(State::of(&[]).id, "unknown");
    }
}
