//! What a build takes from the shared cache and gives to it.

use super::{Build, told};
use crate::archives::lockfile::{self, Use};
use crate::archives::pool;
use crate::base::arch::debian_arch;
use crate::layers::engine::is_host;
use crate::layers::schedule::Schedule;
use crate::layers::store::{Record, Store};
use anyhow::Result;

impl Build<'_> {
    /// Fetches from the shared cache the layers that are not here, and if a step is left to run,
    /// packages. Whether one is.
    pub(super) fn fetch(&mut self, schedule: &mut Schedule<'_>) -> Result<bool> {
        self.ask_for_reads(schedule)?;
        let schedule = &*schedule;
        let missing = |store: &Store| -> Vec<&Record> {
            let records = schedule.entries.iter().map(|entry| &entry.record);
            records
                .filter(|record| store.find(&record.key).is_none())
                .collect()
        };
        let wanted = missing(self.store);
        if self.job.config.cache_from.is_none() || wanted.is_empty() {
            return Ok(!wanted.is_empty());
        }
        let (mark, before) = (self.timings.begin(), self.share.fetched());
        let layers = self.share.fetch_layers(self.store, &wanted);
        for record in &wanted {
            if self.store.find(&record.key).is_some() {
                self.durable.committed(self.store.layer(&record.key));
            }
        }
        let runs = layers < wanted.len();
        let packages = if runs {
            let config = self.job.config;
            let known = lockfile::packages_of(config, Use::Image);
            self.share.fetch_packages(&known, &self.archives)?
        } else {
            0
        };
        self.timings.end(&mark, "from the shared cache", 0);
        self.output.say(&format!(
            "fetched {layers} of {} layers and {packages} packages from the shared cache, {} MiB",
            wanted.len(),
            self.share.fetched() >> 20
        ));
        told::fetched(layers, packages, self.share.fetched() - before);
        self.share_notes();
        Ok(runs)
    }

    /// Asks the shared cache what steps read that are not here: only then are their keys known.
    fn ask_for_reads(&mut self, schedule: &mut Schedule<'_>) -> Result<()> {
        if self.job.config.cache_from.is_none() {
            return Ok(());
        }
        loop {
            let mut keys = Vec::new();
            for entry in schedule.entries.iter().filter(|it| is_host(it.step.kind)) {
                let Some(before) = entry.record.before.clone() else {
                    continue;
                };
                if self.store.find(&entry.record.key).is_none() && self.asked.insert(before.clone())
                {
                    keys.push(before);
                }
            }
            let found = match keys.is_empty() {
                true => Vec::new(),
                false => self.share.fetch_reads(&keys),
            };
            if found.is_empty() {
                return Ok(());
            }
            // All that stand on these have other keys now.
            self.known.others.extend(found);
            self.plan_again(schedule)?;
        }
    }

    pub(super) fn share_notes(&mut self) {
        for note in self.share.notes() {
            self.output.note(&note);
        }
    }

    /// Gives the packages of the lock file to the shared cache.
    pub(super) fn give_packages(&self) -> Result<()> {
        let config = self.job.config;
        if config.cache_to.is_none() {
            return Ok(());
        }
        let native = debian_arch();
        for (purpose, pool) in [(Use::Image, config.pool()), (Use::Tools, native)] {
            for package in lockfile::packages_of(config, purpose) {
                let path = pool::path_of(&config.cache_dir, pool, &package);
                if path.exists() {
                    self.share.give_package(path, &package.sha256);
                }
            }
        }
        Ok(())
    }
}
