//! `westwork-gen flash`: an image onto a card, read back, with settings for its first boot.

mod accounts;
pub mod args;
pub(crate) mod bmap;
pub(crate) mod checker;
mod customise;
mod disks;
mod firstrun;
mod holds;
mod job;
mod judge;
mod password;
mod preview;
mod progress;
mod settings;
mod sink;
mod sums;
mod write;

use crate::base::parts;
use crate::base::problem::{Problem, Problems};
use crate::base::size::size;
use crate::images::inspect::table;
use crate::images::printable::printable;
use anyhow::{Context, Result};
use args::FlashArgs;
use bmap::Bmap;
use disks::{Bus, Disk, Machine};
use firstrun::Settings;
use job::Job;
use judge::{Target, Wanted};
use nix::sys::signal::{SigSet, Signal};
use progress::Progress;
use sink::Sink;
use std::fs::{OpenOptions, Permissions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::NamedTempFile;
use write::{Bytes, Source, Stopped, Written};

/// What a file in place of a disk is called in the making.
const PART: &str = "flash";

/// The exit code after Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Carries out `westwork-gen flash`. Returns 0, or 130 when it was interrupted.
///
/// # Errors
/// [`Problems`] when image or target will not do (nothing was written); anything else is
/// a failure on the way, which leaves the target without a partition table.
pub fn run(args: &FlashArgs) -> Result<u8> {
    if !args.image.is_file() {
        return problem(Problem::new("there is no such image", "check the name").at(&args.image));
    }
    let Some(device) = &args.device else {
        print!("{}", list(&Machine::real().disks()?, &args.image));
        return Ok(0);
    };
    let wanted = Wanted {
        target: device,
        image: &args.image,
        fixed_disk: args.fixed_disk.as_deref(),
        size: args
            .size
            .as_deref()
            .map(crate::base::size::parse_size)
            .transpose()?,
    };
    let target = judge::target(&Machine::real(), &wanted)?;
    let mut settings = settings::parse(&args.settings)?;
    let sector = match &target {
        Target::Disk { disk, .. } => Some(disk.sector),
        Target::File { .. } | Target::NewFile { .. } => None,
    };
    let job = Job::prepare(args, &settings, sector)?;
    for note in &job.notes {
        eprintln!("note: {}", printable(note));
    }
    judge::check_fits(&target, job.size)?;
    password::add_secrets(&args.settings, &mut settings)?;
    if !confirmed(&target, args, job.size)? {
        eprintln!("nothing was written");
        return Ok(1);
    }
    let stop = watch()?;
    match job.carry_out(&target, &settings, &stop) {
        Err(error) if error.chain().any(|cause| cause.is::<Stopped>()) => {
            let path = target.path().display();
            match target {
                Target::NewFile { .. } => eprintln!("\ninterrupted; {path} was not made"),
                _ => eprintln!(
                    "\ninterrupted; {path} has no partition table now, run the same command again"
                ),
            }
            Ok(INTERRUPTED)
        }
        Err(error) => Err(error),
        Ok(()) => Ok(0),
    }
}

fn problem<T>(problem: Problem) -> Result<T> {
    Err(Problems(vec![problem]).into())
}

/// The disks that can be taken out, and how to go on.
fn list(disks: &[Disk], image: &Path) -> String {
    let removable: Vec<&Disk> = disks
        .iter()
        .filter(|disk| disk.removable && disk.size > 0)
        .collect();
    let Some(first) = removable.first() else {
        return "no removable disk was found; put the card in and run this again\n".to_owned();
    };
    let rows = removable.iter().map(|disk| {
        let bus = match disk.bus {
            Bus::Usb => "usb",
            Bus::Sd => "sd",
            Bus::Loop | Bus::Other => "-",
        };
        [
            format!("/dev/{}", disk.name),
            size(disk.size),
            bus.to_owned(),
            disk.model.clone(),
        ]
    });
    let next = format!(
        "\nwrite with: westwork-gen flash {} /dev/{}\n",
        image.display(),
        first.name
    );
    table(&["disk", "size", "bus", "model"], rows.collect()) + &next
}

/// Asks before something is overwritten.
fn confirmed(target: &Target, args: &FlashArgs, need: u64) -> Result<bool> {
    let what = match target {
        Target::NewFile { .. } => return Ok(true),
        Target::File { path, size: bytes } => format!("{}, {}", path.display(), size(*bytes)),
        Target::Disk { disk, path } => {
            format!("{}: {}, {}", path.display(), disk.model, size(disk.size))
        }
    };
    if args.yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        return problem(Problem::new(
            "there is no terminal to ask on",
            "add --yes if you are sure",
        ));
    }
    eprint!(
        "{what}\neverything on it will be overwritten with {} ({})\ngo on? [y/N] ",
        args.image.display(),
        size(need)
    );
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .context("reading the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Set when the user wants to stop; a second signal ends the program at once.
fn watch() -> Result<Arc<AtomicBool>> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
        .into_iter()
        .collect();
    signals.thread_block().context("watching for signals")?;
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    std::thread::spawn(move || {
        if signals.wait().is_ok() {
            seen.store(true, Ordering::Relaxed);
        }
        if signals.wait().is_ok() {
            std::process::exit(i32::from(INTERRUPTED));
        }
    });
    Ok(stop)
}

impl Job {
    /// Writes, reads back, applies the settings, and makes the target valid.
    fn carry_out(&self, target: &Target, settings: &Settings, stop: &AtomicBool) -> Result<()> {
        let (mut sink, new) = open(target, self.size)?;
        let written = self.write(&sink, stop)?;
        let progress = Progress::new("checking", written.bytes());
        write::verify(&written.pieces, &sink, &progress, stop)?;
        progress.done("read back");
        if let Some((_, boot)) = &self.custom {
            customise::apply(settings, boot, &sink)?;
        }
        write::finish(&written.head, &sink)?;
        let path = target.path();
        match (new, target) {
            (Some(new), _) => {
                new.as_file()
                    .set_permissions(Permissions::from_mode(0o644))?;
                new.persist_noclobber(path)
                    .with_context(|| format!("renaming to {}", path.display()))?;
                println!("{} is complete", path.display());
            }
            (None, Target::Disk { disk, .. }) => {
                let read = gptman::linux::reread_partition_table(&mut sink.file);
                if read.is_err() && disk.bus != Bus::Loop {
                    eprintln!(
                        "note: this machine sees the new partitions after the card was put in again"
                    );
                }
                println!("{} is complete and can be taken out", path.display());
            }
            _ => println!("{} is complete", path.display()),
        }
        Ok(())
    }

    fn write(&self, sink: &Sink, stop: &AtomicBool) -> Result<Written> {
        let total = self.bmap.as_ref().map_or(self.size, Bmap::mapped);
        let progress = Progress::new("writing", total);
        let source = Source {
            bytes: match &self.custom {
                Some((image, _)) => Bytes::Raw(image.file()),
                None => Bytes::Packed(&self.packed),
            },
            size: self.size,
            bmap: self.bmap.as_ref(),
        };
        let written = write::write(&source, sink, &progress, stop)
            .context("writing the image; if it does not unpack, download it again")?;
        progress.done("wrote");
        Ok(written)
    }
}

/// Says what can be done when the kernel does not give a disk away: it knows of uses that
/// this process cannot see.
fn unavailable(error: anyhow::Error, path: &Path) -> anyhow::Error {
    let (what, remedy) = match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::ResourceBusy) => (
            "it is in use",
            "unmount it wherever it is mounted, containers included",
        ),
        Some(io::ErrorKind::PermissionDenied) => (
            "this user may not write to it",
            "run the same command with sudo",
        ),
        _ => return error,
    };
    Problems(vec![Problem::new(what, remedy).at(path)]).into()
}

/// Opens the target; a file that is not there yet is made under another name.
fn open(target: &Target, need: u64) -> Result<(Sink, Option<NamedTempFile>)> {
    match target {
        Target::Disk { path, .. } => match Sink::disk(path) {
            Ok(sink) => Ok((sink, None)),
            Err(error) => Err(unavailable(error, path)),
        },
        Target::File { path, size } => {
            let file = OpenOptions::new().read(true).write(true).open(path);
            let file = file.with_context(|| format!("opening {}", path.display()))?;
            Ok((Sink::file(file, *size, false), None))
        }
        Target::NewFile { path, size } => {
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
            let dir = dir.unwrap_or(Path::new("."));
            parts::sweep(dir, |name| name == PART);
            let new =
                parts::create(dir, PART).with_context(|| format!("making {}", path.display()))?;
            let size = size.unwrap_or(need);
            new.as_file().set_len(size).context("sizing the file")?;
            let file = new.reopen().context("opening the new file")?;
            Ok((Sink::file(file, size, true), Some(new)))
        }
    }
}
