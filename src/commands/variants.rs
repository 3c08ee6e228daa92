//! Several images in one run: each `-c FILE`, and each architecture of `ARCH`, is a variant.
//!
//! A variant is a build in a process of its own. They share layers through the store: of two
//! that come to the same step, one makes its layer and the other waits for it.

use crate::base::command::{Command, Program};
use crate::base::events::{self, Target};
use crate::base::work::{self, Held};
use crate::check;
use crate::cli;
use crate::cli::BuildArgs;
use crate::config::{ConfigRequest, Settings};
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The variants that `request` asks for, at least one: for every file and every architecture.
/// The config is read once for each file, and not again for an architecture.
pub(super) fn of(request: &ConfigRequest) -> Vec<Settings> {
    let files: Vec<Vec<PathBuf>> = match request.files.as_slice() {
        [] => vec![Vec::new()],
        files => files.iter().map(|file| vec![file.clone()]).collect(),
    };
    let mut variants = Vec::new();
    for files in files {
        let settings = Settings::read(&ConfigRequest {
            files,
            ..request.clone()
        });
        let architectures = settings.architectures();
        if architectures.len() < 2 {
            variants.push(settings);
            continue;
        }
        for architecture in architectures {
            let mut variant = settings.clone().with("ARCH", &architecture);
            // The names of files need not have the architecture in them, so it is added.
            if let Some(config) = variant.judge().config {
                for (key, name) in [
                    ("IMG_FILENAME", &config.img_filename),
                    ("ARCHIVE_FILENAME", &config.archive_filename),
                ] {
                    variant = variant.with(key, &format!("{name}-{architecture}"));
                }
            }
            variants.push(variant);
        }
    }
    variants
}

/// The settings that the command of which this build is a part has read.
///
/// # Errors
/// When standard input has none.
pub(super) fn handed_over() -> Result<Settings> {
    serde_json::from_reader(std::io::stdin()).context("reading the settings that were handed over")
}

/// The one variant that `request` asks for.
///
/// # Errors
/// When it asks for several and `what` can only be done for one.
pub(super) fn only(request: &ConfigRequest, what: &str) -> Result<Settings> {
    let mut variants = of(request);
    match (variants.pop(), variants.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => bail!("{what} is for one image: choose it with -c FILE and --set ARCH=…"),
    }
}

/// Builds all of `variants`, as many at a time as there are processors. Returns the exit code:
/// that of a failed one, if one fails; the others are finished all the same.
///
/// # Errors
/// Before anything is built: bad input, or two variants of one name.
pub(super) fn build(variants: &[Settings], args: &BuildArgs) -> Result<u8> {
    let mut jobs = VecDeque::new();
    let mut work_dirs = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for variant in variants {
        let (config, _) = check::everything(variant)?;
        let work = config.work();
        let name = format!("{}-{}", config.img_name, config.arch.debian());
        if !taken.insert(work) || !taken.insert(config.deploy_dir.join(&config.img_filename)) {
            bail!("two variants would both be called {name}; give each an IMG_NAME of its own");
        }
        if config.clean {
            work_dirs.insert(config.work_dir.clone(), true);
        } else {
            work_dirs.entry(config.work_dir.clone()).or_insert(false);
        }
        jobs.push_back((name, variant));
    }
    let _held = hold(work_dirs)?;
    let width = jobs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let queue = Mutex::new(jobs);
    let failed = Mutex::new(Vec::new());
    let work = || {
        while let Some((name, variant)) = take(&queue) {
            let prefix = format!("{name:width$} | ");
            let code = run(variant, args, &prefix).unwrap_or_else(|error| {
                eprintln!("{prefix}{error:#}");
                1
            });
            if code != 0 {
                failed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((name, code));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (name, _) in &failed {
        eprintln!("{name} failed");
    }
    Ok(failed.first().map_or(0, |(_, code)| *code))
}

fn take<T>(queue: &Mutex<VecDeque<T>>) -> Option<T> {
    queue.lock().ok()?.pop_front()
}

/// Takes every work directory, and empties those that are to be, before any variant begins.
fn hold(work_dirs: BTreeMap<PathBuf, bool>) -> Result<Vec<Held>> {
    let mut held = Vec::new();
    for (dir, clean) in work_dirs {
        if clean {
            Command::new(Program::Own)
                .args(["internal", "empty"])
                .arg(&dir)
                .run()
                .with_context(|| format!("emptying the work directory {}", dir.display()))?;
        }
        held.push(work::hold(&dir, "build of several variants")?);
    }
    Ok(held)
}

/// Builds one variant in a process of its own, its output passed on with `prefix`.
fn run(variant: &Settings, args: &BuildArgs, prefix: &str) -> Result<u8> {
    let mut command = Command::new(Program::Own)
        .arg("build")
        .arg(cli::ONE_OF_SEVERAL);
    for (flag, given) in [
        ("--emulate", args.emulate),
        ("--timings", args.timings),
        ("--locked", args.locked),
        ("--offline", args.offline),
        ("--test", args.test),
    ] {
        if given {
            command = command.arg(flag);
        }
    }
    if let Some(dir) = &args.junit {
        command = command.arg("--junit").arg(dir);
    }
    let relayed = match args.events.as_deref().map(Target::of) {
        None => false,
        // Only in a file do the lines of several processes keep apart of themselves.
        Some(Target::File(path)) if path.is_file() => {
            command = command.arg("--events").arg(path);
            false
        }
        Some(_) => {
            command = command.args(["--events", Target::OUTPUT]);
            true
        }
    };
    // Emptied already, and for all. Secrets among the settings are seen by nobody on this way.
    let settings = variant.clone().with("CLEAN", "0");
    let settings = serde_json::to_vec(&settings).context("writing the settings")?;
    let status = command
        .input(settings)
        .lines(
            &mut |line| match relayed {
                true => events::relay(line),
                false => println!("{prefix}{line}"),
            },
            &mut |line| eprintln!("{prefix}{line}"),
        )
        .context("running a variant's build")?;
    Ok(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_architectures_multiply() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "ARCH='arm64 armhf'\n").unwrap();
        std::fs::write(dir.path().join("b"), "IMG_NAME=B\n").unwrap();
        let request = |files: &[&str]| ConfigRequest {
            cwd: dir.path().to_owned(),
            files: files.iter().map(PathBuf::from).collect(),
            set: vec!["IMG_NAME=X".to_owned()],
            env: BTreeMap::new(),
        };
        let images = |files: &[&str]| -> Vec<String> {
            of(&request(files))
                .into_iter()
                .map(|variant| {
                    let config = variant.judge().config.unwrap();
                    let name = config.archive_filename;
                    format!("{} {}", config.arch.debian(), &name["2026-01-01-".len()..])
                })
                .collect()
        };
        assert_eq!(images(&[]), ["arm64 X"]);
        assert_eq!(
            images(&["a", "b"]),
            ["arm64 X-arm64", "armhf X-armhf", "arm64 X"]
        );
        assert!(only(&request(&["a"]), "shell").is_err());
        assert!(only(&request(&["b"]), "shell").is_ok());
    }

    #[test]
    fn a_variant_is_a_build_of_its_own() {
        use crate::base::command::record::{Answer, Recorder};
        use clap::Parser;
        let words = ["westwork-gen", "build", "--locked", "--timings", "-c", "a"];
        let cli::Command::Build(args) = cli::Cli::parse_from(words).command else {
            panic!("not a build");
        };
        let dir = tempfile::tempdir().unwrap();
        let variant = Settings::read(&ConfigRequest {
            cwd: dir.path().to_owned(),
            set: vec!["ARCH=armhf".to_owned()],
            ..ConfigRequest::default()
        });
        let recorder = Recorder::answering(|_| Answer {
            code: 3,
            ..Answer::default()
        });
        assert_eq!(recorder.during(|| run(&variant, &args, "a | ")).unwrap(), 3);
        let calls = recorder.calls();
        let [call] = calls.as_slice() else {
            panic!("{} calls", calls.len());
        };
        let build = "westwork-gen build --one-of-several --timings --locked";
        assert_eq!(call.text(), build);
        // What was read once is handed on, with what it was emptied for.
        let handed = String::from_utf8(call.input.clone().unwrap()).unwrap();
        assert!(
            handed.contains("armhf") && handed.contains("CLEAN"),
            "{handed}"
        );
    }
}
