//! Reading an archive, believing nothing of it.

use super::cipher::Decrypting;
use super::judge::{Judge, Kind, Member};
use super::{DATA, DIRECTORY, DIRECTORY_LIMIT, FORMAT, HEAD, Head};
use crate::root::Root;
use crate::secrets::Secret;
use anyhow::{Context, Result, anyhow, bail};
use flate2::bufread::GzDecoder;
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::io::{BufReader, Read};
use std::path::Path;
use std::rc::Rc;

const HEAD_LIMIT: u64 = 4096;
/// What describes a member (names, attributes, the map of holes) is held in memory.
const DESCRIPTION_LIMIT: u64 = 8 << 20;
/// A file takes whole blocks of the disk, and an entry of a directory.
const BLOCK: u64 = 4096;
/// A tar archive may be filled up with zeros at its end.
const FILLING_LIMIT: u64 = 1 << 20;

type Stream = Measured<GzDecoder<BufReader<Decrypting>>>;

/// What is known of an archive that was read to its end.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) domain: String,
    pub(super) directory: String,
    pub(super) members: usize,
    /// Of the archive as it was before compression.
    pub(super) sha256: Vec<u8>,
}

/// Reads an archive to its end and hands every judged member of the data to `each`. An archive
/// that needs more than `room` bytes on a disk is refused as soon as that is known.
pub(super) fn read(
    root: &Root,
    file: &Path,
    secret: &Secret,
    room: u64,
    mut each: impl FnMut(&Member, &mut tar::Entry<'_, Stream>) -> Result<()>,
) -> Result<Contents> {
    // Opened here too, for an error that names the file.
    std::fs::File::open(file).context("opening it")?;
    let allowance = Rc::new(Cell::new(DESCRIPTION_LIMIT));
    let stream = Measured {
        inner: GzDecoder::new(BufReader::new(Decrypting::new(root, file, secret)?)),
        hash: Sha256::new(),
        allowance: allowance.clone(),
    };
    let mut archive = tar::Archive::new(stream);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(false);
    let read = members(root, &mut archive, &allowance, room, &mut each);
    let mut stream = archive.into_inner();
    let read = read.and_then(|found| filling(&mut stream, &allowance).map(|()| found));
    let sha256 = stream.hash.finalize().to_vec();
    let mut rest = stream.inner.into_inner();
    let follows = read.is_ok() && rest.read(&mut [0]).is_ok_and(|count| count > 0);
    // What age found comes first: an archive that it cut short is just damaged for us.
    rest.into_inner().finish(read.is_ok() && !follows)?;
    let (domain, directory, members) = read?;
    if follows {
        bail!("something follows its end");
    }
    Ok(Contents {
        domain,
        directory,
        members,
        sha256,
    })
}

fn members(
    root: &Root,
    archive: &mut tar::Archive<Stream>,
    allowance: &Cell<u64>,
    room: u64,
    each: &mut impl FnMut(&Member, &mut tar::Entry<'_, Stream>) -> Result<()>,
) -> Result<(String, String, usize)> {
    let mut judge = Judge::default();
    let (mut domain, mut directory) = (None, None);
    let mut needed = 0_u64;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let stored = entry.header().entry_size()?;
        // The contents may pass; then as much again for what describes the next member.
        allowance.set(stored.saturating_add(DESCRIPTION_LIMIT));
        let name = entry.path_bytes().into_owned();
        match (&domain, &directory) {
            (None, _) if name == HEAD.as_bytes() => {
                domain = Some(judge_head(&text(&mut entry, HEAD_LIMIT)?)?);
                continue;
            }
            (None, _) => bail!("this is no backup of a Westwork"),
            (_, None) if name == DIRECTORY.as_bytes() => {
                directory = Some(text(&mut entry, DIRECTORY_LIMIT)?);
                continue;
            }
            (_, None) => bail!("it has no directory"),
            _ => (),
        }
        let member = judge.member(root, &mut entry)?;
        needed = needed
            .saturating_add(stored.next_multiple_of(BLOCK))
            .saturating_add(if member.kind == Kind::File { 0 } else { BLOCK });
        if needed > room {
            bail!(
                "it is too large: it needs more than the {:.1} GiB that /data has free",
                room as f64 / f64::from(1 << 30)
            );
        }
        each(&member, &mut entry).with_context(|| format!("at {:?}", member.name))?;
    }
    let domain = domain.ok_or_else(|| anyhow!("this is no backup of a Westwork"))?;
    let directory = directory.ok_or_else(|| anyhow!("it has no directory"))?;
    if judge.count() == 0 {
        bail!("it has no {DATA}");
    }
    Ok((domain, directory, judge.count()))
}

fn text<R: Read>(entry: &mut tar::Entry<'_, R>, limit: u64) -> Result<String> {
    if entry.size() > limit {
        bail!("{:?} has more than {limit} bytes", entry.path()?);
    }
    let mut text = String::new();
    entry.read_to_string(&mut text)?;
    Ok(text)
}

fn judge_head(text: &str) -> Result<String> {
    let head: Head = serde_json::from_str(text).context("this is no backup of a Westwork")?;
    if head.format > FORMAT {
        bail!(
            "it was made by a newer version (format {}); update this box first",
            head.format
        );
    }
    if head.format < FORMAT {
        bail!(
            "it was made by an older version (format {}), which did not encrypt",
            head.format
        );
    }
    Ok(head.domain)
}

/// Reads what comes after the last member, which has to be zeros.
fn filling(stream: &mut Stream, allowance: &Cell<u64>) -> Result<()> {
    allowance.set(FILLING_LIMIT);
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        if buffer[..count].iter().any(|byte| *byte != 0) {
            bail!("it goes on after its end");
        }
    }
}

/// Knows the hash of what has gone through it, and lets no more through than is allowed.
pub(super) struct Measured<R> {
    inner: R,
    hash: Sha256,
    allowance: Rc<Cell<u64>>,
}

impl<R: Read> Read for Measured<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let allowed = usize::try_from(self.allowance.get()).unwrap_or(usize::MAX);
        if allowed == 0 && !buffer.is_empty() {
            return Err(std::io::Error::other(
                "what describes a member is too long for any that a box makes",
            ));
        }
        let length = buffer.len().min(allowed);
        let count = self.inner.read(&mut buffer[..length])?;
        self.hash.update(&buffer[..count]);
        self.allowance.set(self.allowance.get() - count as u64);
        Ok(count)
    }
}
