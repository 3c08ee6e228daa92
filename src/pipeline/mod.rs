//! Running a plan: one layer a step, an image for each stage that wants one.

mod failure;
mod image;
mod locked;
mod native;
mod shared;
mod step;
mod view;
mod walk;

pub use failure::StepFailure;
pub use locked::lock;
pub use step::carry_out;
pub use walk::{Walk, walk};

use crate::archives::lockfile::{Package, repository};
use crate::archives::pool::{Archives, Keys};
use crate::base::command::Env;
use crate::base::output::Output;
use crate::base::timings::{Timings, disk_usage};
use crate::base::tool;
use crate::layers::context::Context;
use crate::layers::deployed::{self, Deployed};
use crate::layers::durable::Durable;
use crate::layers::job::{At, Job};
use crate::layers::progress::Progress;
use crate::layers::schedule::{Entry, Image, Schedule, Verdict};
use crate::layers::share::Share;
use crate::layers::store::{Key, Store, remove};
use crate::layers::variables::stage_work_dir;
use crate::native::dispatch::{Dispatch, Mode};
use crate::native::{cross, python};
use crate::plan::Stage;
use crate::plan::step::{Step, StepKind};
use crate::sandbox::mounts;
use crate::sandbox::mounts::Tree;
use crate::sandbox::rootfs::EMULATOR_VAR;
use crate::sandbox::stand_ins;
use crate::steps::patch;
use crate::steps::script::{self, Setting};
use anyhow::{Context as _, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

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
    if config.clean {
        store.clear()?;
    }
    let last = Progress::last(config)?;
    if let Some((_, key)) = last.as_ref().and_then(|last| last.failed.as_ref()) {
        // The disk may be full because of it.
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
    fn step(&mut self, schedule: &Schedule<'_>, index: usize) -> Result<()> {
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
        let mut note = |text: &str| output.say(&format!("note: {text}"));
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

    /// Runs one step on a layer of its own, unless that layer is there.
    fn make_layer(&mut self, schedule: &Schedule<'_>, index: usize) -> Result<()> {
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
        let layer = self.store.begin(
            entry.record.clone(),
            &schedule.stack_below(index),
            &at,
            |below, layer| stand_ins::fill(&below.join("rootfs"), layer),
        )?;
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
        let below = entry.record.parent.as_ref().map_or("", Key::hash);
        let staging = self.archives.staging(&self.work, below)?;
        self.share_tmp(entry.at.stage, &at)?;
        let mut mounts = vec![at.clone()];
        if let (Some(_), Some(previous)) = (&before, entry.at.previous) {
            mounts.push(stage_work_dir(&self.work, previous));
        }
        let context = self.context(&entry.at, &mounts, Some(&staging), layer.beneath)?;
        self.prepare_toolchains(entry.step, &context)?;
        let env = self.env(&entry.at);
        let setting = Setting {
            env: &env,
            context: &context,
        };
        let mut output = self.output.step(name);
        if patch::wants_shell(entry.step) {
            output.leave_terminal();
        }
        let result = carry_out(entry.step, &at, &setting, &mut |line| output.line(line))
            .and_then(|()| self.archives.save(staging, &at.join("rootfs"), key.hash()));
        drop(before);
        self.shared.clear();
        match result {
            Ok(()) => {
                output.done();
                let beneath = layer.beneath;
                let key = layer.commit(|upper| match beneath {
                    true => Ok(()),
                    false => stand_ins::forget(&upper.join("rootfs")),
                })?;
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

    /// Mounts the stage's /tmp and /run in its root file system, if it has one: what a step leaves
    /// there is seen by the next one, on both sides, and is gone with the stage, as in pi-gen. They
    /// are in the steps' layers, beside the root file system, and so in no image.
    fn share_tmp(&mut self, stage: &Stage, at: &Path) -> Result<()> {
        let Ok(root) = mounts::point(&at.join("rootfs")) else {
            return Ok(());
        };
        for (name, mode) in [("tmp", 0o1777), ("run", 0o755)] {
            let Some(target) = mounts::point_inside(&root, name)? else {
                return Ok(());
            };
            let dir = at.join(format!(".{name}-{}", stage.name));
            if !dir.is_dir() {
                fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
                fs::set_permissions(&dir, fs::Permissions::from_mode(mode))
                    .with_context(|| format!("setting the mode of {}", dir.display()))?;
            }
            Tree::of(&dir)?.attach(&target)?;
            self.shared.insert(at.join("rootfs").join(name));
        }
        Ok(())
    }

    /// Makes the roots that `cross_build` and `python_env` take, if the step's script, or a file
    /// beside it, names these: steps themselves cannot write where trees share.
    fn prepare_toolchains(&mut self, step: &Step, context: &Path) -> Result<()> {
        let host = matches!(step.kind, StepKind::Prerun | StepKind::RunHost);
        let dir = step.path.parent().filter(|_| host);
        let Some(dir) = dir.filter(|_| self.job.config.westwork_bin.is_none()) else {
            return Ok(());
        };
        let mut wanted = [("cross_build", false), ("python_env", false)];
        for entry in WalkDir::new(dir).max_depth(2).into_iter().flatten() {
            let small = entry.metadata().is_ok_and(|meta| meta.len() < 1 << 18);
            if !entry.file_type().is_file() || !small {
                continue;
            }
            let text = fs::read(entry.path()).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            for (name, found) in &mut wanted {
                *found |= text.contains(*name);
            }
        }
        let told = Context::load(context)?;
        let [(_, cross), (_, python)] = wanted;
        let mut missing = Vec::new();
        if cross {
            missing.extend(cross::toolchain(&told));
        }
        if python {
            missing.push(python::interpreter(&told));
        }
        missing.retain(|root| !root.is_there(&told));
        for root in missing {
            let mut output = self.output.step(&format!("unpacking {}", root.name));
            match root.make(&told, &mut |line| output.line(line)) {
                Ok(()) => drop(output.done()),
                Err(error) => {
                    output.failed();
                    return Err(error);
                }
            }
        }
        Ok(())
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
        let at = At {
            sub_stage: None,
            ..entry.at
        };
        let env = self.env(&at);
        let context = self.context(&at, &[], None, false)?;
        let setting = Setting {
            env: &env,
            context: &context,
        };
        let mut output = self.output.step("postrun.sh");
        let result = script::host(&path, &setting)?.stream(&mut |line| output.line(line));
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
