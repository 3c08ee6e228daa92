//! `westwork-gen report` and `NAME.html`: a page about an image, in one file without outside
//! resources. What is in the page comes from the image and from files beside it, and from nothing
//! else: the same ones give the same bytes. A build's own page has no times; `report` takes them
//! from the build record.

pub mod args;
mod changes;
mod junit;
mod maps;
mod packages;
mod page;
mod record;
mod results;
mod room;
mod shown;
mod system;
mod timeline;
mod treemap;
mod vulnerabilities;

pub use results::{TestResult, TestResults, Verdict};

use crate::base::problem::{Problem, Problems};
use crate::base::work;
use crate::images::audit::Audit;
use crate::images::image::{Image, stem};
use crate::images::inspect::sums::Sum;
use crate::images::size::{self, Sizes};
use crate::images::{diff, inspect};
use anyhow::Result;
use args::ReportArgs;
use packages::Origins;
use record::Record;
use std::fs::File;
use std::path::{Path, PathBuf};

/// What the name of a page that this command writes ends with. A build's own page ends with
/// `.html`, and its checksum is in SHA256SUMS.
const EXTENSION: &str = ".report.html";

/// All that a page is made of.
struct Facts {
    /// The image's name, without directories.
    name: String,
    inspected: inspect::Report,
    sizes: Sizes,
    origins: Origins,
    /// The earlier image's name, and what differs.
    before: Option<Before>,
    record: Option<Record>,
    tests: Option<TestResults>,
    audit: Option<Audit>,
}

struct Before {
    name: String,
    differences: diff::Report,
    sizes: size::Against,
}

/// An image at the end of its build.
pub(crate) struct Built<'a> {
    pub(crate) name: &'a str,
    /// The raw image.
    pub(crate) file: File,
    /// Names and checksums of all its forms: SHA-256 in hex.
    pub(crate) artefacts: &'a [(&'a str, &'a str)],
    pub(crate) raw_sha256: &'a str,
}

/// The page of an image that was just built.
///
/// # Errors
/// When the image cannot be read. What in it cannot be read is noted in the page.
pub(crate) fn of_build(built: Built<'_>) -> Result<String> {
    let image = Image::of_raw(built.file)?;
    // A name in no directory: what lies beside an image of an earlier build is not looked at.
    let mut facts = gather(&image, Path::new(""), image.size);
    facts.name = built.name.to_owned();
    let artefacts = built.artefacts.iter().map(|(name, sum)| Sum {
        of: "artefact",
        sha256: (*sum).to_owned(),
        recorded_in: (*name).to_owned(),
    });
    let raw = Sum {
        of: "raw",
        sha256: built.raw_sha256.to_owned(),
        recorded_in: format!("{}.img", built.name),
    };
    facts.inspected.recorded_sums = artefacts.chain([raw]).collect();
    Ok(page::page(&facts))
}

/// The page of `image`, which lies nowhere.
#[cfg(any(fuzzing, test))]
pub(super) fn text_of(image: &Image) -> String {
    page::page(&gather(image, Path::new("fuzz"), 0))
}

/// Carries out `westwork-gen report`. Returns 0.
///
/// # Errors
/// [`Problems`] for files that are no images or no results, and an output that cannot be.
pub fn run(args: &ReportArgs) -> Result<u8> {
    let outputs = outputs(args)?;
    let tests = args.tests.as_deref().map(junit::read).transpose()?;
    let audit = args.audit.as_deref().map(vulnerabilities::read);
    let mut audit = audit.transpose()?;
    if audit.is_some() && args.images.len() > 1 {
        let what = "--audit is of one image, and several are named";
        let remedy = "call them one after another";
        return Err(Problems(vec![Problem::new(what, remedy)]).into());
    }
    for (path, output) in args.images.iter().zip(outputs) {
        let image = Image::open(path)?;
        let mut facts = gather(&image, path, inspect::file_size(&image, path)?);
        facts.name = name_of(path);
        facts.tests = tests.clone();
        facts.audit = audit.take();
        if !args.no_timings {
            let found = record::beside(path, image.size);
            facts.record = found.unwrap_or_else(|error| {
                facts.inspected.notes.push(format!("{error:#}"));
                None
            });
        }
        if let Some(before) = &args.against {
            facts.before = Some(compared(before, image, &facts.sizes)?);
        }
        work::write_result(&output, page::page(&facts))?;
        println!("{}", output.display());
    }
    Ok(0)
}

/// What `image`, whose file at `path` has `file_size` bytes, says of itself.
fn gather(image: &Image, path: &Path, file_size: u64) -> Facts {
    let mut inspected = inspect::describe(image, path, file_size, true);
    let (origins, note) = packages::origins(image);
    inspected.notes.extend(note);
    Facts {
        name: String::new(),
        inspected,
        sizes: size::measure(image),
        origins,
        before: None,
        record: None,
        tests: None,
        audit: None,
    }
}

/// What differs from the image at `before` to `image`, whose sizes are known.
fn compared(before: &Path, image: Image, sizes: &Sizes) -> Result<Before> {
    let old = Image::open(before)?;
    let changes = size::against(&size::measure(&old), sizes);
    Ok(Before {
        name: name_of(before),
        differences: diff::compare_images(old, image),
        sizes: changes,
    })
}

/// The name of a file, without its directories.
fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// Where the page of each image goes.
fn outputs(args: &ReportArgs) -> Result<Vec<PathBuf>> {
    let named = |image: &PathBuf| PathBuf::from(format!("{}{EXTENSION}", stem(image)));
    let into = |dir: &Path| {
        args.images
            .iter()
            .map(|image| dir.join(named(image)))
            .collect()
    };
    let outputs: Vec<PathBuf> = match &args.output {
        None => into(Path::new("")),
        Some(output) if output.is_dir() => into(output),
        Some(output) if args.images.len() > 1 => {
            let what = "several images have a page each, and this is no directory";
            let remedy = format!("make it: mkdir {}", output.display());
            return Err(Problems(vec![Problem::new(what, remedy).at(output)]).into());
        }
        Some(output) => vec![output.clone()],
    };
    for (n, output) in outputs.iter().enumerate() {
        if let Some(other) = outputs[..n].iter().position(|other| other == output) {
            let (a, b) = (&args.images[other], &args.images[n]);
            let what = format!(
                "the page of {} would replace that of {}",
                b.display(),
                a.display()
            );
            let remedy = "call them one after another, each with a -o of its own";
            return Err(Problems(vec![Problem::new(what, remedy).at(output)]).into());
        }
    }
    Ok(outputs)
}
