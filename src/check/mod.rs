//! Everything that can be judged before a build: settings, stage tree, build machine.
//! All findings come together in one [`Problems`]; nothing is written that remains.

mod emulator;
mod ids;
mod kernel;
pub mod needs;
mod outputs;
mod pigen;
mod report;
mod storage;

use crate::archives::keyring::Signed;
use crate::base::arch::is_foreign;
use crate::base::command::Command;
use crate::base::problem::{Problem, Problems};
use crate::base::tool::{self, Task, Tool};
use crate::config::Signer;
use crate::config::{Address, Arch, Config, Loaded, Settings};
use crate::plan::Plan;
use crate::plan::step::StepKind;
use crate::sandbox::mounts::most_layers;
use anyhow::{Context, Result, bail};
pub use report::{BuildReport, Facts, Reports, subject};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Settings and stage tree; the build machine is not looked at.
///
/// # Errors
/// [`Problems`] when either is wrong.
pub fn plan(settings: &Settings) -> Result<(Config, Plan)> {
    let (input, problems) = understand(settings.judge());
    judged(input, problems)
}

/// Settings, stage tree and build machine.
///
/// # Errors
/// [`Problems`] with everything that stands in the way of the build.
pub fn everything(settings: &Settings) -> Result<(Config, Plan)> {
    let (input, problems) = findings(settings);
    judged(input, problems)
}

/// The same with what could be understood, for those who want to see both.
pub fn findings(settings: &Settings) -> (Option<(Config, Plan)>, Vec<Problem>) {
    found(settings.judge(), &tool::search_path())
}

/// Settings, stage tree, and the programs that `task` calls for.
///
/// # Errors
/// [`Problems`] with all that is wrong or missing.
pub fn ready_for(task: Task, settings: &Settings) -> Result<(Config, Plan)> {
    let (input, mut problems) = understand(settings.judge());
    problems.extend(missing_tools(task, input.as_ref(), &tool::search_path()));
    judged(input, problems)
}

/// The programs that `task` calls for, which needs no config.
///
/// # Errors
/// [`Problems`] with those that are missing.
pub fn tools_for(task: Task) -> Result<()> {
    let problems = missing_tools(task, None, &tool::search_path());
    Ok(Problems(problems).into_result()?)
}

fn found(mut loaded: Loaded, dirs: &[PathBuf]) -> (Option<(Config, Plan)>, Vec<Problem>) {
    let places = std::mem::take(&mut loaded.places);
    let (input, mut problems) = understand(loaded);
    problems.extend(host(input.as_ref(), dirs));
    if let Some((config, _)) = &input {
        problems.extend(outputs::judge(config).into_iter().map(|finding| {
            let what = format!("{}: {}", finding.key, finding.what);
            let problem = Problem::new(what, finding.remedy);
            match places.get(finding.key) {
                Some((file, line)) => problem.at(file).line(*line),
                None => problem,
            }
        }));
    }
    (input, problems)
}

/// What a user should know although it does not stand in the way.
pub fn notes(config: &Config, plan: &Plan) -> Vec<String> {
    let mut notes = Vec::new();
    if is_foreign(config.arch)
        && kernel::version().is_some_and(|version| version < kernel::BINFMT_IN_NAMESPACE)
    {
        notes.push(format!(
            "this Linux is older than 6.7, so the build machine's own binfmt_misc entry for {} is used",
            config.arch.qemu()
        ));
    }
    if is_foreign(config.arch) && Tool::Mmdebstrap.find().is_none() {
        notes.push(
            "without mmdebstrap every program of the image is emulated, which takes longer"
                .to_owned(),
        );
    }
    notes.extend(config.host_paths.iter().map(|host| {
        let what = if host.writable {
            "read and change"
        } else {
            "read"
        };
        format!(
            "HOST_PATHS: host scripts may {what} {}",
            host.path.display()
        )
    }));
    for (key, cache) in [
        ("CACHE_FROM", &config.cache_from),
        ("CACHE_TO", &config.cache_to),
    ] {
        if cache.as_ref().is_some_and(Address::is_plain) {
            notes.push(format!(
                "{key}: is not encrypted, so whoever is on the way to it decides what is in the image"
            ));
        }
    }
    // A container is for builds alone.
    if std::env::var_os("DEPLOY_MOUNT").is_none() {
        notes.extend(for_boot(&tool::search_path()));
    }
    notes.extend(config.notes.iter().cloned());
    notes.extend(pigen::notes(config, plan));
    notes.extend(old_compiler(config, plan));
    notes.extend(
        config
            .stage_list
            .iter()
            .flat_map(|stage| without_wheels(stage, config.arch)),
    );
    notes
}

/// What `boot` calls for and this machine lacks: the next thing to do with an image.
fn for_boot(dirs: &[PathBuf]) -> Option<String> {
    let packages: Vec<_> = missing(&needs::needed(Task::Boot, None), dirs)
        .into_keys()
        .collect();
    (!packages.is_empty()).then(|| {
        format!(
            "`westwork-gen boot --test`, which tries an image, needs more on this machine; apt install {}",
            packages.join(" ")
        )
    })
}

/// A program that is compiled by the suite's own compiler, where that is an old one.
fn old_compiler(config: &Config, plan: &Plan) -> Option<String> {
    if config.release != "bookworm" {
        return None;
    }
    let step = plan.steps().find(|step| {
        let text = std::fs::read(&step.path).unwrap_or_default();
        step.kind == StepKind::RunHost && String::from_utf8_lossy(&text).contains("cross_build ")
    })?;
    Some(format!(
        "{}: bookworm compiles by Rust 1.63; for a program that needs a newer one, take trixie, or \
         leave the stage out of STAGE_LIST",
        step.name
    ))
}

/// Sub-stages that have wheels for other architectures than `arch`.
fn without_wheels(stage: &Path, arch: Arch) -> Vec<String> {
    let names = |dir: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort_unstable();
        names
    };
    let wanted = format!("requirements-{}.txt", arch.debian());
    names(stage)
        .into_iter()
        .filter(|sub| !stage.join(sub).join("SKIP").exists())
        .map(|sub| stage.join(sub).join("files"))
        .filter(|files| {
            let mut lists = names(files);
            lists.retain(|name| name.starts_with("requirements-") && name.ends_with(".txt"));
            !lists.is_empty() && !lists.contains(&wanted)
        })
        .map(|files| {
            format!(
                "{} is not there, so what it stands for is left out of the image for {}",
                files.join(&wanted).display(),
                arch.debian()
            )
        })
        .collect()
}

/// Installs the packages of the build machine that the build lacks.
///
/// # Errors
/// When there is no apt-get, or it fails.
pub fn install_missing(settings: &Settings) -> Result<()> {
    // Wrong settings are reported by the check that follows.
    let (input, _) = understand(settings.judge());
    let input = input.as_ref().map(|(config, plan)| (config, plan));
    let tools = needs::needed(Task::Build, input);
    let packages: Vec<_> = missing(&tools, &tool::search_path()).into_keys().collect();
    if packages.is_empty() {
        return Ok(());
    }
    if Tool::AptGet.find().is_none() {
        bail!(
            "there is no apt-get on this machine; install the equivalents of: {}",
            packages.join(" ")
        );
    }
    eprintln!("installing {}", packages.join(" "));
    apt_get(&["update"])?;
    let install = ["install", "--yes", "--no-install-recommends"];
    apt_get(&[&install[..], &packages[..]].concat())
        .with_context(|| format!("installing {}", packages.join(" ")))
}

/// Runs apt-get as root.
fn apt_get(args: &[&str]) -> Result<()> {
    let command = if nix::unistd::getuid().is_root() {
        Command::new(Tool::AptGet)
    } else if Tool::Sudo.find().is_some() {
        // sudo asks for a password at the terminal itself.
        Command::new(Tool::AptGet).through(Tool::Sudo, ["--"])
    } else {
        bail!(
            "only root may install packages, and there is no sudo; run as root: apt-get {}",
            args.join(" ")
        );
    };
    command.args(args).stream(&mut |line| eprintln!("{line}"))
}

/// Goes on from the settings, if they could be read, to the stage tree.
fn understand(loaded: Loaded) -> (Option<(Config, Plan)>, Vec<Problem>) {
    let mut problems = loaded.problems;
    let input = loaded.config.map(|config| {
        let (plan, found) = Plan::discover(&config);
        problems.extend(found);
        problems.extend(too_many(&plan, most_layers(kernel::version())));
        (config, plan)
    });
    (input, problems)
}

/// More steps than one mount can have layers. Each has one; it shows when the last are mounted.
fn too_many(plan: &Plan, most: usize) -> Option<Problem> {
    let depth = plan.depth();
    (depth > most).then(|| {
        let what = format!("{depth} steps stand one on the other, and a build can have {most}");
        Problem::new(
            what,
            "join some: several packages in one list, several commands in one script",
        )
    })
}

fn judged(input: Option<(Config, Plan)>, problems: Vec<Problem>) -> Result<(Config, Plan)> {
    Problems(problems).into_result()?;
    input.context("the settings could not be read, and no reason was found")
}

/// What is wrong with the build machine, as far as the settings are known.
fn host(input: Option<&(Config, Plan)>, dirs: &[PathBuf]) -> Vec<Problem> {
    let mut problems = missing_tools(Task::Build, input, dirs);
    problems.extend(kernel::problems());
    // A missing mount has been told of, and is no word on namespaces.
    let can_try = Tool::Mount.find_in(dirs).is_some();
    let namespaces = can_try.then(ids::namespaces).flatten();
    let sandbox = can_try && namespaces.is_none();
    problems.extend(namespaces);
    problems.extend(ids::ranges());
    if let Some((config, _)) = input {
        problems.extend(storage::problems(&config.work_dir, config.min_free));
        problems.extend(kernel::page_size(config.arch));
        problems.extend(signing(config, dirs));
        if Tool::ArchiveKeys.find_in(dirs).is_some() {
            let archives = Signed::of(config);
            problems.extend(archives.iter().filter_map(|signed| signed.problem(config)));
        }
        if is_foreign(config.arch) {
            if let Some(path) = Tool::Emulator(config.arch).find_in(dirs) {
                let place = storage::existing(&config.work_dir);
                problems.extend(emulator::problems(
                    (config.arch, config.qemu_cpu()),
                    &path,
                    &place,
                    sandbox,
                ));
            }
        }
    }
    problems
}

/// Whether the checksums could be signed now, without a question to anybody.
fn signing(config: &Config, dirs: &[PathBuf]) -> Option<Problem> {
    let signer = config.sign_with.as_ref()?;
    // A missing program has been told of.
    signer.tool().find_in(dirs)?;
    let remedy = match signer {
        Signer::Gpg(_) => "name a key of `gpg --list-secret-keys` that needs no pass phrase now",
        Signer::Minisign(_) => "name a secret key without a pass phrase, made by `minisign -G -W`",
    };
    let error = signer.try_out().err()?;
    Some(Problem::new(format!("SIGN_WITH: {error:#}"), remedy))
}

/// The tools that are not there, by package.
fn missing(tools: &[Tool], dirs: &[PathBuf]) -> BTreeMap<&'static str, Vec<Tool>> {
    let mut packages: BTreeMap<_, Vec<Tool>> = BTreeMap::new();
    for tool in tools.iter().filter(|tool| tool.find_in(dirs).is_none()) {
        packages.entry(tool.package()).or_default().push(*tool);
    }
    packages
}

fn missing_tools(task: Task, input: Option<&(Config, Plan)>, dirs: &[PathBuf]) -> Vec<Problem> {
    let input = input.map(|(config, plan)| (config, plan));
    problems_of(task, &needs::needed(task, input), dirs)
}

fn problems_of(task: Task, tools: &[Tool], dirs: &[PathBuf]) -> Vec<Problem> {
    let problem = |(package, tools): (&str, Vec<Tool>)| {
        let mut names: Vec<_> = tools.iter().map(|tool| tool.program()).collect();
        names.dedup();
        let verb = if names.len() == 1 { "is" } else { "are" };
        let what = format!(
            "{} {verb} not installed, but needed to {}",
            names.join(" and "),
            tools[0].reason()
        );
        let remedy = match task {
            Task::Build => format!("apt install {package}, or build --install-deps"),
            _ => format!("apt install {package}"),
        };
        Problem::new(what, remedy)
    };
    missing(tools, dirs).into_iter().map(problem).collect()
}

/// First line of a file, if it can be read.
fn first_line(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(Path::new(path)).ok()?;
    Some(text.lines().next()?.trim().to_owned())
}

#[cfg(test)]
mod tests;
