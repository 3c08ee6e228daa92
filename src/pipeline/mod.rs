//! Running a plan: one layer a step, an image for each stage that wants one.

mod failure;
mod image;
mod layer;
mod lists;
mod locked;
mod native;
mod postrun;
mod reads;
mod scene;
mod shared;
mod step;
mod told;
mod view;
mod walk;

pub use failure::StepFailure;
pub use locked::lock;
pub use step::carry_out;
pub use told::artefacts;
pub use walk::{Walk, walk};

use crate::archives::lockfile::{Package, repository};
use crate::archives::pool::{Archives, Keys};
use crate::base::command::Env;
use crate::base::output::Output;
use crate::base::timings::Timings;
use crate::base::tool;
use crate::layers::deployed::Deployed;
use crate::layers::durable::Durable;
use crate::layers::job::{At, Job};
use crate::layers::progress::Progress;
use crate::layers::schedule::{Image, Known, Schedule, Verdict};
use crate::layers::share::Share;
use crate::layers::store::{Key, Store, remove};
use crate::native::dispatch::{Dispatch, Mode};
use crate::sandbox::rootfs::EMULATOR_VAR;
use anyhow::{Context as _, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// Builds every stage of the plan and exports those that ask for it. Runs in the sandbox, the
/// work directory held. `ids` says whose ids the owners in layers are.
///
/// # Errors
/// [`StepFailure`] when a step fails; its half-done layer is kept aside for `shell`.
pub fn build(job: &Job<'_>, options: &Options, ids: &str) -> Result<()> {
    let config = job.config;
    let work = job.work();
    fs::create_dir_all(&work).with_context(|| format!("making {}", work.display()))?;
    let store = Store::open(&config.work_dir, ids)?;
    if !options.one_of_several {
        store.sweep()?;
    }
    let last = Progress::last(config)?;
    if config.clean {
        store.clear(&kept(job, last.as_ref()))?;
    }
    if let Some((_, key)) = last.as_ref().and_then(|last| last.failed.as_ref()) {
        // The disk may be full because of it.
        remove(&store.failed_dir(key))?;
    }
    let mut schedule = Schedule::new(job, &store, last.as_ref())?;
    let mut build = Build::new(job, &store, Progress::after(last.clone()), "build.log")?;
    build.last = last;
    build.one_of_several = options.one_of_several;
    let result = build.run(&mut schedule, options);
    let mark = build.timings.begin();
    build.durable.finish()?;
    build.timings.end(&mark, "to the disk", 0);
    let mark = build.timings.begin();
    // What a failed build has made is of use to others as well.
    for note in build.share.finish() {
        build.output.note(&note);
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

/// The layers up to the last stage that `SKIP` keeps: in pi-gen, too, such a stage outlasts CLEAN.
fn kept(job: &Job<'_>, last: Option<&Progress>) -> Vec<Key> {
    let stages = job.plan.stages.iter().filter(|stage| stage.kept);
    let starts: Vec<String> = stages.map(|stage| format!("{}/", stage.name)).collect();
    let steps = last.map_or(&[][..], |last| &last.steps);
    let is_kept = |(name, _): &(String, Key)| starts.iter().any(|start| name.starts_with(start));
    let end = steps.iter().rposition(is_kept).map_or(0, |at| at + 1);
    steps[..end].iter().map(|(_, key)| key.clone()).collect()
}

/// How a build is run, beyond what makes the image.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether native twins are used.
    pub mode: Mode,
    /// End with a table of where the time went.
    pub timings: bool,
    /// Other builds of the same command use the work directory at the same time.
    pub one_of_several: bool,
    /// What the build machine is called, which must not be in an image.
    pub host_name: String,
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
    /// How far the build before came.
    last: Option<Progress>,
    /// What this build has made, and others elsewhere.
    known: Known,
    /// Steps of which the shared cache was asked what they read.
    asked: BTreeSet<Key>,
    /// Other builds of the same command work in the same store.
    one_of_several: bool,
    dispatch: Option<Dispatch>,
    /// Packages of the native tools.
    tools: Vec<Package>,
    /// Packages that were left to the emulator although they are on the list, with the reason.
    emulated: BTreeMap<String, String>,
    /// The index of locked packages.
    locked: Option<repository::Index>,
    /// Directories of the step's root file system at which the stage's own are mounted.
    shared: BTreeSet<PathBuf>,
    timings: Timings,
    /// An image was made, and not only found.
    exported: bool,
    /// Of the machine, which must not be in an image.
    host_name: String,
}

impl Walk for Build<'_> {
    fn step(&mut self, schedule: &mut Schedule<'_>, index: usize) -> Result<()> {
        self.make_layer(schedule, index)
    }

    fn image(&mut self, schedule: &Schedule<'_>, image: &Image<'_>) -> Result<()> {
        let host_name = self.host_name.clone();
        self.exported |= self.export(&schedule.stack(image.tip), image.export, &host_name)?;
        Ok(())
    }
}

impl<'a> Build<'a> {
    fn new(job: &'a Job<'a>, store: &'a Store, progress: Progress, log: &str) -> Result<Self> {
        let (config, work) = (job.config, job.work());
        let mut output = Output::new(&work.join(log))?;
        output.hide(config.declared_secrets());
        let mut note = |text: &str| output.note(text);
        let archives = Archives::open(
            &config.cache_dir,
            config.pool(),
            Keys::of(config),
            &mut note,
        )?;
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
            last: None,
            known: Known::default(),
            asked: BTreeSet::new(),
            one_of_several: false,
            dispatch: None,
            tools: Vec::new(),
            emulated: BTreeMap::new(),
            locked: None,
            shared: BTreeSet::new(),
            timings: Timings::new(),
            exported: false,
            host_name: String::new(),
        })
    }

    fn run(&mut self, schedule: &mut Schedule<'_>, options: &Options) -> Result<()> {
        for entry in &schedule.entries {
            if matches!(&entry.verdict, Verdict::Kept(changes) if !changes.is_empty()) {
                let (keeper, without) = if entry.at.stage.kept {
                    ("SKIP", "a build without that file")
                } else {
                    ("CONTINUE", "a plain build")
                };
                self.output.note(&format!(
                    "{} has changed since; {keeper} keeps what it made, {without} runs it again",
                    entry.record.name
                ));
            }
        }
        let runs = self.fetch(schedule)?;
        told::planned(schedule, self.store);
        self.prepare_dispatch(options.mode)?;
        self.share_notes();
        if let Some(locked) = self.job.locked.filter(|_| runs) {
            let (config, mirrors) = (self.job.config, self.job.mirrors);
            let (root, offline) = (&locked.image, locked.offline);
            self.locked = Some(repository::prepare(
                root,
                &mut self.archives,
                config,
                mirrors,
                Some(self.job.plan),
                offline,
            )?);
        }
        self.host_name.clone_from(&options.host_name);
        walk(schedule, self)?;
        self.lock_packages(false)?;
        self.give_packages()?;
        self.progress.complete = true;
        self.progress.save(&self.work)?;
        self.postrun(schedule, self.exported)
    }

    /// The variables of a step, with the emulator for who changes the root by itself.
    fn env(&self, at: &At<'_>) -> Env {
        let mut env = self.job.env(at);
        if let (Some(_), Some(emulator)) = (&self.dispatch, tool::emulator(self.job.config.arch)) {
            let emulator = emulator.to_string_lossy().into_owned();
            env.insert(EMULATOR_VAR.to_owned(), emulator);
        }
        env
    }
}
