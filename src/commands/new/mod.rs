//! `new`: a folder that builds, made of a recipe. The recipes are the folders of `examples/`, which
//! build.rs puts into the program.

use crate::base::names::is_label;
use crate::base::problem::{Problem, Problems};
use anyhow::{Context, Result};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file of a recipe.
struct File {
    /// Beginning with the recipe's name.
    path: &'static str,
    executable: bool,
    content: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/recipes.rs"));

/// What is taken without `--recipe`.
const DEFAULT: &str = "plain";

/// What every folder has besides.
const BESIDE: [(&str, &str); 3] = [
    (".github/workflows/image.yml", include_str!("github.yml")),
    (".gitlab-ci.yml", include_str!("gitlab.yml")),
    (".gitignore", "/.ci-*\n/deploy/\n/test-results/\n/work/\n"),
];

/// Makes the folder `name` of a recipe.
///
/// # Errors
/// [`Problems`] for a name or recipe that cannot be, and for a folder that is there already.
pub(super) fn new(name: Option<&Path>, recipe: Option<&str>, list: bool) -> Result<u8> {
    if list {
        for recipe in recipes() {
            println!("{recipe:12} {}", about(recipe));
        }
        return Ok(0);
    }
    let problem = |problem| Problems(vec![problem]);
    let Some(path) = name else {
        return Err(problem(Problem::new(
            "no name is given",
            "name the folder: westwork-gen new NAME",
        ))
        .into());
    };
    let name = judged(path).map_err(problem)?;
    let recipe = chosen(recipe).map_err(problem)?;
    make(path, name, recipe)?;
    let path = path.display();
    println!("{path} is made of the recipe {recipe}. Next:\n");
    println!("    cd {path}");
    println!("    westwork-gen check");
    println!("    westwork-gen build --test");
    Ok(0)
}

/// The image's name: the last part of the path.
fn judged(path: &Path) -> Result<&str, Problem> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.unwrap_or_default();
    if !is_label(name) || name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(Problem::new(
            format!(
                "{} cannot be the name of an image and its host",
                path.display()
            ),
            "write small letters, digits and hyphens, at most 63, such as my-sensor",
        ));
    }
    // A folder that is there and empty is as good as none.
    let is_empty = |path: &Path| fs::read_dir(path).is_ok_and(|mut all| all.next().is_none());
    if path.symlink_metadata().is_ok() && !is_empty(path) {
        return Err(Problem::new(
            "is there already, and nothing is overwritten",
            "choose another name, or remove it",
        )
        .at(path));
    }
    Ok(name)
}

fn chosen(wanted: Option<&str>) -> Result<&'static str, Problem> {
    let wanted = wanted.unwrap_or(DEFAULT);
    let known = recipes();
    known
        .iter()
        .copied()
        .find(|name| *name == wanted)
        .ok_or_else(|| {
            Problem::new(
                format!("there is no recipe {wanted}"),
                format!(
                    "write one of {}; `westwork-gen new --list` says what they are",
                    known.join(", ")
                ),
            )
        })
}

/// The recipes' names, the one that is taken by itself first.
fn recipes() -> Vec<&'static str> {
    let mut names = vec![DEFAULT];
    for file in FILES {
        let name = file.path.split('/').next().unwrap_or_default();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The first line of a recipe's README.
fn about(recipe: &str) -> String {
    let readme = format!("{recipe}/README.md");
    let file = FILES.iter().find(|file| file.path == readme);
    let text = file.map(|file| String::from_utf8_lossy(file.content).into_owned());
    let text = text.unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Writes all of it into a folder beside, which then gets the name: an interrupted one is not taken
/// for a whole one.
fn make(path: &Path, name: &str, recipe: &str) -> Result<()> {
    let outer = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&outer).with_context(|| format!("making {}", outer.display()))?;
    let dir = tempfile::Builder::new()
        .prefix(".new-")
        .tempdir_in(&outer)
        .with_context(|| format!("making a folder in {}", outer.display()))?;
    for file in FILES {
        let Some(inner) = file
            .path
            .strip_prefix(recipe)
            .and_then(|rest| rest.strip_prefix('/'))
        else {
            continue;
        };
        let content = match inner {
            "config" => named(file.content, name),
            _ => file.content.to_vec(),
        };
        write(&dir.path().join(inner), file.executable, &content)?;
    }
    for (inner, text) in BESIDE {
        write(&dir.path().join(inner), false, text.as_bytes())?;
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(dir.path(), mode).context("setting the folder's mode")?;
    // rename(2) takes the place of an empty folder, and of no other.
    fs::rename(dir.path(), path).with_context(|| format!("making {}", path.display()))?;
    let _gone = dir.keep();
    Ok(())
}

/// A recipe's config with another name.
fn named(config: &[u8], name: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(config);
    let lines = text.lines().map(|line| match line.split_once('=') {
        Some((key @ ("IMG_NAME" | "TARGET_HOSTNAME"), _)) => format!("{key}={name}\n"),
        _ => format!("{line}\n"),
    });
    lines.collect::<String>().into_bytes()
}

fn write(path: &Path, executable: bool, content: &[u8]) -> Result<()> {
    let doing = || format!("writing {}", path.display());
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(doing)?;
    }
    let mode = if executable { 0o755 } else { 0o644 };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let mut file = options.open(path).with_context(doing)?;
    file.write_all(content).with_context(doing)
}
