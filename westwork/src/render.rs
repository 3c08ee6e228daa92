//! `westwork render`: every `.mustache` file below /data/conf becomes the file without that ending.
//!
//! All or nothing: the next /data/conf is made beside the present one (`/data/.conf.next`: unchanged
//! files are links), every service's own checker looks at it in a mount namespace in which it *is*
//! /data/conf, and then the two directories are exchanged by one system call. Killed at any moment
//! there is the old one or the new one. What a service writes into a directory of /data/conf
//! meanwhile by making new files could get lost; writers such as certbot run under `westwork`'s lock.
//!
//! A rendered file has its template's owner and mode. Partials are
//! `/data/conf/westwork/partials/NAME.mustache`.

use crate::checks::{self, Verdict};
use crate::format::escape_for;
use crate::mustache::{Partials, Template};
use crate::root::{Root, copy_attributes, give, sync_directory};
use crate::secrets::Secrets;
use crate::settings::Settings;
use anyhow::{Context, Result, bail};
use rustix::fs::{CWD, RenameFlags, renameat_with, syncfs};
use serde_json::Value;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const NEXT: &str = "/data/.conf.next";

/// What `render` did.
#[derive(Debug)]
pub struct Report {
    /// Every file that comes from a template, relative to /data/conf.
    pub rendered: Vec<PathBuf>,
    /// Those that are not as they were before.
    pub changed: Vec<PathBuf>,
    /// Each check and how it went; none has refused.
    pub checks: Vec<(String, Verdict)>,
}

/// One file to be.
struct Rendered {
    /// Relative to /data/conf.
    target: PathBuf,
    template: PathBuf,
    contents: String,
}

/// Renders and checks; with `check_only`, changes nothing.
pub fn render(root: &Root, check_only: bool) -> Result<Report> {
    let _lock = root.lock()?;
    render_locked(root, check_only)
}

/// For who holds the lock already.
pub(crate) fn render_locked(root: &Root, check_only: bool) -> Result<Report> {
    let next = root.path(NEXT);
    remove_tree(&next)?;
    let values = Settings::load(root)?.values(&Secrets::load(root)?);
    let files = render_all(&root.conf(), &values)?;
    let changed = files
        .iter()
        .filter(|file| is_changed(root, file))
        .map(|file| file.target.clone())
        .collect();
    let made = build(root, &next, &files).and_then(|()| {
        checks::run(
            root,
            &next,
            &files
                .iter()
                .map(|file| file.target.clone())
                .collect::<Vec<_>>(),
        )
    });
    let checks = match made {
        Ok(checks) => checks,
        Err(error) => {
            remove_tree(&next)?;
            return Err(error);
        }
    };
    let report = Report {
        rendered: files.into_iter().map(|file| file.target).collect(),
        changed,
        checks,
    };
    if !check_only && !report.changed.is_empty() {
        exchange(root, &next)?;
    }
    remove_tree(&next)?;
    Ok(report)
}

/// Renders every template in memory; the error names every fault of every file.
fn render_all(conf: &Path, values: &Value) -> Result<Vec<Rendered>> {
    let mut templates = Vec::new();
    find(conf, Path::new(""), &mut templates)?;
    templates.sort();
    let partials = read_partials(conf)?;
    let mut files = Vec::new();
    let mut faults = Vec::new();
    for template in templates {
        let path = conf.join(&template);
        let target = template.with_extension("");
        let source = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        match Template::parse(&source)
            .and_then(|parsed| parsed.render_strict(values, &partials, escape_for(&target)))
        {
            Ok(contents) => files.push(Rendered {
                target,
                template,
                contents,
            }),
            Err(fault) => faults.push(format!("{}, {fault}", path.display())),
        }
    }
    if !faults.is_empty() {
        bail!("nothing was changed: {}", faults.join("; "));
    }
    Ok(files)
}

/// What templates are rendered to, relative to `conf`.
pub(crate) fn targets(conf: &Path) -> Result<Vec<PathBuf>> {
    let mut templates = Vec::new();
    find(conf, Path::new(""), &mut templates)?;
    Ok(templates
        .iter()
        .map(|template| template.with_extension(""))
        .collect())
}

fn is_partial(relative: &Path) -> bool {
    relative.starts_with("westwork/partials")
}

fn find(conf: &Path, relative: &Path, templates: &mut Vec<PathBuf>) -> Result<()> {
    let directory = conf.join(relative);
    let reading = || format!("reading {}", directory.display());
    for entry in directory.read_dir().with_context(reading)? {
        let entry = entry.with_context(reading)?;
        let path = relative.join(entry.file_name());
        let kind = entry.file_type().with_context(reading)?;
        if kind.is_dir() && !is_partial(&path) {
            find(conf, &path, templates)?;
        } else if kind.is_file()
            && path
                .extension()
                .is_some_and(|extension| extension == "mustache")
        {
            templates.push(path);
        }
    }
    Ok(())
}

fn read_partials(conf: &Path) -> Result<Partials> {
    let directory = conf.join("westwork/partials");
    let mut partials = Partials::new();
    if !directory.is_dir() {
        return Ok(partials);
    }
    for entry in directory
        .read_dir()
        .with_context(|| format!("reading {}", directory.display()))?
    {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "mustache")
        {
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let source = std::fs::read_to_string(&path)
                .with_context(|| format!("reading {}", path.display()))?;
            partials.insert(name, source);
        }
    }
    Ok(partials)
}

fn is_changed(root: &Root, file: &Rendered) -> bool {
    let (present, template) = (
        root.conf().join(&file.target),
        root.conf().join(&file.template),
    );
    let same_mode = || match (present.symlink_metadata(), template.metadata()) {
        (Ok(a), Ok(b)) => {
            a.is_file() && (a.mode(), a.uid(), a.gid()) == (b.mode(), b.uid(), b.gid())
        }
        _ => false,
    };
    !(same_mode() && std::fs::read(&present).is_ok_and(|bytes| bytes == file.contents.as_bytes()))
}

fn build(root: &Root, next: &Path, files: &[Rendered]) -> Result<()> {
    link_tree(&root.conf(), next, Path::new(""), files)?;
    for file in files {
        let path = next.join(&file.target);
        let writing = || format!("writing {}", path.display());
        let template = root
            .conf()
            .join(&file.template)
            .metadata()
            .with_context(writing)?;
        let mut out = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(writing)?;
        out.write_all(file.contents.as_bytes())
            .with_context(writing)?;
        give(&path, template.uid(), template.gid())?;
        out.set_permissions(template.permissions())
            .with_context(writing)?;
    }
    Ok(())
}

/// The same tree with the same files (by hard links), but without those about to be written.
fn link_tree(from: &Path, to: &Path, relative: &Path, without: &[Rendered]) -> Result<()> {
    let (source, copy) = (from.join(relative), to.join(relative));
    let copying = || format!("copying {}", source.display());
    std::fs::create_dir(&copy).with_context(copying)?;
    for entry in source.read_dir().with_context(copying)? {
        let entry = entry.with_context(copying)?;
        let path = relative.join(entry.file_name());
        if entry.file_type().with_context(copying)?.is_dir() {
            link_tree(from, to, &path, without)?;
        } else if !without.iter().any(|file| file.target == path) {
            std::fs::hard_link(entry.path(), to.join(&path)).with_context(copying)?;
        }
    }
    copy_attributes(&source, &copy)
}

fn exchange(root: &Root, next: &Path) -> Result<()> {
    let conf = root.conf();
    // Its contents have to be on the disk before its name is.
    syncfs(File::open(next)?).context("syncing /data")?;
    renameat_with(CWD, next, CWD, &conf, RenameFlags::EXCHANGE)
        .with_context(|| format!("exchanging {} and {}", next.display(), conf.display()))?;
    sync_directory(&root.data())
}

/// Removes a tree that may not be there.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}
