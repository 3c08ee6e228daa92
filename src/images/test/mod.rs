//! `westwork-gen test`: what somebody expects of an image, read from its file systems without root
//! and without a start, and asked of the running system in QEMU.

pub mod args;
mod boot;
mod files;
mod forbid;
mod junit;
mod live;
mod outcome;
mod read;
mod secrets;
mod show;
mod sizes;
mod spec;
mod subject;
mod system;
mod texts;
mod wheels;
mod words;

use crate::base::problem::{self, Problems};
use crate::images::image::stem;
use anyhow::{Context, Result};
use args::TestArgs;
use outcome::{Outcome, Verdict, code};
use read::Source;
use schemars::JsonSchema;
use serde::Serialize;
pub(crate) use spec::Spec;
use std::ops::Range;
use std::path::{Path, PathBuf};
use subject::Subject;

/// All tests of one image; `--json` prints a list of these.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Tested {
    pub(crate) image: String,
    pub(crate) outcomes: Vec<Outcome>,
}

/// Carries out `westwork-gen test`. Returns 0 if all is as it should be, 1 if a test failed, and 2,
/// if need be with a printed error, if nothing failed, but something cannot be said.
pub fn run(args: &TestArgs) -> u8 {
    problem::told(test_all(args))
}

/// The worse one of two exit codes: a failed test counts before what cannot be said.
pub fn worse(a: u8, b: u8) -> u8 {
    match (a, b) {
        (1, _) | (_, 1) => 1,
        _ => a.max(b),
    }
}

fn test_all(args: &TestArgs) -> Result<u8> {
    let (tests, images): (Vec<&PathBuf>, Vec<&PathBuf>) = args
        .paths
        .iter()
        .partition(|path| path.extension().is_some_and(|it| it == "toml"));
    let sources = sources(&tests, images.is_empty())?;
    let before = args.against.as_deref().map(used).transpose()?;
    if let Some(dir) = &args.logs {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    }
    let all = side_by_side(&images, |image| Tested {
        image: image.display().to_string(),
        outcomes: test(image, &sources, before, args),
    });
    if let Some(file) = &args.junit {
        junit::write(&all, file)?;
    }
    if args.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&all).context("writing JSON")?
        );
    } else {
        print!("{}", show::show(&all));
    }
    Ok(code(all.iter().flat_map(|tested| &tested.outcomes)))
}

/// The tests in `files`, or those that come with the program.
fn sources(files: &[&PathBuf], no_image: bool) -> Result<Vec<Source>, Problems> {
    let read = |file: &&PathBuf| Source::read(file);
    let (sources, mut problems) = if files.is_empty() {
        parts([Source::default()].into_iter())
    } else {
        parts(files.iter().map(read))
    };
    if no_image {
        problems.push(crate::base::problem::Problem::new(
            "no image is named",
            "write westwork-gen test IMAGE TESTS.toml",
        ));
    }
    Problems(problems).into_result()?;
    Ok(sources)
}

/// What went well, and what did not.
fn parts<T, E>(results: impl Iterator<Item = Result<T, E>>) -> (Vec<T>, Vec<E>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(one) => good.push(one),
            Err(one) => bad.push(one),
        }
    }
    (good, bad)
}

/// Bytes that the root file system of an earlier image uses.
fn used(path: &Path) -> Result<u64> {
    let (subject, _) = Subject::open(path)?;
    subject.root()?;
    let used = subject.root_facts.and_then(|facts| facts.used);
    used.with_context(|| format!("what is used of {} cannot be told", path.display()))
}

/// Has `test` done for each image, as many at once as there are processors, in their order.
fn side_by_side(images: &[&PathBuf], test: impl Fn(&Path) -> Tested + Sync) -> Vec<Tested> {
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let mut all = Vec::new();
    for some in images.chunks(at_once) {
        std::thread::scope(|scope| {
            let threads: Vec<_> = some
                .iter()
                .map(|image| scope.spawn(|| test(image)))
                .collect();
            all.extend(threads.into_iter().filter_map(|thread| thread.join().ok()));
        });
    }
    all
}

fn test(image: &Path, sources: &[Source], before: Option<u64>, args: &TestArgs) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = match Subject::open(image) {
        Ok((subject, _)) => {
            let look = |source| on_files(&subject, source, before);
            sources.iter().flat_map(look).collect()
        }
        Err(error) => {
            let why = format!("{error:#}");
            return vec![Outcome::now(
                "image",
                "it is an image".to_owned(),
                String::new(),
                || Err(anyhow::anyhow!(why)),
            )];
        }
    };
    let place = live::Place {
        image,
        machine: args.machine,
        record: args
            .logs
            .as_ref()
            .map(|dir| dir.join(format!("{}.log", stem(image)))),
    };
    if args.static_only {
        outcomes.extend(live::left_out(sources));
    } else {
        outcomes.extend(live::run(&place, sources));
    }
    outcomes
}

/// What of `source` can be said without a start.
fn on_files(subject: &Subject, source: &Source, before: Option<u64>) -> Vec<Outcome> {
    let spec = &source.spec;
    let mut all = Vec::new();
    let mut add =
        |kind, title: String, at: Range<usize>, look: &dyn Fn() -> Result<Vec<String>>| {
            all.push(Outcome::now(kind, title, source.place(at.start), look));
        };
    for test in &spec.file {
        let (at, test) = (test.span(), test.get_ref());
        add("file", show::file(test), at, &|| files::look(test, subject));
    }
    for test in &spec.package {
        let (at, test) = (test.span(), test.get_ref());
        add("package", show::package(test), at, &|| {
            system::package(test, subject)
        });
    }
    for test in &spec.unit {
        let (at, test) = (test.span(), test.get_ref());
        if test.enabled.is_some() || test.masked.is_some() {
            add("unit", show::unit(test), at, &|| {
                system::unit(test, subject)
            });
        }
    }
    for test in &spec.user {
        let (at, test) = (test.span(), test.get_ref());
        add("user", show::user(test), at, &|| {
            system::user(test, subject)
        });
    }
    for test in &spec.config_txt {
        let (at, test) = (test.span(), test.get_ref());
        add("config-txt", show::config_txt(test), at, &|| {
            boot::config_txt(test, subject)
        });
    }
    if let Some(test) = &spec.cmdline {
        let (at, test) = (test.span(), test.get_ref());
        let title = "the kernel's command line".to_owned();
        add("cmdline", title, at, &|| boot::cmdline(test, subject));
    }
    if let Some(test) = &spec.size {
        let (at, test) = (test.span(), test.get_ref());
        let title = "the image's size".to_owned();
        add("size", title, at, &|| sizes::look(test, subject, before));
    }
    if let Some(test) = &spec.forbid {
        let (at, test) = (test.span(), test.get_ref());
        forbidden(test, subject, &mut |kind, title, look| {
            add(kind, title.to_owned(), at.clone(), look);
        });
    }
    all
}

/// A kind of test, its title, and how it is done.
type Add<'a> = dyn FnMut(&'static str, &str, &dyn Fn() -> Result<Vec<String>>) + 'a;

fn forbidden(test: &spec::Forbid, subject: &Subject, add: &mut Add<'_>) {
    if test.host_keys {
        add("host-keys", "no SSH host key is shipped", &|| {
            forbid::host_keys(subject)
        });
    }
    if test.machine_id {
        add("machine-id", "no machine id is shipped", &|| {
            forbid::machine_id(subject)
        });
    }
    if test.empty_passwords {
        let title = "every password is set or locked";
        add("empty-passwords", title, &|| {
            forbid::empty_passwords(subject)
        });
    }
    if test.writable_path {
        let title = "only root writes where programs are sought";
        add("writable-path", title, &|| forbid::writable_path(subject));
    }
    if test.secrets {
        add("secrets", "no secret is shipped", &|| {
            secrets::look(subject, &test.allow)
        });
    }
}

/// The verdict of what was not tried.
fn not_started() -> Verdict {
    Verdict::LeftOut("--static: the image is not started".to_owned())
}
