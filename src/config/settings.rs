//! The settings as they were read from all their sources, not judged yet. A command reads them
//! once: a config that asks for the time or the network is one config.

use super::setting::{Raw, outside};
use super::source;
use super::{ConfigRequest, Loaded, judge};
use crate::base::problem::Problem;
use serde::{Deserialize, Serialize};

/// The settings of one image, or of several that differ in `ARCH`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    request: ConfigRequest,
    raw: Raw,
    /// What reading them found. A build in a process of its own is given settings without any.
    #[serde(skip)]
    problems: Vec<Problem>,
}

impl Settings {
    /// Reads every source. Writes nothing; runs nothing but the bash fragments themselves.
    pub fn read(request: &ConfigRequest) -> Self {
        let mut problems = Vec::new();
        let raw = source::read_all(request, &mut problems);
        Self {
            request: request.clone(),
            raw,
            problems,
        }
    }

    /// Judges all of them; as often as one likes, with the same result for the same machine.
    pub fn judge(&self) -> Loaded {
        let mut problems = self.problems.clone();
        let config = Some(judge::typed(&self.request, &self.raw, &mut problems));
        let places = self.raw.settings.iter().filter_map(|(name, setting)| {
            let place = (setting.file.clone()?, setting.line?);
            Some((name.clone(), place))
        });
        Loaded {
            config,
            problems,
            places: places.collect(),
        }
    }

    /// The architectures that `ARCH` lists, which are several in a request for several images.
    /// What is wrong with them shows when each is judged.
    pub fn architectures(&self) -> Vec<String> {
        let list = self.raw.settings.get("ARCH").map(|setting| &setting.value);
        list.into_iter()
            .flat_map(|list| list.split_ascii_whitespace())
            .map(str::to_owned)
            .collect()
    }

    /// The same with another value of a key, as `--set` gives it.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.raw.settings.insert(name.to_owned(), outside(value));
        self
    }
}
