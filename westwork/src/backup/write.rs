//! Writing an archive.

use super::exchange::STAY;
use super::{DATA, DIRECTORY, FORMAT, HEAD, Head, MANIFEST, Manifest, Member};
use crate::directory;
use crate::root::{Root, sync_directory};
use crate::services::Stopped;
use crate::settings::Settings;
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, Metadata};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Not in an archive: the directory's database (its text is), what `westwork` itself leaves, and
/// what stays where it is.
const LEFT_OUT: [&str; 2] = ["ldap", ".conf.next"];

/// Writes everything below /data to `file`, which is complete or not there.
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
    let folder = file.parent().unwrap_or(Path::new("/")).to_owned();
    let writing = || format!("writing {}", file.display());
    let out = tempfile::NamedTempFile::new_in(&folder).with_context(writing)?;
    let domain = Settings::load(root)?.domain.as_str().to_owned();
    {
        let _lock = root.lock()?;
        let _stopped = Stopped::new(root)?;
        let encoder = GzEncoder::new(out.as_file(), Compression::default());
        let mut archive = Archive::new(root, encoder);
        archive.text(
            HEAD,
            &serde_json::to_string(&Head {
                format: FORMAT,
                domain,
            })?,
        )?;
        archive.text(DIRECTORY, &directory::dump(root)?)?;
        archive.tree(&root.data(), Path::new(DATA), true)?;
        archive
            .finish()
            .with_context(writing)?
            .finish()
            .with_context(writing)?;
    }
    out.as_file().sync_all().with_context(writing)?;
    out.persist(&file).with_context(writing)?;
    sync_directory(&folder)
}

struct Archive<'a, W: Write> {
    root: &'a Root,
    tar: tar::Builder<Hashing<W>>,
    members: BTreeMap<String, Member>,
    /// Where files with several names are in the archive, by device and inode.
    seen: HashMap<(u64, u64), PathBuf>,
}

impl<'a, W: Write> Archive<'a, W> {
    fn new(root: &'a Root, out: W) -> Self {
        let mut tar = tar::Builder::new(Hashing {
            out,
            hash: Sha256::new(),
        });
        tar.follow_symlinks(false);
        Self {
            root,
            tar,
            members: BTreeMap::new(),
            seen: HashMap::new(),
        }
    }

    fn text(&mut self, name: &str, text: &str) -> Result<()> {
        let member = Member {
            user: None,
            group: None,
            attributes: BTreeMap::new(),
            sha256: Some(hex::encode(Sha256::digest(text))),
        };
        self.members.insert(name.to_owned(), member);
        append_text(&mut self.tar, name, text)
    }

    fn tree(&mut self, path: &Path, name: &Path, top: bool) -> Result<()> {
        let packing = || format!("packing {}", path.display());
        self.tar.append_dir(name, path).with_context(packing)?;
        self.note(
            path,
            name,
            &path.symlink_metadata().with_context(packing)?,
            None,
        )?;
        let mut entries = path
            .read_dir()
            .with_context(packing)?
            .collect::<std::io::Result<Vec<_>>>()
            .with_context(packing)?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let file_name = entry.file_name();
            if top
                && LEFT_OUT
                    .iter()
                    .chain(&STAY)
                    .any(|left_out| file_name == *left_out)
            {
                continue;
            }
            let (path, name) = (entry.path(), name.join(&file_name));
            if entry.file_type().with_context(packing)?.is_dir() {
                self.tree(&path, &name, false)?;
            } else {
                self.leaf(&path, &name)
                    .with_context(|| format!("packing {}", path.display()))?;
            }
        }
        Ok(())
    }

    fn leaf(&mut self, path: &Path, name: &Path) -> Result<()> {
        let metadata = path.symlink_metadata()?;
        let kind = metadata.file_type();
        if kind.is_socket() || kind.is_fifo() {
            return Ok(());
        }
        if !(kind.is_file() || kind.is_symlink()) {
            bail!("this is a device; nothing in /data should be");
        }
        if metadata.nlink() > 1 {
            if let Some(first) = self.seen.get(&(metadata.dev(), metadata.ino())) {
                let mut header = tar::Header::new_gnu();
                header.set_metadata(&metadata);
                header.set_entry_type(tar::EntryType::Link);
                header.set_size(0);
                self.tar.append_link(&mut header, name, first)?;
                return self.note(path, name, &metadata, None);
            }
            self.seen
                .insert((metadata.dev(), metadata.ino()), name.to_owned());
        }
        if kind.is_symlink() {
            self.tar.append_path_with_name(path, name)?;
            return self.note(path, name, &metadata, None);
        }
        let mut hash = Sha256::new();
        std::io::copy(&mut File::open(path)?, &mut hash)?;
        self.tar.append_file(name, &mut File::open(path)?)?;
        self.note(path, name, &metadata, Some(hex::encode(hash.finalize())))
    }

    fn note(
        &mut self,
        path: &Path,
        name: &Path,
        metadata: &Metadata,
        sha256: Option<String>,
    ) -> Result<()> {
        let mut attributes = BTreeMap::new();
        if !metadata.is_symlink() {
            for attribute in xattr::list(path)? {
                if let (Some(name), Some(value)) =
                    (attribute.to_str(), xattr::get(path, &attribute)?)
                {
                    attributes.insert(name.to_owned(), STANDARD.encode(value));
                }
            }
        }
        let (user, group) = (
            self.root.name("passwd", metadata.uid()),
            self.root.name("group", metadata.gid()),
        );
        let Some(name) = name.to_str() else {
            bail!("the name of {} is not UTF-8", path.display())
        };
        self.members.insert(
            name.to_owned(),
            Member {
                user,
                group,
                attributes,
                sha256,
            },
        );
        Ok(())
    }

    fn finish(mut self) -> Result<W> {
        let sha256 = hex::encode(self.tar.get_ref().hash.clone().finalize());
        let manifest = Manifest {
            members: self.members,
            sha256,
        };
        append_text(&mut self.tar, MANIFEST, &serde_json::to_string(&manifest)?)?;
        Ok(self.tar.into_inner()?.out)
    }
}

fn append_text<W: Write>(tar: &mut tar::Builder<W>, name: &str, text: &str) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o600);
    header.set_size(text.len() as u64);
    tar.append_data(&mut header, name, text.as_bytes())
        .with_context(|| format!("packing {name}"))
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
