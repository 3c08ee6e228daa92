//! Running a plan: one layer a step, an image for each stage that wants one.

use crate::apt::{self, Archives, Recommends};
use crate::archive::State;
use crate::config::Config;
use crate::dispatch::{self, Dispatch, EMULATOR_VAR, Mode};
use crate::export::{self, ExportRequest};
use crate::key;
use crate::layer::{Key, Record, Store};
use crate::mirror::Mirrors;
use crate::output::Output;
use crate::plan::{Export, Plan, Stage};
use crate::progress::{Progress, work_of};
use crate::rootfs::{APT_CONF_VAR, ARCHIVES_VAR, TOOLS_VAR};
use crate::script::env::{Place, stage_work_dir};
use crate::script::{self, Env};
use crate::step::{Step, StepKind};
use crate::timings::{Timings, disk_usage};
use crate::{finalise, patch, tool};
use anyhow::{Context, Result};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// A step that did not succeed, with what one needs to mend it.
#[derive(Debug)]
pub struct StepFailure {
    step: String,
    last_lines: Vec<String>,
    log: PathBuf,
    cause: anyhow::Error,
}

impl fmt::Display for StepFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.last_lines {
            writeln!(f, "  | {line}")?;
        }
        writeln!(f, "{} failed: {:#}", self.step, self.cause)?;
        writeln!(f, "  the whole log:   {}", self.log.display())?;
        writeln!(f, "  to look inside:  westwork-gen shell")?;
        write!(f, "  once mended:     westwork-gen build --continue")
    }
}

impl std::error::Error for StepFailure {}

/// Builds every stage of `plan` and exports those that ask for it. Runs in the sandbox.
///
/// Returns the files now in the deploy directory.
///
/// # Errors
/// [`StepFailure`] when a step fails; its half-done layer is kept aside for `shell`.
pub fn build(
    config: &Config,
    plan: &Plan,
    mirrors: &Mirrors,
    options: &Options,
) -> Result<Vec<PathBuf>> {
    let timings = Timings::new();
    let work = work_of(config);
    fs::create_dir_all(&work).with_context(|| format!("making {}", work.display()))?;
    let store = Store::open(&config.work_dir)?;
    if config.clean {
        store.clear()?;
    }
    let mut build = Build {
        config,
        mirrors,
        store: &store,
        archives: Archives::open(&config.cache_dir, config.arch.debian())?,
        output: Output::new(&work.join("build.log"))?,
        state: State::of_build(config, mirrors, &work)?,
        work,
        stack: Vec::new(),
        progress: Progress::default(),
        dispatch: None,
        timings,
    };
    build.prepare_dispatch(options.mode)?;
    let mut files = Vec::new();
    let mut previous = None;
    for stage in plan.stages.iter().filter(|stage| !stage.skip) {
        let below = build.stack.clone();
        build.stage(stage, previous, &below)?;
        if let Some(export) = &stage.export {
            files.extend(build.export(export)?);
        }
        previous = Some(stage);
    }
    build.postrun(previous)?;
    if options.timings {
        let table = build.timings.to_string();
        table.lines().for_each(|line| build.output.say(line));
    }
    Ok(files)
}

/// How a build is run, beyond what makes the image.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub mode: Mode,
    /// End with a table of where the time went.
    pub timings: bool,
}

struct Build<'a> {
    config: &'a Config,
    mirrors: &'a Mirrors,
    store: &'a Store,
    archives: Archives,
    output: Output,
    work: PathBuf,
    stack: Vec<Key>,
    progress: Progress,
    state: State,
    dispatch: Option<Dispatch>,
    timings: Timings,
}

impl Build<'_> {
    /// Makes target programs runnable, and natively where that is allowed.
    fn prepare_dispatch(&mut self, mode: Mode) -> Result<()> {
        if !script::env::is_foreign(self.config.arch) {
            return Ok(());
        }
        let emulator = tool::emulator(self.config.arch).context("finding the emulator")?;
        let dispatch = Dispatch::new(self.config, &emulator, &self.work.join("tools"));
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
            let packages = dispatch::table::packages()?;
            let mut output = self.output.step("native tools");
            let made = dispatch::native::tools_root(
                self.config,
                self.mirrors,
                &self.state,
                &packages,
                &mut |line| output.line(line),
            );
            match made {
                Ok(tools) => {
                    output.done();
                    self.timings.end(&mark, "native tools", 0);
                    dispatch.use_tools(tools)?;
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

    fn stage(&mut self, stage: &Stage, previous: Option<&Stage>, below: &[Key]) -> Result<()> {
        if let Some(prerun) = &stage.prerun {
            self.step(prerun, stage, previous, None, below)?;
        }
        for sub in &stage.sub_stages {
            for step in &sub.steps {
                self.step(step, stage, previous, Some(&sub.dir), below)?;
            }
        }
        Ok(())
    }

    fn place<'p>(
        &'p self,
        stage: &'p Stage,
        previous: Option<&'p Stage>,
        sub_stage: Option<&'p Path>,
    ) -> Place<'p> {
        Place {
            stage,
            previous,
            sub_stage,
            work: &self.work,
            img_suffix: stage.export.as_ref().map_or("", |export| &export.suffix),
        }
    }

    fn env(&self, place: &Place) -> Env {
        let mut env = script::env::of(self.config, self.mirrors, place);
        let archives = self.archives.dir().to_string_lossy();
        env.insert(ARCHIVES_VAR.to_owned(), archives.into_owned());
        env.insert("SOURCE_DATE_EPOCH".to_owned(), self.epoch().to_string());
        env.insert(APT_CONF_VAR.to_owned(), apt::build_conf(self.config));
        if let (Some(dispatch), Some(emulator)) = (&self.dispatch, tool::emulator(self.config.arch))
        {
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

    /// Runs one step on a layer of its own, unless the layer it would make is there.
    fn step(
        &mut self,
        step: &Step,
        stage: &Stage,
        previous: Option<&Stage>,
        sub: Option<&Path>,
        below: &[Key],
    ) -> Result<()> {
        let place = self.place(stage, previous, sub);
        let env = self.env(&place);
        let at = stage_work_dir(&self.work, stage);
        let mut inputs = key::inputs(step, stage, &env)?;
        if self.stack.is_empty() {
            // Every later layer stands on this one, so it carries the archive's state for all.
            inputs.insert("archive".to_owned(), self.state.id.clone());
        }
        let parent = self.stack.last().cloned();
        let key = Key::new(parent.as_ref(), &inputs);
        if self.store.find(&key).is_some() {
            self.output.say(&format!("cached  {}", step.name));
            return self.reached(step, key);
        }
        let record = Record {
            key: key.clone(),
            parent,
            name: step.name.clone(),
            inputs,
        };
        let mark = self.timings.begin();
        let layer = self.store.begin(record, &self.stack, &at)?;
        let before = match previous {
            Some(previous) if previous.name != stage.name => Some(
                self.store
                    .view(below, &stage_work_dir(&self.work, previous))?,
            ),
            _ => None,
        };
        if let Some(dispatch) = &self.dispatch {
            for left_out in dispatch.refresh(&at.join("rootfs"))? {
                self.output.log(&format!("emulated: {left_out}"));
            }
        }
        let mut output = self.output.step(&step.name);
        let result = carry_out(step, &at, &env, &mut |line| output.line(line))
            .and_then(|()| self.archives.save());
        drop(before);
        match result {
            Ok(()) => {
                output.done();
                let key = layer.commit()?;
                self.timings
                    .end(&mark, &step.name, disk_usage(&self.store.upper(&key)));
                self.reached(step, key)
            }
            Err(cause) => {
                let last_lines = output.failed();
                layer.keep_failed()?;
                self.progress.failed = Some((step.name.clone(), key));
                self.progress.save(&self.work)?;
                Err(self.failure(&step.name, last_lines, cause))
            }
        }
    }

    fn reached(&mut self, step: &Step, key: Key) -> Result<()> {
        self.stack.push(key.clone());
        self.progress.steps.push((step.name.clone(), key));
        self.progress.save(&self.work)
    }

    /// Runs the tree's `postrun.sh`, on the host, once all images are there.
    fn postrun(&mut self, last: Option<&Stage>) -> Result<()> {
        let path = self.config.base_dir.join("postrun.sh");
        let Some(stage) = last.filter(|_| path.is_file()) else {
            return Ok(());
        };
        let env = self.env(&self.place(stage, None, None));
        let mut output = self.output.step("postrun.sh");
        let result = script::host(&path, &env)?.stream(&mut |line| output.line(line));
        match result {
            Ok(()) => {
                output.done();
                Ok(())
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
            last_lines,
            log: self.output.log_path().to_owned(),
            cause,
        }
        .into()
    }

    /// What the `.info` file says of where the image comes from.
    fn origin(&self) -> Vec<String> {
        let config = self.config;
        vec![
            format!("builder: westwork-gen {}", env!("CARGO_PKG_VERSION")),
            format!(
                "suite: {:?} {} {}",
                config.distro,
                config.release,
                config.arch.debian()
            ),
            format!("archive state: {}", self.state.id),
            format!("layer: {}", self.stack.last().map_or("", Key::id)),
        ]
    }

    /// Seconds every time stamp of the image is bounded by: the config's, else the archive's.
    fn epoch(&self) -> i64 {
        self.config
            .source_date_epoch
            .or(self.state.date)
            .unwrap_or(0)
    }

    /// Makes the image of what has been built so far.
    fn export(&mut self, export: &Export) -> Result<Vec<PathBuf>> {
        let mark = self.timings.begin();
        let at = self.work.join("export-image");
        let scratch = self.store.scratch("export", &self.stack, &at)?;
        let rootfs = at.join("rootfs");
        finalise::finalise(&rootfs, self.config, self.mirrors)?;
        let name = format!("export{}", export.suffix);
        let request = ExportRequest {
            rootfs: &rootfs,
            scratch: &scratch.directory()?,
            deploy_dir: &self.config.deploy_dir,
            name: format!("{}{}", self.config.img_filename, export.suffix),
            archive_name: format!("{}{}", self.config.archive_filename, export.suffix),
            compression: self.config.compression,
            level: self.config.compression_level,
            boot_size: self.config.boot_size,
            root_margin: self.config.root_margin,
            arch: self.config.arch,
            release: self.config.release.clone(),
            source_date_epoch: self.epoch(),
            info_lines: self.origin(),
            mke2fs: match self
                .dispatch
                .as_ref()
                .and_then(|dispatch| dispatch.host_tool("usr/sbin/mke2fs").transpose())
            {
                Some(program) => program?.to_string_lossy().into_owned(),
                None => "mke2fs".to_owned(),
            },
        };
        let mut output = self.output.step(&name);
        match export::export(&request, &mut |line| output.line(line)) {
            Ok(exported) => {
                output.done();
                let written = exported.files.iter().map(|file| disk_usage(file)).sum();
                self.timings.end(&mark, &request.name, written);
                for file in &exported.files {
                    self.output.say(&format!("        {}", file.display()));
                }
                Ok(exported.files)
            }
            Err(cause) => {
                let last_lines = output.failed();
                Err(self.failure(&name, last_lines, cause))
            }
        }
    }
}

/// Does what the step's kind says, in the mounted work directory of its stage.
fn carry_out(step: &Step, stage_work: &Path, env: &Env, sink: &mut dyn FnMut(&str)) -> Result<()> {
    let root = stage_work.join("rootfs");
    match step.kind {
        StepKind::Prerun | StepKind::RunHost => script::host(&step.path, env)?.stream(sink),
        StepKind::RunChroot => script::chroot(&root, &read(&step.path)?, env)?.stream(sink),
        StepKind::Debconf => {
            let answers = apt::expand(&read(&step.path)?, env);
            script::chroot_program(&root, &["debconf-set-selections"], env)?
                .input(answers)
                .stream(sink)
        }
        StepKind::PackagesNoRecommends => install(step, &root, env, Recommends::No, sink),
        StepKind::Packages | StepKind::PackagesNonInteractive => {
            install(step, &root, env, Recommends::Yes, sink)
        }
        StepKind::Patches => {
            let name = step.name.replace('/', "-");
            patch::apply(&step.path, stage_work, &name, env, sink)
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
