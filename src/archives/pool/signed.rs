//! Which package files the archives vouch for.
//!
//! A root file system has the package indexes that its apt fetched, and they are here without
//! another download; but a script of the tree may have written them. So nothing of them is
//! believed: the release file must have a signature by a key of this machine, or by one that the
//! config pins, which apt of this machine judges (0.2 s of its time), and each index must
//! have the checksum that the release file names. An old release file passes, and does no harm:
//! it names packages that the archive had.

use crate::archives::host_apt::{Apt, KEY_PLACES, keys_in, machine_keys};
use crate::archives::keyring;
use crate::base::inside::{Dir, Kind, Root};
use crate::base::tool::Tool;
use crate::config::Config;
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Where apt keeps its indexes.
const LISTS: &str = "var/lib/apt/lists";

/// No index is larger, in bytes; Debian's largest has 60 million.
const LARGEST: u64 = 1 << 30;

/// Files with the keys whose signatures count.
#[derive(Debug, Clone, Default)]
pub struct Keys(Vec<PathBuf>);

impl Keys {
    /// Those that the config pins for its archives, those that apt of this machine takes for
    /// every archive, and Debian's.
    pub fn of(config: &Config) -> Self {
        let [trusted, keyrings] = KEY_PLACES;
        let debian = machine_keys(keyrings).into_iter().filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("debian-archive-")
        });
        let pinned = keyring::Signed::of(config);
        let pinned = pinned.iter().filter_map(|signed| signed.known(config));
        Self(
            machine_keys(trusted)
                .into_iter()
                .chain(debian)
                .chain(pinned)
                .collect(),
        )
    }

    #[cfg(test)]
    pub(super) fn only(key: PathBuf) -> Self {
        Self(vec![key])
    }

    /// Nobody's: for a pool that takes nothing from the steps of a tree.
    pub fn none() -> Self {
        Self::default()
    }
}

/// Checksum and size in bytes.
type Sum = ([u8; 32], u64);

/// What signed indexes name.
pub(super) struct Signed {
    keys: Keys,
    /// Of the lists that were read last.
    read: String,
    /// By apt's name for the file.
    files: HashMap<String, Vec<Sum>>,
}

impl Signed {
    pub(super) fn new(keys: Keys) -> Self {
        Self {
            keys,
            read: String::new(),
            files: HashMap::new(),
        }
    }

    /// What tells the lists of the root file system at `rootfs` from others; empty if it has none.
    pub(super) fn fingerprint(rootfs: &Path) -> Result<String> {
        let Some(lists) = Lists::open(rootfs)? else {
            return Ok(String::new());
        };
        let mut hash = Sha256::new();
        for (name, size) in &lists.files {
            hash.update(format!("{name} {size}\n"));
            if name.ends_with("Release") {
                hash.update(lists.read(name)?);
            }
        }
        Ok(hex::encode(hash.finalize()))
    }

    /// Reads the lists of the root file system at `rootfs`, unless they are those that were read
    /// last, and believes what is signed.
    pub(super) fn read(&mut self, rootfs: &Path) -> Result<()> {
        let fingerprint = Self::fingerprint(rootfs)?;
        if fingerprint == self.read {
            return Ok(());
        }
        self.files.clear();
        self.read = fingerprint;
        let Some(lists) = Lists::open(rootfs)? else {
            return Ok(());
        };
        for (archive, release) in self.releases(&lists)? {
            let sums = sums(&release);
            let start = format!("{archive}_");
            for name in lists.files.keys() {
                let Some(index) = name.strip_prefix(&start) else {
                    continue;
                };
                // apt's URItoFileName writes slashes as `_`, and `_` otherwise.
                let path = index.replace('_', "/").replace("%5f", "_");
                let Some(sum) = sums
                    .get(path.as_str())
                    .filter(|_| name.ends_with("_Packages"))
                else {
                    continue;
                };
                let text = lists.read(name)?;
                if hex::encode(Sha256::digest(&text)) == *sum {
                    self.add(&String::from_utf8_lossy(&text));
                }
            }
        }
        Ok(())
    }

    /// The release files with a signature that counts, by the beginning of their lists' names.
    fn releases(&self, lists: &Lists) -> Result<Vec<(String, String)>> {
        let dir = tempfile::tempdir().context("making a directory for apt")?;
        let copies = copy_releases(lists, dir.path())?;
        if copies.is_empty() || self.keys.0.is_empty() {
            return Ok(Vec::new());
        }
        let lines: Vec<String> = copies.iter().map(|copy| copy.source(dir.path())).collect();
        let keys = keys_in(dir.path(), &self.keys.0)?;
        let apt = Apt::new(dir.path(), &lines, "all", &keys)?;
        let args = [
            "update",
            "-oAcquire::Check-Valid-Until=false",
            "-oAcquire::Check-Date=false",
            "-opkgCacheFile::Generate=false",
            // The release files alone.
            "-oAcquire::IndexTargets::deb::Packages::DefaultEnabled=false",
            "-oAcquire::IndexTargets::deb::Translations::DefaultEnabled=false",
        ];
        // Those that do not pass are not in its lists then.
        let said = apt
            .command(Tool::AptGet, &args.map(str::to_owned))
            .read_any()?;
        drop(said);
        passed(&copies, &dir.path().join(LISTS))
    }

    /// Adds the packages of an index.
    fn add(&mut self, text: &str) {
        for stanza in text.split("\n\n") {
            let (mut name, mut version, mut architecture) = ("", "", "");
            let (mut sha256, mut size) = (None, 0);
            for line in stanza.lines() {
                match line.split_once(": ") {
                    Some(("Package", value)) => name = value,
                    Some(("Version", value)) => version = value,
                    Some(("Architecture", value)) => architecture = value,
                    Some(("Size", value)) => size = value.parse().unwrap_or(0),
                    Some(("SHA256", value)) => {
                        let mut sum = [0; 32];
                        sha256 = hex::decode_to_slice(value, &mut sum).ok().map(|()| sum);
                    }
                    _ => {}
                }
            }
            if let Some(sum) = sha256 {
                let version = version.replace(':', "%3a");
                let file = format!("{name}_{version}_{architecture}.deb");
                self.files.entry(file).or_default().push((sum, size));
            }
        }
    }

    /// Whether a signed index has a file `name` with this checksum; `None` if it has none of
    /// that name.
    pub(super) fn verdict(&self, name: &str, sha256: &str) -> Option<bool> {
        let sums = self.files.get(name)?;
        Some(sums.iter().any(|(sum, _)| hex::encode(sum) == sha256))
    }

    /// Whether a signed index has a file `name` of this size.
    pub(super) fn has_size(&self, name: &str, size: u64) -> bool {
        let sums = self.files.get(name);
        sums.is_some_and(|sums| sums.iter().any(|(_, listed)| *listed == size))
    }
}

/// The release file of one archive, copied to where apt takes it for an archive of its own.
struct ReleaseCopy {
    /// The beginning of its lists' names.
    archive: String,
    /// The directory of the copy.
    number: usize,
    suite: String,
}

impl ReleaseCopy {
    /// The line of sources for the copy below `dir`.
    fn source(&self, dir: &Path) -> String {
        let path = dir.join(self.number.to_string());
        let address = path.to_string_lossy().replace(' ', "%20");
        format!("deb file:{address} {} main", self.suite)
    }

    /// Whether apt's list `name` is this one's release file.
    fn is_in(&self, name: &str) -> bool {
        let Self { number, suite, .. } = self;
        ["InRelease", "Release"]
            .iter()
            .any(|part| name.ends_with(&format!("_{number}_dists_{suite}_{part}")))
    }
}

/// Copies each archive's release files among `lists` to a directory of its own below `dir`.
fn copy_releases(lists: &Lists, dir: &Path) -> Result<Vec<ReleaseCopy>> {
    let mut copies: Vec<ReleaseCopy> = Vec::new();
    for name in lists.files.keys() {
        let clear = name.strip_suffix("_InRelease");
        let Some(archive) = clear.or_else(|| name.strip_suffix("_Release")) else {
            continue;
        };
        let Some((_, suite)) = archive.rsplit_once("_dists_") else {
            continue;
        };
        let plain = suite
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~+".contains(&b));
        if !plain || suite.starts_with(['.', '-']) {
            continue;
        }
        if copies.iter().any(|copy| copy.archive == archive) {
            continue;
        }
        let copy = ReleaseCopy {
            archive: archive.to_owned(),
            number: copies.len(),
            suite: suite.to_owned(),
        };
        let suite_dir = dir.join(copy.number.to_string()).join("dists").join(suite);
        fs::create_dir_all(&suite_dir).context("making a directory for apt")?;
        for part in ["InRelease", "Release", "Release.gpg"] {
            let list = format!("{archive}_{part}");
            if lists.files.contains_key(&list) {
                fs::write(suite_dir.join(part), lists.read(&list)?)
                    .context("copying a release file")?;
            }
        }
        copies.push(copy);
    }
    Ok(copies)
}

/// The text of each of `copies` whose release file is in `lists`, apt's directory, by the archive.
fn passed(copies: &[ReleaseCopy], lists: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(lists)
        .context("reading apt's lists")?
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(copy) = copies.iter().find(|copy| copy.is_in(&name)) {
            let text = fs::read_to_string(entry.path()).context("reading a release file")?;
            found.push((copy.archive.clone(), text));
        }
    }
    Ok(found)
}

/// The SHA-256 of each file that a release file names.
fn sums(release: &str) -> HashMap<&str, &str> {
    let lines = release
        .lines()
        .skip_while(|line| *line != "SHA256:")
        .skip(1);
    lines
        .take_while(|line| line.starts_with(' '))
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (sum, _, path) = (words.next()?, words.next()?, words.next()?);
            Some((path, sum))
        })
        .collect()
}

/// apt's lists in a root file system: only ordinary files, and only those that are inside of it,
/// whatever links the tree has made.
struct Lists {
    dir: Dir,
    /// With their sizes in bytes.
    files: BTreeMap<String, u64>,
}

impl Lists {
    fn open(rootfs: &Path) -> Result<Option<Self>> {
        // Before the first step there is no root file system.
        if !rootfs.is_dir() {
            return Ok(None);
        }
        // Whatever is in the way: there are none then.
        let Ok(Some(dir)) = Root::open(rootfs)?.directory(LISTS) else {
            return Ok(None);
        };
        let mut files = BTreeMap::new();
        for entry in dir.entries().context("reading apt's lists")? {
            let (Some(name), Kind::File) = (entry.name.to_str(), entry.kind) else {
                continue;
            };
            let size = dir.metadata(&entry.name).map_or(0, |stat| stat.st_size);
            let size = u64::try_from(size).unwrap_or(u64::MAX);
            if size <= LARGEST {
                files.insert(name.to_owned(), size);
            }
        }
        Ok(Some(Self { dir, files }))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let file = self.dir.file(OsStr::new(name));
        let mut bytes = Vec::new();
        file.with_context(|| format!("opening {name}"))?
            .take(LARGEST)
            .read_to_end(&mut bytes)
            .with_context(|| format!("reading {name}"))?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_file_names_checksums_in_one_section() {
        let release = "Origin: x\nMD5Sum:\n aa 1 main/a\nSHA256:\n bb 1 main/a\n cc 22 main/b\nOther: y\n dd 3 main/c\n";
        assert_eq!(
            sums(release),
            HashMap::from([("main/a", "bb"), ("main/b", "cc")])
        );
    }

    #[test]
    fn lists_that_lead_elsewhere_are_none() {
        let (outside, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("x_dists_y_Release"), "secret").unwrap();
        let apt = root.path().join("var/lib/apt");
        fs::create_dir_all(&apt).unwrap();
        std::os::unix::fs::symlink(outside.path(), apt.join("lists")).unwrap();
        assert!(Lists::open(root.path()).unwrap().is_none());
        fs::remove_file(apt.join("lists")).unwrap();
        fs::create_dir(apt.join("lists")).unwrap();
        let link = apt.join("lists/x_dists_y_Release");
        std::os::unix::fs::symlink(outside.path().join("x_dists_y_Release"), link).unwrap();
        let pipe = apt.join("lists/z_dists_y_Release");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(Lists::open(root.path()).unwrap().unwrap().files.is_empty());
    }
}
