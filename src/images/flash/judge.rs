//! Whether a target may be written to.

use super::disks::{Bus, Disk, Machine, Use};
use crate::base::problem::{Problem, Problems};
use crate::base::size::size;
use anyhow::{Context, Result};
use nix::sys::stat::{major, minor};
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What is to be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A whole disk, and its device.
    Disk { disk: Disk, path: PathBuf },
    /// A file in place of a disk: one that is there and keeps its size …
    File { path: PathBuf, size: u64 },
    /// … or one to be made, of this size if one was asked for.
    NewFile { path: PathBuf, size: Option<u64> },
}

impl Target {
    /// Bytes that fit; `None` if there is no bound.
    pub(crate) fn size(&self) -> Option<u64> {
        match self {
            Self::Disk { disk, .. } => Some(disk.size),
            Self::File { size, .. } => Some(*size),
            Self::NewFile { size, .. } => *size,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Disk { path, .. } | Self::File { path, .. } | Self::NewFile { path, .. } => path,
        }
    }
}

/// What the user asked for.
pub(crate) struct Wanted<'a> {
    pub(crate) target: &'a Path,
    pub(crate) image: &'a Path,
    /// The disk that may be written to although it is not removable.
    pub(crate) fixed_disk: Option<&'a str>,
    /// Size of the file to be made, bytes.
    pub(crate) size: Option<u64>,
}

/// Finds out what the target is.
///
/// # Errors
/// [`Problems`] when it must not be written to; nothing was then.
pub(crate) fn target(machine: &Machine, wanted: &Wanted<'_>) -> Result<Target> {
    let path = wanted.target;
    let facts = match fs::metadata(path) {
        Ok(facts) => facts,
        Err(error) if error.kind() == ErrorKind::NotFound => return new_file(wanted),
        Err(error) => return Err(error).with_context(|| format!("looking at {}", path.display())),
    };
    if wanted.size.is_some() {
        return refuse(
            path,
            "--size is for a file that is not there yet",
            "leave it out",
        );
    }
    if facts.file_type().is_block_device() {
        disk(machine, wanted, &facts)
    } else if facts.file_type().is_file() {
        file(wanted, &facts)
    } else {
        refuse(
            path,
            "it is neither a disk nor a file",
            "name a disk such as /dev/sdb, or a file",
        )
    }
}

/// A disk, if nothing speaks against it.
fn disk(machine: &Machine, wanted: &Wanted<'_>, facts: &Metadata) -> Result<Target> {
    let path = wanted.target;
    let number = |device| format!("{}:{}", major(device), minor(device));
    let image = fs::metadata(wanted.image).ok();
    let image = image.map(|image| number(image.dev()));
    let Some((disk, partition)) = machine.find(&number(facts.rdev())) else {
        return refuse(
            path,
            "the kernel lists no such disk",
            "name a disk as lsblk shows it",
        );
    };
    let problems = disk_problems(
        machine,
        &disk,
        partition.as_deref(),
        image.as_deref(),
        wanted,
    )?;
    let problems = problems.into_iter().map(|problem| problem.at(path));
    Problems(problems.collect()).into_result()?;
    Ok(Target::Disk {
        disk,
        path: path.to_owned(),
    })
}

/// A file that is there, if it may be overwritten.
fn file(wanted: &Wanted<'_>, facts: &Metadata) -> Result<Target> {
    let path = wanted.target;
    let image = fs::metadata(wanted.image).ok();
    if image.is_some_and(|image| (image.dev(), image.ino()) == (facts.dev(), facts.ino())) {
        return refuse(path, "it is the image itself", "name another target");
    }
    if in_dev(path) {
        // A slip of the fingers that has filled many a memory file system.
        return refuse(
            path,
            "it is a file in /dev, not a disk",
            "remove it and put the card in",
        );
    }
    Ok(Target::File {
        path: path.to_owned(),
        size: facts.len(),
    })
}

/// Whether only devices should be there; /dev/shm is for files.
fn in_dev(path: &Path) -> bool {
    path.starts_with("/dev") && !path.starts_with("/dev/shm")
}

fn new_file(wanted: &Wanted<'_>) -> Result<Target> {
    let path = wanted.target;
    if in_dev(path) {
        return refuse(
            path,
            "there is no such device",
            "list the disks with `westwork-gen flash IMAGE`",
        );
    }
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    if !parent.unwrap_or(Path::new(".")).is_dir() {
        return refuse(path, "its directory does not exist", "make it first");
    }
    Ok(Target::NewFile {
        path: path.to_owned(),
        size: wanted.size,
    })
}

fn refuse<T>(path: &Path, what: &str, remedy: &str) -> Result<T> {
    Err(Problems(vec![Problem::new(what, remedy).at(path)]).into())
}

/// Everything that speaks against writing to a disk. `image` is the device number of the
/// file system that the image lies on.
fn disk_problems(
    machine: &Machine,
    disk: &Disk,
    partition: Option<&str>,
    image: Option<&str>,
    wanted: &Wanted<'_>,
) -> Result<Vec<Problem>> {
    let mut problems: Vec<Problem> = Vec::new();
    let name = &disk.name;
    let mut say = |what: String, remedy: String| {
        let problem = Problem::new(what, remedy);
        // One device may be mounted at one place twice.
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    };
    if let Some(partition) = partition {
        say(
            format!("{partition} is a partition"),
            format!("name the whole disk, /dev/{name}"),
        );
    }
    if disk.read_only {
        say(
            format!("{name} is read-only"),
            "move the card's lock, or use another card".to_owned(),
        );
    }
    if disk.size == 0 {
        say(
            format!("there is no card in {name}"),
            "put one in".to_owned(),
        );
    }
    if let Some(image) = image {
        if machine.holds(name, image)? {
            say(
                format!("{name} holds the image itself"),
                "copy the image elsewhere first".to_owned(),
            );
        }
    }
    for use_ in machine.uses(name)? {
        let (what, remedy) = use_problem(use_);
        say(what, remedy);
    }
    if !disk.removable && disk.bus != Bus::Loop && wanted.fixed_disk != Some(name) {
        say(
            format!("{name} is not removable; it may be a disk of this machine"),
            format!("if it is the right one, add --fixed-disk {name}"),
        );
    }
    Ok(problems)
}

/// What speaks against overwriting something in use, and what to do.
fn use_problem(use_: Use) -> (String, String) {
    match use_ {
        Use::Mounted { device, at } if is_system(&at) => (
            format!("{device} is this machine's {at}"),
            "choose another disk".to_owned(),
        ),
        Use::Mounted { device, at } => (
            format!("{device} is mounted at {at}"),
            format!("umount '{at}'"),
        ),
        Use::Swap { device } => (
            format!("{device} is swap space in use"),
            format!("swapoff {device}"),
        ),
        Use::Part { device, of } => (
            format!("{device} is part of {of}"),
            format!("take {of} apart first, if that is what you want"),
        ),
    }
}

/// Mount points without which the machine does not go on or start again.
fn is_system(at: &str) -> bool {
    [
        "/",
        "/boot",
        "/boot/efi",
        "/boot/firmware",
        "/usr",
        "/var",
        "/etc",
        "/home",
    ]
    .contains(&at)
}

/// An error if an image of `need` bytes does not fit.
pub(crate) fn check_fits(target: &Target, need: u64) -> Result<(), Problems> {
    let Some(missing) = target
        .size()
        .and_then(|size| need.checked_sub(size))
        .filter(|m| *m > 0)
    else {
        return Ok(());
    };
    // Rounded up: a card must never look large enough.
    let what = format!(
        "too small by {} MiB: the image has {}, the target {}",
        missing.div_ceil(1 << 20),
        size(need),
        size(target.size().unwrap_or(0))
    );
    let problem = Problem::new(what, "use a larger one").at(target.path());
    Problems(vec![problem]).into_result()
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
