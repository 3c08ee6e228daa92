//! Judging an archive, and putting it in the place of /data.

use super::exchange::{self, Place};
use super::{DATA, DIRECTORY, FORMAT, HEAD, Head, MANIFEST, Manifest};
use crate::directory;
use crate::root::{Root, give};
use crate::services::{self, Stopped};
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::bufread::GzDecoder;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path};

/// What a gzip member of ours begins with: no name, no time.
const GZIP: [u8; 9] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0];

/// Replaces /data by the archive's. Until the very end /data is as it was.
pub fn restore(root: &Root, file: &Path) -> Result<()> {
    let judged = judge(file).with_context(|| format!("{} is not restored", file.display()))?;
    let _lock = root.lock()?;
    exchange::finish(root)?;
    let place = Place::new(root)?;
    let stopped = Stopped::new(root)?;
    let exchanged = unpack(root, file, &judged.manifest, place.folder())
        .and_then(|()| directory::load(root, &place.tree(), &judged.directory))
        .context("nothing was changed")
        .and_then(|()| place.exchange(root));
    place.remove()?;
    drop(stopped);
    exchanged?;
    services::start_normal_use(root)
}

/// Finishes a restore whose exchange was interrupted, if there is one.
pub fn finish_restore(root: &Root) -> Result<()> {
    let _lock = root.lock()?;
    exchange::finish(root)
}

#[derive(Debug)]
struct Judged {
    manifest: Manifest,
    directory: String,
}

fn open(file: &Path) -> Result<tar::Archive<GzDecoder<BufReader<File>>>> {
    Ok(tar::Archive::new(decoder(file)?))
}

fn decoder(file: &Path) -> Result<GzDecoder<BufReader<File>>> {
    let opened = File::open(file).with_context(|| format!("opening {}", file.display()))?;
    Ok(GzDecoder::new(BufReader::new(opened)))
}

/// Reads all of it and believes nothing.
fn judge(file: &Path) -> Result<Judged> {
    let mut begin = [0; GZIP.len()];
    File::open(file)
        .context("opening it")?
        .read_exact(&mut begin)
        .context("this is no backup")?;
    if begin != GZIP {
        bail!("this is no backup of a Westwork");
    }
    let mut archive = open(file)?;
    let mut found: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut small: BTreeMap<&str, String> = BTreeMap::new();
    let mut manifest_at = None;
    for (number, entry) in archive.entries().context("this is no backup")?.enumerate() {
        let mut entry = entry.context("it is damaged")?;
        let name = entry
            .path()
            .context("it is damaged")?
            .to_str()
            .context("a name is not UTF-8")?
            .to_owned();
        if number == 0 && name != HEAD {
            bail!("this is no backup of a Westwork");
        }
        if manifest_at.is_some() {
            bail!("it goes on after its manifest");
        }
        let known = [HEAD, DIRECTORY, MANIFEST]
            .into_iter()
            .find(|known| name == *known);
        if let Some(known) = known {
            let mut text = String::new();
            entry.read_to_string(&mut text).context("it is damaged")?;
            if known == HEAD {
                judge_head(&text)?;
            }
            if known == MANIFEST {
                manifest_at = Some(entry.raw_header_position());
            } else {
                found.insert(name, Some(hex::encode(Sha256::digest(&text))));
            }
            small.insert(known, text);
            continue;
        }
        judge_member(&name, &entry)?;
        let kind = entry.header().entry_type();
        let mut hash = Sha256::new();
        std::io::copy(&mut entry, &mut hash).context("it is damaged")?;
        let is_file = kind.is_file() || kind.is_gnu_sparse();
        if found
            .insert(name.clone(), is_file.then(|| hex::encode(hash.finalize())))
            .is_some()
        {
            bail!("{name} is in it twice");
        }
    }
    let (Some(at), Some(text)) = (manifest_at, small.get(MANIFEST)) else {
        bail!("its end is missing")
    };
    let manifest: Manifest = serde_json::from_str(text).context("its manifest is damaged")?;
    if !manifest
        .members
        .iter()
        .map(|(name, member)| (name, &member.sha256))
        .eq(found.iter())
    {
        bail!("its contents are not those of its manifest");
    }
    if total(file, at)? != manifest.sha256 {
        bail!("its checksum is wrong");
    }
    let directory = small.remove(DIRECTORY).context("it has no directory")?;
    Ok(Judged {
        manifest,
        directory,
    })
}

fn judge_head(text: &str) -> Result<()> {
    let head: Head = serde_json::from_str(text).context("this is no backup of a Westwork")?;
    if head.format > FORMAT {
        bail!(
            "it was made by a newer version (format {}); update this box first",
            head.format
        );
    }
    Ok(())
}

fn judge_member<R: Read>(name: &str, entry: &tar::Entry<'_, R>) -> Result<()> {
    let inside = |path: &Path| {
        path.starts_with(DATA)
            && path
                .components()
                .all(|part| matches!(part, Component::Normal(_)))
    };
    if !inside(Path::new(name)) {
        bail!("{name:?} is outside of the data");
    }
    let kind = entry.header().entry_type();
    if !(kind.is_file()
        || kind.is_dir()
        || kind.is_symlink()
        || kind.is_hard_link()
        || kind.is_gnu_sparse())
    {
        bail!("{name} is neither file, directory nor link");
    }
    if kind.is_hard_link() && !entry.link_name()?.is_some_and(|target| inside(&target)) {
        bail!("{name} is a link to outside of the data");
    }
    Ok(())
}

/// The hash of the first `length` bytes; the rest is read too, for gzip's own checksum.
fn total(file: &Path, length: u64) -> Result<String> {
    let mut decoder = decoder(file)?;
    let mut hash = Sha256::new();
    std::io::copy(&mut decoder.by_ref().take(length), &mut hash).context("it is damaged")?;
    std::io::copy(&mut decoder, &mut std::io::sink()).context("it is damaged")?;
    let mut rest = Vec::new();
    decoder
        .into_inner()
        .read_to_end(&mut rest)
        .context("reading its end")?;
    if !rest.is_empty() {
        bail!("something follows its end");
    }
    Ok(hex::encode(hash.finalize()))
}

fn unpack(root: &Root, file: &Path, manifest: &Manifest, folder: &Path) -> Result<()> {
    let mut archive = open(file)?;
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(true);
    archive.set_preserve_ownerships(false);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        if !Path::new(&name).starts_with(DATA) {
            continue;
        }
        if !entry
            .unpack_in(folder)
            .with_context(|| format!("unpacking {name}"))?
        {
            bail!("{name} is outside of the data");
        }
        let path = folder.join(&name);
        let header = entry.header();
        let member = manifest
            .members
            .get(&name)
            .with_context(|| format!("{name} is not in the manifest"))?;
        let id = |file: &str, name: &Option<String>, number: u64| {
            name.as_deref()
                .and_then(|name| root.id(file, name))
                .unwrap_or(u32::try_from(number).unwrap_or_default())
        };
        give(
            &path,
            id("passwd", &member.user, header.uid()?),
            id("group", &member.group, header.gid()?),
        )?;
        if path.symlink_metadata()?.is_symlink() {
            continue;
        }
        // A change of owner takes set-id bits away.
        if path.metadata()?.mode() & 0o7777 != header.mode()? & 0o7777 {
            std::fs::set_permissions(&path, Permissions::from_mode(header.mode()? & 0o7777))?;
        }
        for (attribute, value) in &member.attributes {
            xattr::set(&path, attribute, &STANDARD.decode(value)?)
                .with_context(|| format!("setting {attribute} of {name}"))?;
        }
    }
    Ok(())
}
