//! From a finished build to the lock file.

use super::Build;
use crate::archives::lockfile::collect::{self, Collected};
use crate::archives::lockfile::{self, LockFile, Root, Use, Which};
use crate::base::inside::{self, Kind};
use crate::layers::job::Job;
use crate::layers::mounts::View;
use crate::layers::progress::Progress;
use crate::layers::store::{Key, Store};
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
        let Collected {
            packages,
            elsewhere,
            ..
        } = match self.packages() {
            Ok(found) => found,
            Err(error) if again => return Err(error),
            Err(error) => {
                self.output
                    .note(&format!("{} is not written: {error:#}", path.display()));
                return Ok(());
            }
        };
        self.output
            .log(&format!("locked {} packages", packages.len()));
        for package in elsewhere {
            self.output.note(&format!(
                "{} lacks what no archive has: {package}; keep its file with the step that installs it",
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

    /// The packages of the finished build.
    fn packages(&self) -> Result<Collected> {
        let known = self.archives.known(&self.work)?;
        let tips = self
            .progress
            .tips()
            .into_iter()
            .cloned()
            .collect::<Vec<_>>();
        let now = self.roots(&tips)?;
        let mut found = collect::packages(&now.roots, &[], &known, self.job.mirrors)?;
        if found.unlisted {
            // A tree that writes sources of its own has taken the first ones' indexes away.
            let earlier = self.roots(&self.with_lists(&tips)?)?;
            found = collect::packages(&now.roots, &earlier.roots, &known, self.job.mirrors)?;
        }
        ensure!(
            !found.packages.is_empty() || found.elsewhere.is_empty(),
            "no package can be locked; {}",
            found.elsewhere.join(", ")
        );
        Ok(found)
    }

    /// The layers below `tips` in which package indexes were written, the latest first.
    fn with_lists(&self, tips: &[Key]) -> Result<Vec<Key>> {
        let mut found = Vec::new();
        for tip in tips {
            for key in self.store.stack(tip).into_iter().rev() {
                let layer = self.store.upper(&key).join("rootfs");
                let lists = match layer.is_dir() {
                    true => inside::Root::open(&layer)?.kind(collect::LISTS)?,
                    false => None,
                };
                if lists == Some(Kind::Directory) && !tips.contains(&key) && !found.contains(&key) {
                    found.push(key);
                }
            }
        }
        Ok(found)
    }

    /// The root file systems as they were with the layers `tips` on top.
    fn roots(&self, tips: &[Key]) -> Result<Roots> {
        let mut all = Roots::default();
        for tip in tips {
            let at = self.work.join("lock").join(tip.id());
            all.views
                .push(self.store.view(&self.store.stack(tip), &at)?);
            all.roots.push(inside::Root::open(&at.join("rootfs"))?);
        }
        Ok(all)
    }
}

/// Root file systems and the views they are in; in this order, for what is open below keeps a view
/// from going.
#[derive(Default)]
struct Roots {
    roots: Vec<inside::Root>,
    views: Vec<View>,
}
