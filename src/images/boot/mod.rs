//! Starting an image in QEMU, to look at or to judge it.

pub mod args;
mod files;
pub(crate) mod live;
pub mod machine;
mod qemu;
mod watch;

use crate::base::arch::Arch;
use crate::images::image::stream::{self, Form, Packed};
use anyhow::{Context, Result};
use args::BootArgs;
use files::Nameless;
use machine::Machine;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What to boot, and how.
pub struct BootRequest<'a> {
    /// `.img`, or one of its compressed forms; only read.
    pub image: &'a Path,
    /// Directory on whose disk the copy is that the machine writes to; keeps holes.
    pub scratch: &'a Path,
    /// Size of the card, bytes; rounded up to a power of two.
    pub size: u64,
    /// Judge the boot instead of handing over the terminal.
    pub test: bool,
    /// For the judgement.
    pub limit: Duration,
    /// The board; `None` for the usual one.
    pub machine: Option<Machine>,
    /// Where the console's output is recorded, if wanted.
    pub record: Option<PathBuf>,
    /// Where the card is left afterwards, if wanted.
    pub keep: Option<PathBuf>,
}

/// A system may restart itself at first boot; more often than this it is a loop.
const STARTS: usize = 3;

/// How a boot went. Without `test` nothing was watched and all is empty.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the login prompt came.
    pub reached_login: bool,
    /// What `systemctl is-system-running` said; `None` if it never did.
    pub state: Option<String>,
    /// Units systemd calls failed.
    pub failed: Vec<String>,
    /// Bytes of the mounted root file system.
    pub root_size: Option<u64>,
    /// Since QEMU was started.
    pub elapsed: Duration,
}

impl Verdict {
    /// Whether the image passed.
    pub fn good(&self) -> bool {
        self.reached_login && self.failed.is_empty() && self.state.as_deref() == Some("running")
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let yes = |b| if b { "yes" } else { "no" };
        writeln!(f, "login prompt: {}", yes(self.reached_login))?;
        writeln!(
            f,
            "system state: {}",
            self.state.as_deref().unwrap_or("not reported")
        )?;
        writeln!(f, "failed units: {}", self.failed.join(" "))?;
        if let Some(size) = self.root_size {
            writeln!(f, "root file system: {} MiB", size >> 20)?;
        }
        write!(f, "after {} s", self.elapsed.as_secs())
    }
}

/// Carries out `westwork-gen boot`. Returns 0, or 1 when a tested image did not pass.
pub fn run(args: &BootArgs) -> Result<u8> {
    let size = crate::base::size::parse_size(&args.size)?;
    let scratch = args
        .image
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty());
    let verdict = boot(&BootRequest {
        image: &args.image,
        scratch: &scratch
            .unwrap_or(Path::new("."))
            .canonicalize()
            .context("finding the image's directory")?,
        size,
        test: args.test,
        machine: args.machine,
        limit: Duration::from_secs(args.timeout),
        record: args.log.clone(),
        keep: args.keep.clone(),
    })?;
    if !args.test {
        return Ok(0);
    }
    println!("{verdict}");
    println!(
        "{}",
        if verdict.good() {
            "passed"
        } else {
            "did not pass"
        }
    );
    Ok(u8::from(!verdict.good()))
}

/// Boots a copy of the image. With `test` an error is a fault of the host or the
/// image's make-up; a system that does not come up is a [`Verdict`].
pub fn boot(request: &BootRequest<'_>) -> Result<Verdict> {
    let card = Card::new(request.image, request.scratch, request.size)?;
    let file = card.file();
    let verdict = start(request, &card)?;
    if let Some(keep) = &request.keep {
        let to = File::create(keep).with_context(|| format!("making {}", keep.display()))?;
        crate::base::sparse::copy(file, &to, file.metadata()?.len())
            .with_context(|| format!("keeping the card as {}", keep.display()))?;
    }
    Ok(verdict)
}

/// A copy of an image, which a machine writes to. It has no name.
struct Card {
    disk: Nameless,
    /// Where the boot files are put, without names as well.
    scratch: PathBuf,
    /// Whether its systemd takes no unit from the kernel's command line.
    old_systemd: bool,
}

impl Card {
    /// A card of `size` bytes or more, a power of two, on the disk of `scratch`.
    fn new(image: &Path, scratch: &Path, size: u64) -> Result<Self> {
        let mut disk = Nameless::new(scratch)?;
        unpack(image, &mut disk.0)?;
        let size = size.max(disk.0.metadata()?.len());
        let size = size.checked_next_power_of_two();
        disk.0
            .set_len(size.context("sizing the card")?)
            .context("growing the card")?;
        Ok(Self {
            old_systemd: files::has_old_systemd(&disk.0)?.unwrap_or(false),
            scratch: scratch.to_owned(),
            disk,
        })
    }

    fn file(&self) -> &File {
        &self.disk.0
    }

    /// What the firmware would load now: what is on the boot partition by now.
    fn boot_files(&self, machine: Option<Machine>) -> Result<BootFiles> {
        files::extract(self.file(), &self.scratch, machine)
    }
}

/// Starts the machine, and starts it again when it restarts itself, as a Pi's
/// firmware would: with what is on the boot partition by then.
fn start(request: &BootRequest<'_>, card: &Card) -> Result<Verdict> {
    let begin = Instant::now();
    let record = request.record.as_ref().map(File::create).transpose();
    let mut record = record.context("making the console record")?;
    let mut starts = 0;
    loop {
        starts += 1;
        let boot = card.boot_files(request.machine)?;
        let script = request.test.then(qemu::report_script);
        let command = qemu::command(&boot, card, script.as_deref(), false)?;
        if request.test {
            let left = request.limit.saturating_sub(begin.elapsed());
            let (mut verdict, restarts) = watch::watch(&command, left, record.as_mut())?;
            if restarts && starts < STARTS {
                continue;
            }
            verdict.elapsed = begin.elapsed();
            return Ok(verdict);
        }
        command.ended(command.interact()?)?;
        return Ok(Verdict::default());
    }
}

/// Writes the raw image to `target`, whatever form it comes in; holes stay or become holes.
fn unpack(from: &Path, target: &mut File) -> Result<()> {
    let packed = Packed::open(from, false)?;
    if packed.form == Form::Raw {
        let source = File::open(from).with_context(|| format!("opening {}", from.display()))?;
        let size = source.metadata()?.len();
        return crate::base::sparse::copy(&source, target, size)
            .with_context(|| format!("copying {}", from.display()));
    }
    let written = packed.with(|reader| stream::write_sparse(reader, target));
    stream::unpacking(written, from).map(|_| ())
}

/// What the firmware would load, taken from the boot partition.
struct BootFiles {
    arch: Arch,
    machine: Machine,
    kernel: Nameless,
    initrd: Option<Nameless>,
    dtb: Option<Nameless>,
    cmdline: String,
}
