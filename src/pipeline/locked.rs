//! From a finished build to the lock file.

use super::Build;
use crate::archives::lockfile::{self, LockFile, Root, Use, Which, collect};
use crate::base::inside;
use crate::layers::job::Job;
use crate::layers::progress::Progress;
use crate::layers::store::Store;
use crate::native::dispatch::Mode;
use anyhow::{Result, ensure};

/// Writes the packages of the last build, which made `last`, to the lock file. Runs in the
/// sandbox, the work directory held.
///
/// # Errors
/// When that build is not complete, or no package of it can be found again.
pub fn lock(job: &Job<'_>, last: &Progress, ids: &str) -> Result<()> {
    ensure!(
        last.complete,
        "the last build is not complete; `westwork-gen build --continue` finishes it"
    );
    let store = Store::open(&job.config.work_dir, ids)?;
    let mut build = Build::new(job, &store, last.clone(), "lock.log")?;
    build.prepare_dispatch(Mode::Native)?;
    build.lock_packages(true)?;
    let path = lockfile::path_of(job.config);
    build.output.say(&format!("wrote {}", path.display()));
    Ok(())
}

impl Build<'_> {
    /// Writes the packages of the finished build to the lock file: with `again` in any case,
    /// else if it has none of them yet.
    pub(super) fn lock_packages(&mut self, again: bool) -> Result<()> {
        let config = self.job.config;
        let path = lockfile::path_of(config);
        let _turn = lockfile::turn(&path)?;
        let mut file = LockFile::load(&path)?.unwrap_or_default();
        let Some(date) = self.job.state.date else {
            return Ok(());
        };
        if !again && file.root(Which::of(config, Use::Image)).is_some() {
            return Ok(());
        }
        let (mut views, mut roots) = (Vec::new(), Vec::new());
        for tip in self.progress.tips() {
            let at = self.work.join("lock").join(tip.id());
            views.push(self.store.view(&self.store.stack(tip), &at)?);
            roots.push(inside::Root::open(&at.join("rootfs"))?);
        }
        let found = collect::packages(&roots, &self.archives.known(&self.work)?, self.job.mirrors);
        // What is open below keeps a view from going.
        drop((roots, views));
        let collect::Collected {
            packages,
            elsewhere,
        } = match found {
            Ok(found) => found,
            Err(error) if again => return Err(error),
            Err(error) => {
                self.output.say(&format!(
                    "note: {} is not written: {error:#}",
                    path.display()
                ));
                return Ok(());
            }
        };
        self.output
            .log(&format!("locked {} packages", packages.len()));
        for package in elsewhere {
            self.output.say(&format!(
                "note: {} lacks what no archive has: {package}; keep its file with the step that installs it",
                path.display()
            ));
        }
        let root = |purpose, packages| {
            let which = Which::of(config, purpose);
            Root {
                purpose,
                distribution: which.distribution.to_owned(),
                suite: which.suite.to_owned(),
                architecture: which.architecture.to_owned(),
                archive: self.job.state.id.clone(),
                date,
                packages,
            }
        };
        file.set(root(Use::Image, packages));
        if !self.tools.is_empty() {
            file.set(Root {
                archive: self.job.state.of_tools().to_owned(),
                ..root(Use::Tools, self.tools.clone())
            });
        }
        file.save(&path)
    }
}
