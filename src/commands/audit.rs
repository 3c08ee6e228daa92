//! `audit`: fetches what is known of vulnerabilities, or takes what was fetched before.

use crate::base::command::Command;
use crate::base::problem::{self, Problem, Problems};
use crate::base::tool::Tool;
use crate::base::work;
use crate::images::audit::args::AuditArgs;
use crate::images::audit::{self, DataFile, Terms};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is fetched when nothing is named.
const TRACKER: &str = "https://security-tracker.debian.org/tracker/data/json";
const WHEELS: &str = "https://osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip";
const CRATES: &str = "https://osv-vulnerabilities.storage.googleapis.com/crates.io/all.zip";

/// How long fetched data counts as new, and seconds to wait for it.
const NEW: Duration = Duration::from_secs(24 * 3600);
const PATIENT: u32 = 900;

/// Carries out `audit`. Returns 0, 1 if something is found that `--fail` names, and 2, with a printed
/// error, if it cannot be said.
pub(super) fn audit(args: &AuditArgs) -> u8 {
    problem::told(run(args))
}

fn run(args: &AuditArgs) -> Result<u8> {
    let terms = Terms::read(args)?;
    let subjects = audit::subject(&args.subject)?;
    let [debian, wheels, crates] = subjects.needs();
    let tracker = match &args.debian {
        Some(named) => Some(data(named, args)?),
        None if debian => Some(data(TRACKER, args)?),
        None => None,
    };
    let mut osv = Vec::new();
    for named in &args.osv {
        osv.push(data(named, args)?);
    }
    if osv.is_empty() {
        for (needed, address) in [(wheels, WHEELS), (crates, CRATES)] {
            if needed {
                osv.push(data(address, args)?);
            }
        }
    }
    audit::run(args, terms, subjects, tracker.as_ref(), &osv)
}

/// The file that `named`, a path or an address, stands for.
fn data(named: &str, args: &AuditArgs) -> Result<DataFile> {
    if !named.contains("://") {
        let path = PathBuf::from(named);
        let name = path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy()
            .into_owned();
        if !path.exists() {
            let problem = Problem::new("is not there", "correct --debian or --osv").at(&path);
            return Err(Problems(vec![problem]).into());
        }
        return Ok(DataFile { path, from: name });
    }
    let cache = cache(args)?;
    let path = cache.join(crate::base::percent::path(named).replace('/', "_"));
    // Its own time is that of its server.
    let mark = PathBuf::from(format!("{}.fetched", path.display()));
    let age = fs::metadata(&mark)
        .and_then(|it| it.modified())
        .ok()
        .and_then(|it| it.elapsed().ok());
    let is_new = age.is_some_and(|age| age < NEW);
    if !is_new && !args.offline {
        match fetch(named, &path, &mark) {
            Ok(()) => {}
            Err(error) if path.exists() => {
                eprintln!(
                    "note: {named} cannot be fetched, so the copy from before counts: {error:#}"
                );
            }
            Err(error) => return Err(error),
        }
    }
    if !path.exists() {
        let what = format!("{named} was never fetched, and --offline fetches nothing");
        let remedy = "call it once without --offline, or name a file: --debian FILE, --osv FILE";
        return Err(Problems(vec![Problem::new(what, remedy)]).into());
    }
    Ok(DataFile {
        path,
        from: named.to_owned(),
    })
}

/// Where fetched data is.
fn cache(args: &AuditArgs) -> Result<PathBuf> {
    if let Some(dir) = &args.cache {
        return Ok(dir.clone());
    }
    let dir = work::user_cache(|name| std::env::var_os(name).map(PathBuf::from));
    let dir =
        dir.context("finding a place for fetched data, since HOME is not set; say --cache DIR")?;
    Ok(dir.join("audit"))
}

/// Fetches by apt's own downloader, so that its proxies and certificates are in force.
fn fetch(address: &str, to: &Path, mark: &Path) -> Result<()> {
    let dir = to.parent().context("finding a file's directory")?;
    fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    work::sweep(dir)?;
    let part = tempfile::Builder::new()
        .prefix(work::UNFINISHED)
        .tempdir_in(dir)
        .context("making a directory")?;
    let file = part.path().join("data");
    eprintln!("fetching {address}");
    let ended = Command::new(Tool::AptHelper)
        .through(Tool::Timeout, [PATIENT.to_string()])
        .args(["-oAcquire::Retries=1", "download-file"])
        .arg(address)
        .arg(&file)
        .output()?;
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        return Err(Problems(vec![cannot_fetch(address, &said)]).into());
    }
    let file = own_copy(file)?;
    fs::rename(&file, to).with_context(|| format!("renaming to {}", to.display()))?;
    fs::write(mark, "").with_context(|| format!("writing {}", mark.display()))
}

/// What is told of `address` when apt's helper has ended with these words.
fn cannot_fetch(address: &str, said: &str) -> Problem {
    let start = format!("E: Failed to fetch {address}");
    let why = said.lines().find_map(|line| line.strip_prefix(&start));
    let why = match why.map(str::trim) {
        Some(why) if !why.is_empty() => why.to_owned(),
        _ => format!("no answer within {PATIENT} s"),
    };
    Problem::new(
        format!("{address} cannot be fetched: {why}"),
        "try again later, or fetch it elsewhere and name the file: --debian FILE, --osv FILE",
    )
}

/// apt makes a link to what is a file of this machine: the file itself, with its time, in the link's place.
fn own_copy(file: PathBuf) -> Result<PathBuf> {
    if !fs::symlink_metadata(&file).is_ok_and(|it| it.is_symlink()) {
        return Ok(file);
    }
    let copy = file.with_extension("copy");
    let copied = || -> std::io::Result<()> {
        let changed = fs::metadata(&file)?.modified()?;
        fs::copy(&file, &copy)?;
        fs::File::options()
            .append(true)
            .open(&copy)?
            .set_modified(changed)
    };
    copied().with_context(|| format!("copying {}", file.display()))?;
    Ok(copy)
}
