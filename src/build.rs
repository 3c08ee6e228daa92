//! Running a plan: one layer a step, an image for each stage that wants one.

use crate::apt::{self, Recommends};
use crate::config::{Config, Distro, RootKind};
use crate::deployed::{self, Deployed};
use crate::dispatch::table::Versions;
use crate::dispatch::{self, Dispatch, EMULATOR_VAR, Mode};
use crate::durable::Durable;
use crate::export::{self, ExportRequest, without_secrets};
use crate::layer::{Key, Record, Store, remove};
use crate::lockfile::{self, LockFile, Package, Root, Use, Which, collect, repository};
use crate::output::Output;
use crate::plan::Export;
use crate::pool::{self, Archives};
use crate::progress::Progress;
use crate::rootfs::{APT_CONF_VAR, ARCHIVES_VAR, LOCKED_VAR, TOOLS_VAR};
use crate::schedule::{Entry, Job, Schedule, Verdict};
use crate::script::env::{EXPORT_DEPLOY, stage_work_dir};
use crate::script::{self, Env};
use crate::share::Share;
use crate::step::{Step, StepKind};
use crate::timings::{Row, Timings, disk_usage};
use crate::tool::Tool;
use crate::{disk, finalise, patch, tool, trouble, work};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use walkdir::WalkDir;

/// A step that did not succeed, with what one needs to mend it.
#[derive(Debug)]
pub struct StepFailure {
    step: String,
    last_lines: Vec<String>,
    log: PathBuf,
    /// What is known of the reason: file systems without room, what the archive did.
    reasons: Vec<String>,
    cause: anyhow::Error,
}

impl fmt::Display for StepFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.last_lines {
            writeln!(f, "  | {line}")?;
        }
        writeln!(f, "{} failed: {:#}", self.step, self.cause)?;
        for text in &self.reasons {
            writeln!(f, "  {text}")?;
        }
        writeln!(f, "  the whole log:   {}", self.log.display())?;
        writeln!(f, "  to look inside:  westwork-gen shell")?;
        write!(f, "  once mended:     westwork-gen build --continue")
    }
}

impl std::error::Error for StepFailure {}

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

/// Writes the packages of the last build, which made `last`, to the lock file. Runs in the
/// sandbox, the work directory held.
///
/// # Errors
/// When that build is not complete, or a package of it cannot be found again.
pub fn lock(job: &Job<'_>, last: &Progress) -> Result<()> {
    ensure!(
        last.complete,
        "the last build is not complete; `westwork-gen build --continue` finishes it"
    );
    let store = Store::open(&job.config.work_dir)?;
    let mut build = Build::new(job, &store, last.clone(), "lock.log")?;
    build.prepare_dispatch(Mode::Native)?;
    build.lock_packages(true)?;
    let path = lockfile::path_of(job.config);
    build.output.say(&format!("wrote {}", path.display()));
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

    /// Makes target programs runnable, and natively where that is allowed.
    fn prepare_dispatch(&mut self, mode: Mode) -> Result<()> {
        if !script::env::is_foreign(self.job.config.arch) {
            return Ok(());
        }
        let emulator = tool::emulator(self.job.config.arch).context("finding the emulator")?;
        let dispatch = Dispatch::new(self.job.config, &emulator, &self.work.join("tools"));
        let mut dispatch = match dispatch {
            Ok(dispatch) => dispatch,
            // Before Linux 6.7. The host's own handler counts inside the sandbox too.
            Err(error) => {
                self.output.say(&format!(
                    "note: the host's binfmt handler is used, and everything emulated ({error:#})"
                ));
                return Ok(());
            }
        };
        if mode == Mode::Native {
            let mark = self.timings.begin();
            let mut packages = dispatch::table::packages()?;
            match self.job.config.disk.root {
                RootKind::Ext4 => {}
                RootKind::Squashfs => drop(packages.insert(Tool::Mksquashfs.package().to_owned())),
                RootKind::Erofs => drop(packages.insert(Tool::MkfsErofs.package().to_owned())),
            }
            let mut output = self.output.step("native tools");
            let made =
                dispatch::native::tools_root(self.job, &self.share, &packages, &mut |line| {
                    output.line(line);
                });
            match made {
                Ok(tools) => {
                    output.done();
                    self.timings.end(&mark, "native tools", 0);
                    self.tools.clone_from(&tools.packages);
                    let offered = self.offered(&packages)?;
                    dispatch.use_tools(tools, offered)?;
                }
                // Without them the image's file system would be made by other programs.
                Err(error) if self.job.locked.is_some() => {
                    output.failed();
                    return Err(error);
                }
                Err(error) => {
                    output.failed();
                    self.output
                        .say(&format!("note: everything is emulated ({error:#})"));
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

    /// Fetches from the shared cache the layers that are not here, and if a step is left to run,
    /// packages. Whether one is.
    fn fetch(&mut self, schedule: &Schedule<'_>) -> Result<bool> {
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
        let mark = self.timings.begin();
        let layers = self.share.fetch_layers(self.store, &wanted);
        for record in &wanted {
            if self.store.find(&record.key).is_some() {
                self.durable.committed(record.key.clone());
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
        self.share_notes();
        Ok(runs)
    }

    fn share_notes(&mut self) {
        for note in self.share.notes() {
            self.output.say(&format!("note: {note}"));
        }
    }

    /// Gives the packages of the lock file to the shared cache.
    fn give_packages(&self) -> Result<()> {
        let config = self.job.config;
        if config.cache_to.is_none() {
            return Ok(());
        }
        let native = dispatch::native::debian_arch();
        for (purpose, pool) in [(Use::Image, config.pool()), (Use::Tools, native)] {
            for package in lockfile::packages_of(config, purpose) {
                let path = pool::path_of(&config.cache_dir, pool, &package.file_name());
                if path.exists() {
                    self.share.give_package(path, &package.sha256);
                }
            }
        }
        Ok(())
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
            return self.reached(name, key);
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
                self.durable.committed(key.clone());
                self.timings
                    .end(&mark, name, disk_usage(&self.store.upper(&key)));
                self.reached(name, &key)
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

    /// Writes the packages of the finished build to the lock file: with `again` in any case,
    /// else if it has none of them yet.
    fn lock_packages(&mut self, again: bool) -> Result<()> {
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
            roots.push(at.join("rootfs"));
        }
        let found = collect::packages(&roots, &self.archives.index()?, self.job.mirrors);
        drop(views);
        let packages = match found {
            Ok(packages) => packages,
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

    fn reached(&mut self, step: &str, key: &Key) -> Result<()> {
        self.share.give_layer(key, self.store.layer(key));
        self.progress.steps.push((step.to_owned(), key.clone()));
        self.progress.save(&self.work)
    }

    /// Runs the tree's `postrun.sh`, on the host, once all images are there: when one of them is
    /// new, or the script is.
    fn postrun(&mut self, schedule: &Schedule<'_>, exported: bool) -> Result<()> {
        let path = postrun_of(self.job.config);
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

    /// The error that ends the build when `step` did not succeed.
    fn failure(&self, step: &str, last_lines: Vec<String>, cause: anyhow::Error) -> anyhow::Error {
        StepFailure {
            step: step.to_owned(),
            reasons: self
                .full(&last_lines, &cause)
                .into_iter()
                .chain(trouble::explain(&last_lines, self.job.config))
                .collect(),
            last_lines,
            log: self.output.log_path().to_owned(),
            cause,
        }
        .into()
    }

    /// What is to be said of file systems without room, if that may be why a step failed.
    fn full(&self, last_lines: &[String], cause: &anyhow::Error) -> Vec<String> {
        const NO_ROOM: &str = "No space left on device";
        let config = self.job.config;
        let places = [
            ("WORK_DIR", config.work_dir.as_path()),
            ("CACHE_DIR", &config.cache_dir),
            ("DEPLOY_DIR", &config.deploy_dir),
        ];
        let certain = last_lines.iter().any(|line| line.contains(NO_ROOM))
            || format!("{cause:#}").contains(NO_ROOM);
        let mut full = disk::full(&places, certain);
        if !full.is_empty() {
            let written = self.progress.failed.as_ref();
            let written = written.map_or(0, |(_, key)| disk_usage(&self.store.failed_dir(key)));
            full.push(format!(
                "the step had written {} MiB by then; make room and say --continue",
                written >> 20
            ));
        }
        full
    }

    /// What the `.info` file says of where the image comes from.
    fn origin(&self, stack: &[Key]) -> Vec<String> {
        let config = self.job.config;
        vec![
            format!("builder: westwork-gen {}", env!("CARGO_PKG_VERSION")),
            format!(
                "suite: {:?} {} {}",
                config.distro,
                config.release,
                config.arch.debian()
            ),
            format!("archive state: {}", self.job.state.id),
            format!("layer: {}", stack.last().map_or("", Key::id)),
        ]
    }

    /// What the build record says of the build so far.
    fn record(&self) -> serde_json::Value {
        let step = |row: &Row| {
            json!({
                "step": row.name,
                "seconds": row.wall.as_secs_f64(),
                "processor_seconds": row.processor.as_secs_f64(),
                "emulated_seconds": row.emulated.as_secs_f64(),
                "bytes_written": row.written,
            })
        };
        json!({
            "builder": {"name": "westwork-gen", "version": env!("CARGO_PKG_VERSION")},
            "config": without_secrets(json!(self.job.config)),
            "archive": self.job.state,
            "layers": self.progress.steps,
            // Steps that were kept from an earlier build took no time in this one.
            "timings": self.timings.rows().iter().map(step).collect::<Vec<_>>(),
        })
    }

    /// The target suite's own `tool`, at `path` of the tools root; else the host's.
    fn suites_own(&self, tool: Tool, path: &str) -> Result<String> {
        let found = match &self.dispatch {
            Some(dispatch) => dispatch.host_tool(path)?,
            None => None,
        };
        Ok(found.map_or_else(
            || tool.program(),
            |path| path.to_string_lossy().into_owned(),
        ))
    }

    /// Makes the image of the layers in `stack`, unless it lies in the deploy directory already.
    /// Says whether it was made.
    fn export(&mut self, stack: &[Key], export: &Export) -> Result<bool> {
        let config = self.job.config;
        let image = format!("{}{}", config.img_filename, export.suffix);
        let key = deployed::image_key(self.job, stack, export)?;
        if let Some(files) = self.deployed.current(&image, &key) {
            self.output.say(&format!("cached  {image}"));
            files
                .iter()
                .for_each(|file| self.output.say(&format!("        {}", file.display())));
            return Ok(false);
        }
        let mark = self.timings.begin();
        let at = self.work.join("export-image");
        // Of its own name: another build of the same command may be exporting too.
        let scratch_name = format!("export-{}-{}", config.img_name, config.arch.debian());
        let scratch = self.store.scratch(&scratch_name, stack, &at)?;
        let rootfs = at.join("rootfs");
        finalise::finalise(&rootfs, config, self.job.mirrors)?;
        let name = format!("export{}", export.suffix);
        let request = ExportRequest {
            rootfs: &rootfs,
            scratch: &scratch.directory()?,
            deploy_dir: &config.deploy_dir,
            name: image.clone(),
            archive_name: format!("{}{}", config.archive_filename, export.suffix),
            formats: config.compression.clone(),
            level: config.compression_level,
            boot_size: config.boot_size,
            root_margin: config.root_margin,
            disk: config.disk.clone(),
            arch: config.arch,
            distro: config.distro,
            release: config.release.clone(),
            source_date_epoch: self.job.epoch(),
            info_lines: self.origin(stack),
            init_format: export::init_format(&rootfs, &config.disk),
            deploy_url: config.deploy_url.clone(),
            signer: config.sign_with.clone(),
            record: self.record(),
            beside: left_to_deploy(&at.join(EXPORT_DEPLOY), &image, config)?,
            mke2fs: self.suites_own(Tool::Mke2fs, "usr/sbin/mke2fs")?,
            mkfs_root: match config.disk.root {
                RootKind::Ext4 => None,
                RootKind::Squashfs => {
                    Some(self.suites_own(Tool::Mksquashfs, "usr/bin/mksquashfs")?)
                }
                RootKind::Erofs => Some(self.suites_own(Tool::MkfsErofs, "usr/bin/mkfs.erofs")?),
            },
        };
        let mut output = self.output.step(&name);
        match export::export(&request, &mut |line| output.line(line)) {
            Ok(exported) => {
                output.done();
                let written = exported.files.iter().map(|file| disk_usage(file)).sum();
                self.timings.end(&mark, &request.name, written);
                for file in exported.files.iter().chain(&exported.shared) {
                    self.output.say(&format!("        {}", file.display()));
                }
                self.deployed.record(&image, key, &exported.files)?;
                self.deployed.save(&self.work)?;
                Ok(true)
            }
            Err(cause) => {
                let last_lines = output.failed();
                Err(self.failure(&name, last_lines, cause))
            }
        }
    }
}

/// What export steps left in `dir` for the deploy directory. What is called as the exporter's own
/// artefacts of `image` is not: it was made of an empty image file.
fn left_to_deploy(dir: &Path, image: &str, config: &Config) -> Result<Vec<PathBuf>> {
    let archive = image.replacen(&config.img_filename, &config.archive_filename, 1);
    let own = |name: &str| {
        [image, archive.as_str()].iter().any(|stem| {
            let rest = name.strip_prefix(stem);
            rest.is_some_and(|rest| rest.starts_with('.'))
        })
    };
    let mut files = Vec::new();
    for entry in WalkDir::new(dir).max_depth(1).sort_by_file_name() {
        let entry = match entry {
            Ok(entry) => entry,
            // No step has made the directory.
            Err(_) if !dir.exists() => break,
            Err(error) => return Err(error).context("reading what the export steps left"),
        };
        if entry.file_type().is_file() && !own(&entry.file_name().to_string_lossy()) {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}

/// The script that a tree wants run when all images are there.
pub(crate) fn postrun_of(config: &Config) -> PathBuf {
    config.base_dir.join("postrun.sh")
}

/// Does what the step's kind says, in the mounted work directory of its stage.
fn carry_out(step: &Step, stage_work: &Path, env: &Env, sink: &mut dyn FnMut(&str)) -> Result<()> {
    let root = stage_work.join("rootfs");
    // What is not a script of the tree sees no settings, so that they need not be in its key.
    let narrow = &script::env::without_settings(env);
    match step.kind {
        StepKind::Prerun | StepKind::RunHost => script::host(&step.path, env)?.stream(sink),
        StepKind::RunChroot => script::chroot(&root, &read(&step.path)?, env)?.stream(sink),
        StepKind::Debconf => {
            let answers = apt::expand(&read(&step.path)?, env);
            script::chroot_program(&root, &["debconf-set-selections"], narrow)?
                .input(answers)
                .stream(sink)
        }
        StepKind::PackagesNoRecommends => install(step, &root, narrow, Recommends::No, sink),
        StepKind::Packages | StepKind::PackagesNonInteractive => {
            install(step, &root, narrow, Recommends::Yes, sink)
        }
        StepKind::Patches => {
            let name = step.name.replace('/', "-");
            patch::apply(&step.path, stage_work, &name, narrow, sink)
        }
    }
}

fn install(
    step: &Step,
    root: &Path,
    env: &Env,
    recommends: Recommends,
    sink: &mut dyn FnMut(&str),
) -> Result<()> {
    let packages = apt::parse_list(&read(&step.path)?);
    if packages.is_empty() {
        return Ok(());
    }
    let argv = apt::install(&packages, recommends);
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    script::chroot_program(root, &argv, env)?.stream(sink)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}
