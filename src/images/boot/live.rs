//! A script that runs in a started image, and what it prints, without a change to the image: no
//! SSH, no program installed.
//!
//! systemd takes a line of sh from the kernel's command line, as in [`super::qemu`]. That is too
//! short for a script, so the line reads it from the card, between the partition table and the
//! first partition, where no file system is. The answer comes back the same way: a serial console would
//! mix it with the kernel's messages.

use super::{Card, Machine, STARTS, qemu};
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Sectors of 512 bytes: where the script is, behind both kinds of partition table; where the
/// answer's head is, its body, and where the first partition begins at the earliest.
const SCRIPT: u64 = 64;
const HEAD: u64 = 512;
const BODY: u64 = HEAD + 1;
const END: u64 = 2048;
const SECTOR: u64 = 512;

/// What the script begins with, and the head of an answer.
const MARK: &str = "#westwork";
const ANSWER: &str = "westwork-answer";

/// How often the answer is looked for.
const PAUSE: Duration = Duration::from_millis(200);

/// Bytes of the console's end that are told of a system that does not come up.
const TAIL: usize = 16 << 10;

pub(crate) struct LiveRequest<'a> {
    pub(crate) image: &'a Path,
    /// Directory for the card.
    pub(crate) scratch: &'a Path,
    pub(crate) machine: Option<Machine>,
    pub(crate) network: bool,
    /// For each start.
    pub(crate) limit: Duration,
    pub(crate) restarts: u8,
    pub(crate) power_cut: bool,
    /// Where the console's output is recorded, if wanted.
    pub(crate) record: Option<PathBuf>,
}

/// What came of one start.
pub(crate) struct Answer {
    /// `start`, `restart 1`, `power cut`.
    pub(crate) moment: String,
    /// What the script printed, or why it printed nothing.
    pub(crate) said: Result<Vec<u8>, String>,
    pub(crate) elapsed: Duration,
}

/// Bytes of a card: enough for the growth at first boot to show.
const CARD: u64 = 8 << 30;

/// Starts the image, has its root run `script` (sh, without input), and returns what it prints.
/// The same again after each restart, and after the power was cut. The last answer is the first
/// one that did not come.
///
/// # Errors
/// When the image cannot be started here at all.
pub(crate) fn ask(request: &LiveRequest<'_>, script: &str) -> Result<Vec<Answer>> {
    let card = Card::new(request.image, request.scratch, CARD)?;
    is_free(card.file())?;
    let record = request.record.as_ref().map(File::create).transpose();
    let mut run = Run {
        request,
        card: &card,
        script,
        record: record.context("making the console record")?,
    };
    let restarts = (1..=request.restarts).map(|number| format!("restart {number}"));
    let cut = request.power_cut.then(|| "power cut".to_owned());
    let moments: Vec<String> = ["start".to_owned()]
        .into_iter()
        .chain(restarts)
        .chain(cut)
        .collect();
    let mut answers = Vec::new();
    for (number, moment) in moments.iter().enumerate() {
        let next = moments.get(number + 1);
        let restarts = next.is_some_and(|next| next.starts_with("restart"));
        let begun = Instant::now();
        let said = run.moment(number, restarts)?;
        let ended = said.is_err();
        answers.push(Answer {
            moment: moment.clone(),
            said,
            elapsed: begun.elapsed(),
        });
        if ended {
            break;
        }
    }
    Ok(answers)
}

/// An error unless nothing is between the partition table and the first partition.
fn is_free(card: &File) -> Result<()> {
    let image = crate::images::image::Image::of_raw(card.try_clone()?)?;
    let starts = image
        .table
        .partitions
        .iter()
        .map(|partition| partition.start);
    let first = starts.min().context("the image has no partitions")?;
    let mut gap = vec![0; usize::try_from((END - SCRIPT) * SECTOR)?];
    card.read_exact_at(&mut gap, SCRIPT * SECTOR)
        .context("reading the beginning of the card")?;
    ensure!(
        first >= END * SECTOR && gap.iter().all(|byte| *byte == 0),
        "the tests need free room before the first partition, from 32 KiB to 1 MiB"
    );
    Ok(())
}

/// The line that finds the script of so many sectors on the card, and runs it.
fn line(sectors: u64) -> String {
    format!(
        "for d in /dev/mmcblk[01] /dev/vda;do dd if=$d of=/run/ww-test bs=512 skip={SCRIPT} \
         count={sectors};grep -q ^{MARK} /run/ww-test&&exec sh /run/ww-test $d;done"
    )
}

/// The longest such line.
#[cfg(test)]
pub(super) fn script() -> String {
    line(HEAD - SCRIPT)
}

struct Run<'a> {
    request: &'a LiveRequest<'a>,
    card: &'a Card,
    script: &'a str,
    record: Option<File>,
}

impl Run<'_> {
    /// Starts the system until it has answered, and until it has ended itself if it `restarts`.
    fn moment(&mut self, number: usize, restarts: bool) -> Result<Result<Vec<u8>, String>> {
        let sectors = self.put(number, restarts)?;
        let deadline = Instant::now() + self.request.limit;
        // A system may restart itself at first boot; more often than this it is a loop.
        for _ in 0..STARTS {
            let boot = self.card.boot_files(self.request.machine)?;
            let line = line(sectors);
            let network = self.request.network;
            let command = qemu::command(&boot, self.card, Some(&line), network)?;
            let console = command.console()?;
            let mut watch = Watch::new(console.reader(), self.record.as_mut());
            while Instant::now() < deadline {
                let ended = watch.wait(PAUSE)?;
                if let Some(answer) = take(self.card.file(), number)? {
                    if !restarts {
                        return Ok(Ok(answer));
                    }
                    while Instant::now() < deadline {
                        if watch.wait(PAUSE)? {
                            return Ok(Ok(answer));
                        }
                    }
                    return Ok(Err(watch.why("it answered, but did not restart")));
                }
                if ended {
                    break;
                }
            }
            if Instant::now() >= deadline {
                let seconds = self.request.limit.as_secs();
                return Ok(Err(
                    watch.why(&format!("it did not come up within {seconds} s"))
                ));
            }
            ensure!(
                !watch.tail.is_empty(),
                "QEMU ended before the image said a word; what it says itself is above"
            );
        }
        Ok(Err("it restarts over and over".to_owned()))
    }

    /// Writes the script onto the card, and takes an earlier answer off it. Returns its sectors.
    fn put(&self, number: usize, restarts: bool) -> Result<u64> {
        let then = if restarts { "systemctl reboot" } else { ":" };
        let mut text = format!(
            "{MARK}\nd=$1 a=/run/westwork-answer\n{{\n{}\n}} >$a 2>/dev/null </dev/null\n\
             s=$(sha256sum <$a)\ndd if=$a of=$d bs=512 seek={BODY} conv=notrunc,fsync\n\
             echo {ANSWER} {number} $(wc -c <$a) ${{s%% *}}|dd of=$d bs=512 seek={HEAD} \
             conv=notrunc,fsync,sync\n{then}\n",
            self.script
        )
        .into_bytes();
        let sectors = (text.len() as u64).div_ceil(SECTOR);
        if sectors > HEAD - SCRIPT {
            bail!("the tests of a running system are too long together");
        }
        text.resize(usize::try_from(sectors * SECTOR)?, b'\n');
        let head = vec![0; usize::try_from(SECTOR)?];
        let file = self.card.file();
        file.write_all_at(&text, SCRIPT * SECTOR)
            .and_then(|()| file.write_all_at(&head, HEAD * SECTOR))
            .context("writing the tests onto the card")?;
        Ok(sectors)
    }
}

/// Answer `number` on the card, if it is there and whole.
fn take(card: &File, number: usize) -> Result<Option<Vec<u8>>> {
    let mut head = [0; SECTOR as usize];
    card.read_exact_at(&mut head, HEAD * SECTOR)
        .context("reading the card")?;
    let head = String::from_utf8_lossy(&head);
    let words: Vec<&str> = head.lines().next().unwrap_or_default().split(' ').collect();
    let &[ANSWER, of, length, sum] = words.as_slice() else {
        return Ok(None);
    };
    let length: u64 = length.trim().parse().unwrap_or(u64::MAX);
    if of != number.to_string() || length > (END - BODY) * SECTOR {
        return Ok(None);
    }
    let mut body = vec![0; usize::try_from(length)?];
    card.read_exact_at(&mut body, BODY * SECTOR)
        .context("reading the card")?;
    Ok((hex::encode(Sha256::digest(&body)) == sum).then_some(body))
}

/// Follows a console.
struct Watch<'a> {
    output: mpsc::Receiver<Vec<u8>>,
    record: Option<&'a mut File>,
    tail: Vec<u8>,
}

impl<'a> Watch<'a> {
    fn new(mut console: Box<dyn Read + Send>, record: Option<&'a mut File>) -> Self {
        let (send, output) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = console.read(&mut buffer) {
                if send.send(buffer[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            output,
            record,
            tail: Vec::new(),
        }
    }

    /// Waits so long. True when the machine has ended.
    fn wait(&mut self, pause: Duration) -> Result<bool> {
        let until = Instant::now() + pause;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => {
                    if let Some(file) = &mut self.record {
                        file.write_all(&bytes).context("recording the console")?;
                    }
                    self.tail.extend(bytes);
                    if self.tail.len() > 2 * TAIL {
                        self.tail.drain(..self.tail.len() - TAIL);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Ok(false),
                Err(RecvTimeoutError::Disconnected) => return Ok(true),
            }
        }
    }

    /// `what`, and the console's last lines.
    fn why(&self, what: &str) -> String {
        let text = String::from_utf8_lossy(&self.tail);
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let last = lines[lines.len().saturating_sub(5)..].join(" / ");
        format!(
            "{what}; the console's last lines: {}",
            crate::images::printable::printable(&last)
        )
    }
}
