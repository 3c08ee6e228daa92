//! Running a plan: one layer a step, an image for each stage that wants one.

mod failure;
mod image;
mod locked;
mod native;
mod shared;
mod step;

pub use failure::StepFailure;
pub use locked::lock;

use crate::archives::lockfile::{Package, repository};
use crate::archives::pool::Archives;
use crate::base::command::Env;
use crate::base::output::Output;
use crate::base::timings::{Timings, disk_usage};
use crate::base::tool;
use crate::layers::deployed::{self, Deployed};
use crate::layers::durable::Durable;
use crate::layers::progress::Progress;
use crate::layers::share::Share;
use crate::layers::store::{Store, remove};
use crate::layers::variables::stage_work_dir;
use crate::layers::{
    job::Job,
    schedule::{Entry, Schedule, Verdict},
};
use crate::native::dispatch::{Dispatch, Mode};
use crate::sandbox::rootfs::{APT_CONF_VAR, ARCHIVES_VAR, EMULATOR_VAR, LOCKED_VAR, TOOLS_VAR};
use crate::steps::apt;
use crate::steps::patch;
use crate::steps::script;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use step::carry_out;
use tempfile::TempDir;

/// Builds every stage of the plan and exports those that ask for it. Runs in the sandbox, the
/// work directory held.
///
/// # Errors
/// [`StepFailure`] when a step fails; its half-done layer is kept aside for `shell`.
pub fn build(job: &Job<'_>, options: &Options) -> Result<()> {
    let config = job.config;
    let work = job.work();
    fs::create_dir_all(&work).with_context(|| format!("making {}", work.display()))?;
    let store = Store::open(&config.work_dir)?;
    if !options.one_of_several {
        store.sweep()?;
    }
    if config.clean {
        store.clear()?;
    }
    let last = Progress::last(config)?;
    if let Some((_, key)) = last.as_ref().and_then(|last| last.failed.as_ref()) {
        // Its room may be what is wanting.
        remove(&store.failed_dir(key))?;
    }
    let schedule = Schedule::new(job, &store, last.as_ref())?;
    let mut build = Build::new(job, &store, Progress::after(last), "build.log")?;
    let result = build.run(&schedule, options);
    let mark = build.timings.begin();
    build.durable.finish()?;
    build.timings.end(&mark, "to the disk", 0);
    let mark = build.timings.begin();
    // What a failed build has made is of use to others as well.
    for note in build.share.finish() {
        build.output.say(&format!("note: {note}"));
    }
    if config.cache_to.is_some() {
        build.timings.end(&mark, "to the shared cache", 0);
    }
    result?;
    if options.timings {
        let table = build.timings.to_string();
        table.lines().for_each(|line| build.output.say(line));
        for left_out in build.emulated.values() {
            build.output.say(&format!("emulated: {left_out}"));
        }
    }
    Ok(())
}

/// How a build is run, beyond what makes the image.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub mode: Mode,
    /// End with a table of where the time went.
    pub timings: bool,
    /// Other builds of the same command use the work directory at the same time.
    pub one_of_several: bool,
}

struct Build<'a> {
    job: &'a Job<'a>,
    store: &'a Store,
    durable: Durable,
    share: Share,
    archives: Archives,
    output: Output,
    deployed: Deployed,
    work: PathBuf,
    progress: Progress,
    dispatch: Option<Dispatch>,
    /// Packages of the native tools.
    tools: Vec<Package>,
    /// Packages that were left to the emulator although they are on the list, with the reason.
    emulated: BTreeMap<String, String>,
    /// The index of locked packages.
    locked: Option<TempDir>,
    timings: Timings,
}

impl<'a> Build<'a> {
    fn new(job: &'a Job<'a>, store: &'a Store, progress: Progress, log: &str) -> Result<Self> {
        let (config, work) = (job.config, job.work());
        let mut output = Output::new(&work.join(log))?;
        let mut note = |text: &str| output.say(&format!("note: {text}"));
        let archives = Archives::open(&config.cache_dir, config.pool(), &mut note)?;
        Ok(Self {
            job,
            store,
            durable: store.durable()?,
            share: Share::open(config, &work)?,
            archives,
            output,
            deployed: Deployed::load(&work)?,
            work,
            progress,
            dispatch: None,
            tools: Vec::new(),
            emulated: BTreeMap::new(),
            locked: None,
            timings: Timings::new(),
        })
    }

    fn run(&mut self, schedule: &Schedule<'_>, options: &Options) -> Result<()> {
        for entry in &schedule.entries {
            if matches!(&entry.verdict, Verdict::Kept(changes) if !changes.is_empty()) {
                self.output.say(&format!(
                    "note: {} has changed since; CONTINUE keeps what it made, a plain build runs it again",
                    entry.record.name
                ));
            }
        }
        let runs = self.fetch(schedule)?;
        self.prepare_dispatch(options.mode)?;
        self.share_notes();
        if let Some(locked) = self.job.locked.filter(|_| runs) {
            let (config, mirrors) = (self.job.config, self.job.mirrors);
            let (root, offline) = (&locked.image, locked.offline);
            self.locked = Some(repository::prepare(
                root,
                &self.archives,
                config,
                mirrors,
                Some(self.job.plan),
                offline,
            )?);
        }
        let mut exported = false;
        for index in 0..schedule.entries.len() {
            self.step(schedule, index)?;
            for image in schedule.images_of(index) {
                exported |= self.export(&schedule.stack(index), image.export)?;
            }
        }
        self.lock_packages(false)?;
        self.give_packages()?;
        self.progress.complete = true;
        self.progress.save(&self.work)?;
        self.postrun(schedule, exported)
    }

    /// The variables of a step, with what its commands find the tools by.
    fn env(&self, entry: &Entry<'_>) -> Env {
        let config = self.job.config;
        let mut env = self.job.env(&entry.at);
        let archives = self.archives.dir().to_string_lossy();
        env.insert(ARCHIVES_VAR.to_owned(), archives.into_owned());
        let conf = apt::build_conf(config, self.locked.is_some());
        env.insert(APT_CONF_VAR.to_owned(), conf);
        if let Some(index) = &self.locked {
            let index = index.path().to_string_lossy().into_owned();
            env.insert(LOCKED_VAR.to_owned(), index);
        }
        if let (Some(dispatch), Some(emulator)) = (&self.dispatch, tool::emulator(config.arch)) {
            env.insert(
                TOOLS_VAR.to_owned(),
                dispatch.dir().to_string_lossy().into_owned(),
            );
            env.insert(
                EMULATOR_VAR.to_owned(),
                emulator.to_string_lossy().into_owned(),
            );
        }
        env
    }

    /// Runs one step on a layer of its own, unless that layer is there.
    fn step(&mut self, schedule: &Schedule<'_>, index: usize) -> Result<()> {
        let entry = &schedule.entries[index];
        let (name, key) = (&entry.record.name, &entry.record.key);
        let at = stage_work_dir(&self.work, entry.at.stage);
        // Another build of the same command may be at the very same step.
        let _making = self.store.making(key)?;
        if self.store.find(key).is_some() {
            self.output.say(&format!("cached  {name}"));
            return self.reached(entry);
        }
        let mark = self.timings.begin();
        let layer = self
            .store
            .begin(entry.record.clone(), &schedule.stack_below(index), &at)?;
        let before = match entry.at.previous {
            Some(previous) if previous.name != entry.at.stage.name => Some(self.store.view(
                &schedule.stack_before_stage(index),
                &stage_work_dir(&self.work, previous),
            )?),
            _ => None,
        };
        if let Some(dispatch) = &self.dispatch {
            for left_out in dispatch.refresh(&at.join("rootfs"))? {
                self.output.log(&format!("emulated: {left_out}"));
                // What was found last of a package counts.
                let name = left_out.split(':').next().unwrap_or_default();
                self.emulated.insert(name.to_owned(), left_out);
            }
        }
        let env = self.env(entry);
        let mut output = self.output.step(name);
        if patch::wants_shell(entry.step) {
            output.leave_terminal();
        }
        let result = carry_out(entry.step, &at, &env, &mut |line| output.line(line))
            .and_then(|()| self.archives.save());
        drop(before);
        match result {
            Ok(()) => {
                output.done();
                let key = layer.commit()?;
                self.durable.committed(self.store.layer(&key));
                self.timings
                    .end(&mark, name, disk_usage(&self.store.upper(&key)));
                self.reached(entry)
            }
            Err(cause) => {
                let last_lines = output.failed();
                self.progress.failed = Some((name.clone(), key.clone()));
                // On a full disk this cannot be done either; the step's failure is what counts.
                let kept = layer.keep_failed().and(self.progress.save(&self.work));
                if let Err(error) = kept {
                    self.output.log(&format!("{error:#}"));
                }
                Err(self.failure(name, last_lines, cause))
            }
        }
    }

    fn reached(&mut self, entry: &Entry<'_>) -> Result<()> {
        let key = &entry.record.key;
        if !entry.private {
            self.share.give_layer(key, self.store.layer(key));
        }
        let step = entry.record.name.clone();
        self.progress.steps.push((step, key.clone()));
        self.progress.save(&self.work)
    }

    /// Runs the tree's `postrun.sh`, on the host, once all images are there: when one of them is
    /// new, or the script is.
    fn postrun(&mut self, schedule: &Schedule<'_>, exported: bool) -> Result<()> {
        let path = deployed::postrun_of(self.job.config);
        let mut stages = schedule.entries.iter().rev();
        let last = stages.find(|entry| entry.at.exported.is_none());
        let Some(entry) = last.filter(|_| path.is_file()) else {
            return Ok(());
        };
        let key = deployed::postrun_key(&path)?;
        if !exported && self.deployed.postrun.as_ref() == Some(&key) {
            return Ok(());
        }
        let mut env = self.env(entry);
        env.remove("SUB_STAGE_DIR");
        let mut output = self.output.step("postrun.sh");
        let result = script::host(&path, &env)?.stream(&mut |line| output.line(line));
        match result {
            Ok(()) => {
                output.done();
                self.deployed.postrun = Some(key);
                self.deployed.save(&self.work)
            }
            Err(cause) => {
                let last_lines = output.failed();
                Err(self.failure("postrun.sh", last_lines, cause))
            }
        }
    }
}
