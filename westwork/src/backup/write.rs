//! Writing an archive.

use super::cipher::{Encrypting, Key, owners_key};
use super::exchange::STAY;
use super::read::read;
use super::{ATTRIBUTE, DATA, DIRECTORY, DIRECTORY_LIMIT, FORMAT, HEAD, Head};
use crate::directory;
use crate::root::{Root, sync_directory};
use crate::services::Stopped;
use crate::settings::Settings;
use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, readlinkat, statat};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use xattr::FileExt;

/// Not in an archive: the directory's database (its text is), what `westwork` itself leaves, and
/// what stays where it is.
const LEFT_OUT: [&str; 2] = ["ldap", ".conf.next"];

/// Writes everything below /data to `file`, encrypted for the owner's key. The file is complete
/// and has been read again by what `restore` reads with, or is not there.
pub fn backup(root: &Root, file: &Path) -> Result<()> {
    if !root.is_configured() {
        bail!("this box is not set up yet");
    }
    let file = std::path::absolute(file)?;
    if file.starts_with(root.data()) {
        bail!(
            "{} is in /data itself; choose another place",
            file.display()
        );
    }
    let owner = owners_key(root)?;
    let once = Key::new(root)?;
    let folder = file.parent().unwrap_or(Path::new("/")).to_owned();
    let writing = || format!("writing {}", file.display());
    let out = tempfile::NamedTempFile::new_in(&folder).with_context(writing)?;
    let domain = Settings::load(root)?.domain.as_str().to_owned();
    let (sha256, members) = {
        let _lock = root.lock()?;
        let _stopped = Stopped::new(root)?;
        write(root, &domain, &[&owner, &once.public], out.as_file()).with_context(writing)?
    };
    out.as_file().sync_all().with_context(writing)?;
    let reading = "no backup was made: reading it again";
    let contents =
        read(root, out.path(), &once.secret, u64::MAX, |_, _| Ok(())).context(reading)?;
    if (&contents.sha256, contents.members, &contents.domain) != (&sha256, members, &domain) {
        bail!("{reading}: it is not what was written; is the disk at fault?");
    }
    out.persist(&file).with_context(writing)?;
    sync_directory(&folder)
}

/// The hash of the archive, and the number of members of the data.
fn write(root: &Root, domain: &str, keys: &[&str], out: &File) -> Result<(Vec<u8>, usize)> {
    let encrypting = Encrypting::new(root, keys, out)?;
    let encoder = GzEncoder::new(encrypting, Compression::default());
    let mut archive = Archive::new(root, encoder);
    let head = Head {
        format: FORMAT,
        domain: domain.to_owned(),
    };
    archive.text(HEAD, &serde_json::to_string(&head)?)?;
    let directory = directory::dump(root)?;
    if directory.len() as u64 > DIRECTORY_LIMIT {
        bail!("the directory has more than {DIRECTORY_LIMIT} bytes");
    }
    archive.text(DIRECTORY, &directory)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let data = openat(CWD, root.data(), flags, Mode::empty()).context("opening /data")?;
    archive.directory(data.into(), Path::new(DATA))?;
    let members = archive.members;
    let hashing = archive.tar.into_inner()?;
    hashing.out.finish()?.finish()?;
    Ok((hashing.hash.finalize().to_vec(), members))
}

struct Archive<'a, W: Write> {
    root: &'a Root,
    tar: tar::Builder<Hashing<W>>,
    members: usize,
    /// Where files with several names are in the archive, by device and inode.
    seen: HashMap<(u64, u64), PathBuf>,
}

impl<'a, W: Write> Archive<'a, W> {
    fn new(root: &'a Root, out: W) -> Self {
        let hash = Sha256::new();
        Self {
            root,
            tar: tar::Builder::new(Hashing { out, hash }),
            members: 0,
            seen: HashMap::new(),
        }
    }

    fn text(&mut self, name: &str, text: &str) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o600);
        header.set_size(text.len() as u64);
        self.tar
            .append_data(&mut header, name, text.as_bytes())
            .with_context(|| format!("packing {name}"))
    }

    /// A directory and all that is in it. Everything is reached from the open directory by its
    /// last name alone, so that nobody can put a link in the way.
    fn directory(&mut self, directory: File, name: &Path) -> Result<()> {
        let packing = || format!("packing {}", shown(name));
        let metadata = directory.metadata().with_context(packing)?;
        self.describe(&metadata, Some(&directory), name)
            .with_context(packing)?;
        let mut header = header(&metadata);
        self.tar
            .append_data(&mut header, name, std::io::empty())
            .with_context(packing)?;
        for file_name in names(&directory).with_context(packing)? {
            let left_out = LEFT_OUT.iter().chain(&STAY);
            if name == Path::new(DATA) && left_out.into_iter().any(|left| file_name == *left) {
                continue;
            }
            self.entry(&directory, &file_name, &name.join(&file_name))?;
        }
        Ok(())
    }

    fn entry(&mut self, directory: &File, file_name: &OsStr, name: &Path) -> Result<()> {
        let packing = || format!("packing {}", shown(name));
        let status =
            statat(directory, file_name, AtFlags::SYMLINK_NOFOLLOW).with_context(packing)?;
        let open = |more: OFlags| -> Result<File> {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let opened = openat(directory, file_name, flags | more, Mode::empty());
            Ok(opened.with_context(packing)?.into())
        };
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => self.directory(open(OFlags::DIRECTORY)?, name),
            FileType::RegularFile => self
                .file(open(OFlags::empty())?, name)
                .with_context(packing),
            FileType::Symlink => self.link(directory, file_name, name).with_context(packing),
            // Made again by those who use them.
            FileType::Fifo | FileType::Socket => Ok(()),
            _ => bail!("{} is a device; nothing in /data should be", shown(name)),
        }
    }

    fn file(&mut self, mut file: File, name: &Path) -> Result<()> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            bail!("it is no longer a file");
        }
        if metadata.nlink() > 1 {
            if let Some(first) = self.seen.get(&(metadata.dev(), metadata.ino())) {
                let mut header = header(&metadata);
                header.set_entry_type(tar::EntryType::Link);
                header.set_size(0);
                self.members += 1;
                return Ok(self.tar.append_link(&mut header, name, first)?);
            }
            self.seen
                .insert((metadata.dev(), metadata.ino()), name.to_owned());
        }
        self.describe(&metadata, Some(&file), name)?;
        Ok(self.tar.append_file(name, &mut file)?)
    }

    /// The link itself, wherever it leads.
    fn link(&mut self, directory: &File, file_name: &OsStr, name: &Path) -> Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let link: File = openat(directory, file_name, flags, Mode::empty())?.into();
        let target = readlinkat(link.as_fd(), "", Vec::new())?;
        let metadata = link.metadata()?;
        self.describe(&metadata, None, name)?;
        let mut header = header(&metadata);
        let target = Path::new(OsStr::from_bytes(target.to_bytes()));
        if header
            .set_link_name_literal(target.as_os_str().as_bytes())
            .is_ok()
        {
            return Ok(self.tar.append_data(&mut header, name, std::io::empty())?);
        }
        Ok(self.tar.append_link(&mut header, name, target)?)
    }

    /// The records before a member: its owners by name, and its attributes.
    fn describe(&mut self, metadata: &Metadata, file: Option<&File>, name: &Path) -> Result<()> {
        let mut records: Vec<(String, Vec<u8>)> = Vec::new();
        for (key, id) in [("uname", metadata.uid()), ("gname", metadata.gid())] {
            let list = if key == "uname" { "passwd" } else { "group" };
            if let Some(owner) = self.root.name(list, id) {
                records.push((key.to_owned(), owner.into_bytes()));
            }
        }
        let attributes = file.map(FileExt::list_xattr).transpose()?;
        for attribute in attributes.into_iter().flatten() {
            // The key of a record ends at its first "=".
            match attribute.to_str().filter(|key| !key.contains('=')) {
                Some(key) => {
                    let value = file.map(|file| file.get_xattr(&attribute)).transpose()?;
                    let value = value.flatten().unwrap_or_default();
                    records.push((format!("{ATTRIBUTE}{key}"), value));
                }
                None => eprintln!(
                    "westwork: {}: the attribute {attribute:?} is left out",
                    shown(name)
                ),
            }
        }
        self.members += 1;
        let records = records
            .iter()
            .map(|(key, value)| (key.as_str(), &value[..]));
        Ok(self.tar.append_pax_extensions(records)?)
    }
}

fn header(metadata: &Metadata) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_metadata(metadata);
    header
}

/// The entries of a directory, in the same order each time.
fn names(directory: &File) -> Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort();
    Ok(names)
}

/// A member's name as a path of the device.
fn shown(name: &Path) -> String {
    format!("/{}", name.display())
}

/// Knows the hash of what has gone through it.
struct Hashing<W> {
    out: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
