//! What a step sees of the machine, and what it is told.

use super::Build;
use crate::archives::keyring::Signed;
use crate::archives::pool::Staging;
use crate::base::command::own_program;
use crate::base::tool;
use crate::layers::context::Context;
use crate::layers::job::At;
use crate::layers::variables::stage_work_dir;
use crate::sandbox::view::{Access, View};
use crate::steps::script;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};

impl Build<'_> {
    /// Writes what the step at `at` is told, and returns the file.
    pub(super) fn context(
        &self,
        at: &At<'_>,
        mounts: &[PathBuf],
        staging: Option<&Staging>,
        stand_ins: bool,
    ) -> Result<PathBuf> {
        let config = self.job.config;
        let mut told = Context::new(config, self.job.mirrors);
        told.network = !self.job.locked.is_some_and(|locked| locked.offline);
        told.stage_dir.clone_from(&at.stage.dir);
        if config.base() == crate::config::Base::Raspbian {
            told.raspbian_key = Signed::Raspbian.known(config);
        }
        let shared = stage_work_dir(&self.work, at.stage).join("rootfs/run");
        told.furniture.archives = staging.map(Staging::dir);
        told.furniture.tools = self.dispatch.as_ref().map(|tools| tools.dir().to_owned());
        told.furniture.locked = self.locked.as_ref().map(|dir| dir.path().to_owned());
        told.furniture.apt_conf =
            Some(crate::steps::apt::build_conf(config, self.locked.is_some()));
        told.furniture.stand_ins = stand_ins;
        told.furniture.shared = self.shared.contains(&shared);
        let common = self.job.plan.common.as_ref();
        told.common = common.map(|common| common.text.clone());
        told.view = self.view(&told, mounts, !stand_ins)?;
        let path = PathBuf::from(crate::layers::context::PATH);
        let dir = path.parent().context("finding a directory")?;
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        fs::write(&path, told.text()?).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// The tree, with changes that end with the step; the step's own mounts; DEPLOY_DIR; and
    /// nothing of the work directory and the cache but what is the tree's own.
    fn view(&self, told: &Context, mounts: &[PathBuf], host: bool) -> Result<View> {
        let config = self.job.config;
        let mut view = View::of_machine();
        for dir in self.job.tree_dirs() {
            view.see(dir, Access::Aside)?;
            view.watch(dir)?;
        }
        let files = Signed::of(config)
            .into_iter()
            .filter_map(|signed| signed.known(config))
            .chain(config.westwork_bin.clone())
            .chain([own_program()?])
            .chain(tool::emulator(config.arch));
        for file in files {
            if file.exists() {
                view.see(&file, Access::Read)?;
            }
        }
        // Its files are the builder's: states, layers, logs.
        let work_dir = real(&config.work_dir)?;
        view.see(&config.work_dir, Access::Read)?;
        view.hide(&work_dir);
        let cache_dir = real(&config.cache_dir)?;
        view.see(&config.cache_dir, Access::Read)?;
        view.hide(&cache_dir);
        // What a step leaves in its work directory is seen by later ones, and so in its layer,
        // beside the root file system.
        let scratch = match mounts.first().filter(|_| host) {
            Some(at) => at.join(".work"),
            None => self.work.join("scratch"),
        };
        for dir in [&scratch, &told.fetched] {
            fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        }
        view.see_at(&scratch, &real(&self.work)?, Access::Write);
        view.see_at(&told.fetched, &real(&told.fetched)?, Access::Write);
        if told.toolchains.is_dir() {
            view.see_at(&told.toolchains, &real(&told.toolchains)?, Access::Read);
        }
        if let Some(common) = &self.job.plan.common {
            // Scripts that read it get the tree's functions, and this program's in place of
            // pi-gen's.
            let path = self.work.join("common");
            fs::write(&path, script::common(&common.text))
                .with_context(|| format!("writing {}", path.display()))?;
            view.see_at(&path, &real(&common.path)?, Access::Read);
        }
        for mount in mounts {
            view.see_at(mount, &real(mount)?, Access::Write);
        }
        let furniture = &told.furniture;
        if let Some(dir) = &furniture.archives {
            view.see_at(dir, &real(dir)?, Access::Write);
        }
        for dir in [&furniture.tools, &furniture.locked].into_iter().flatten() {
            view.see_at(dir, &real(dir)?, Access::Read);
        }
        view.see(&config.deploy_dir, Access::Write)?;
        if !self.one_of_several {
            // Where other builds write at the same time, nobody knows who it was.
            view.lasting(&config.deploy_dir)?;
        }
        for host in &config.host_paths {
            let access = if host.writable {
                Access::Write
            } else {
                Access::Read
            };
            view.see(&host.path, access)?;
            view.watch(&host.path)?;
            if host.writable && !self.one_of_several {
                view.lasting(&host.path)?;
            }
        }
        Ok(view)
    }
}

/// A path without links in it.
fn real(path: &Path) -> Result<PathBuf> {
    path.canonicalize()
        .with_context(|| format!("finding {}", path.display()))
}
