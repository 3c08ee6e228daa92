//! The native tools of a build, and what runs in their place.

use super::{Build, told};
use crate::archives::lockfile;
use crate::base::arch::is_foreign;
use crate::base::command::Program;
use crate::base::events::Part;
use crate::base::tool::{self, Tool};
use crate::base::work;
use crate::config::{Distro, RootKind};
use crate::native::dispatch::table::Versions;
use crate::native::dispatch::{self, Dispatch, Mode};
use anyhow::{Context, Result};
use std::collections::BTreeSet;

impl Build<'_> {
    /// Makes target programs runnable, and natively where that is allowed.
    pub(super) fn prepare_dispatch(&mut self, mode: Mode) -> Result<()> {
        if !is_foreign(self.job.config.arch) {
            return Ok(());
        }
        let emulator = tool::emulator(self.job.config.arch).context("finding the emulator")?;
        let dispatch = Dispatch::new(self.job.config, &emulator, &self.work.join("tools"));
        let mut dispatch = match dispatch {
            Ok(dispatch) => dispatch,
            // Before Linux 6.7. The host's own handler counts inside the sandbox too.
            Err(error) => {
                self.output.note(&format!(
                    "the host's binfmt handler is used, and everything emulated ({error:#})"
                ));
                return Ok(());
            }
        };
        if mode == Mode::Native {
            let mark = self.timings.begin();
            let mut packages = dispatch::packages()?;
            match self.job.config.disk.root {
                RootKind::Ext4 => {}
                RootKind::Squashfs => drop(packages.insert(Tool::Mksquashfs.package().to_owned())),
                RootKind::Erofs => drop(packages.insert(Tool::MkfsErofs.package().to_owned())),
            }
            let begun = told::begun("native tools", Part::Tools, None, &self.timings);
            let mut output = self.output.step("native tools");
            let made =
                dispatch::native::tools_root(self.job, &self.share, &packages, &mut |line| {
                    output.line(line);
                });
            begun.ended(&made, &self.timings);
            match made {
                Ok(tools) => {
                    output.done();
                    self.timings.end(&mark, "native tools", 0);
                    self.tools.clone_from(&tools.packages);
                    let offered = self.offered(&packages)?;
                    dispatch.use_tools(tools, offered)?;
                    let (pool, quick) = self.archives.quick_forms();
                    dispatch.use_quick_forms(pool, quick)?;
                }
                // Without them the image's file system would be made by other programs.
                Err(error) if self.job.locked.is_some() => {
                    output.failed();
                    return Err(error);
                }
                Err(error) => {
                    output.failed();
                    self.output
                        .note(&format!("everything is emulated ({error:#})"));
                }
            }
        }
        self.dispatch = Some(dispatch);
        Ok(())
    }

    /// The versions of `packages` that the image would install, where it has archives besides
    /// those that the native tools come from.
    fn offered(&self, packages: &BTreeSet<String>) -> Result<Option<Versions>> {
        let job = self.job;
        if job.config.distro == Distro::Debian {
            return Ok(None);
        }
        if let Some(locked) = job.locked {
            let all = locked.image.packages.iter();
            let versions = all.map(|package| (package.name.clone(), package.version.clone()));
            return Ok(Some(versions.collect()));
        }
        // Of one state of the archives, so that it is asked for once.
        let path = self.work.join("offered.json");
        let kept: Option<(String, Versions)> = work::load(&path)?;
        if let Some((_, versions)) = kept.filter(|(state, _)| *state == job.state.id) {
            return Ok(Some(versions));
        }
        let versions = lockfile::update::offered(job.config, job.mirrors, packages)?;
        work::save(&path, &(&job.state.id, &versions))?;
        Ok(Some(versions))
    }

    /// The target suite's own `tool`, at `path` of the tools root; else the host's.
    pub(super) fn suites_own(&self, tool: Tool, path: &str) -> Result<Program> {
        let found = match &self.dispatch {
            Some(dispatch) => dispatch.host_tool(path)?,
            None => None,
        };
        Ok(found.map_or(tool.into(), |path| Program::At(path, tool)))
    }
}
