//! The boot partition's FAT, by the `fatfs` crate.
//!
//! The crate follows what is on the disk wherever it leads. So its boot sector is judged
//! first, and what it may read and list is bounded.

use super::disk::Slice;
use crate::base::bytes::{u16_at, u32_at};
use crate::images::printable::printable;
use anyhow::{Context, Result, ensure};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::rc::Rc;

/// Bytes that are read ahead: the crate follows the table four bytes at a time.
const PAGE: u64 = 4096;
const PAGES: usize = 512;

/// What a FAT may hold: entries, directories within directories, bytes of all paths.
const MOST_ENTRIES: usize = 100_000;
const DEEPEST: usize = 40;
const LONGEST_PATHS: usize = 16 << 20;

/// More clusters are not counted through.
const MOST_COUNTED: u64 = 1 << 24;

/// Reads that the crate may do for one question, and in all: it reads a directory in pieces of
/// some bytes, and goes round as long as the disk says so.
const READS: u64 = 4_000_000;
const ALL_READS: u64 = 100_000_000;

/// A FAT file system, read or changed in place.
pub(crate) struct Fat {
    fs: fatfs::FileSystem<Cached>,
    clusters: u64,
    reads: Rc<Reads>,
}

/// How many reads are left.
struct Reads {
    now: Cell<u64>,
    all: Cell<u64>,
}

impl Reads {
    /// Allows so many for the next question.
    fn allow(&self, number: u64) {
        self.now.set(number.min(self.all.get()));
    }

    fn spend(&self) -> io::Result<()> {
        let (now, all) = (self.now.get(), self.all.get());
        if now == 0 || all == 0 {
            return Err(io::Error::other("the FAT leads in circles"));
        }
        self.now.set(now - 1);
        self.all.set(all - 1);
        Ok(())
    }
}

/// The slice with pages of it in memory.
struct Cached {
    disk: Slice,
    at: u64,
    pages: HashMap<u64, Vec<u8>>,
    reads: Rc<Reads>,
}

impl Read for Cached {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads.spend()?;
        let number = self.at / PAGE;
        if !self.pages.contains_key(&number) {
            if self.pages.len() >= PAGES {
                self.pages.clear();
            }
            let start = number * PAGE;
            let length = PAGE.min(self.disk.size.saturating_sub(start));
            let mut page = vec![0; length as usize];
            self.disk.read_at(&mut page, start)?;
            self.pages.insert(number, page);
        }
        let page = self.pages.get(&number).map_or(&[][..], Vec::as_slice);
        let rest = page.get((self.at % PAGE) as usize..).unwrap_or_default();
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        self.at += n as u64;
        Ok(n)
    }
}

impl Write for Cached {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.disk.seek(SeekFrom::Start(self.at))?;
        let n = self.disk.write(buffer)?;
        for number in self.at / PAGE..=(self.at + n as u64) / PAGE {
            self.pages.remove(&number);
        }
        self.at += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.disk.flush()
    }
}

impl Seek for Cached {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.disk.size.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Judges a boot sector: that the crate can reckon with its numbers, and that what it claims
/// is there. Returns the number of clusters.
fn clusters(disk: &Slice) -> Result<u64> {
    let mut b = [0; 512];
    disk.read_at(&mut b, 0).context("reading the boot sector")?;
    let either = |short: usize, long: usize| match u64::from(u16_at(&b, short)) {
        0 => u64::from(u32_at(&b, long)),
        number => number,
    };
    let (sector, cluster) = (u64::from(u16_at(&b, 11)), u64::from(b[13]));
    let (reserved, tables) = (u64::from(u16_at(&b, 14)), u64::from(b[16]));
    let (total, per_table) = (either(19, 32), either(22, 36));
    let root = (u64::from(u16_at(&b, 17)) * 32).div_ceil(sector.max(1));
    ensure!(
        sector.is_power_of_two() && sector >= 512 && cluster.is_power_of_two() && tables > 0,
        "its boot sector is damaged"
    );
    ensure!(
        total.saturating_mul(sector) <= disk.size,
        "it claims {} bytes, and {} are there",
        total.saturating_mul(sector),
        disk.size
    );
    let before = reserved + tables * per_table + root;
    ensure!(
        before < total && per_table > 0 && per_table * sector * 8 <= u64::from(u32::MAX),
        "its boot sector is damaged"
    );
    let clusters = (total - before) / cluster;
    // Twelve bits an entry at least; only a FAT32 says where its root directory is.
    let fat32 = u16_at(&b, 22) == 0;
    let root = u64::from(u32_at(&b, 44));
    ensure!(
        per_table * sector * 8 / 12 >= 2 && (!fat32 || (2..clusters + 2).contains(&root)),
        "its boot sector is damaged"
    );
    Ok(clusters)
}

impl Fat {
    pub(crate) fn open(disk: Slice) -> Result<Self> {
        let clusters = clusters(&disk)?;
        let reads = Rc::new(Reads {
            now: Cell::new(READS),
            all: Cell::new(ALL_READS.saturating_add(clusters * 4)),
        });
        let cached = Cached {
            disk,
            at: 0,
            pages: HashMap::new(),
            reads: reads.clone(),
        };
        let fs =
            fatfs::FileSystem::new(cached, fatfs::FsOptions::new()).context("reading the FAT")?;
        Ok(Self {
            fs,
            clusters,
            reads,
        })
    }

    /// The volume's label and its serial number as `blkid` shows it.
    pub(crate) fn identity(&self) -> (String, String) {
        self.reads.allow(READS);
        let root = self.fs.read_volume_label_from_root_dir().ok().flatten();
        let label = root.unwrap_or_else(|| self.fs.volume_label());
        let id = self.fs.volume_id();
        (label, format!("{:04X}-{:04X}", id >> 16, id & 0xffff))
    }

    /// Bytes of all clusters, and of the free ones, if those can be counted soon.
    pub(crate) fn space(&self) -> Result<(u64, Option<u64>)> {
        let cluster = u64::from(self.fs.cluster_size());
        let size = self.clusters * cluster;
        if self.clusters > MOST_COUNTED {
            return Ok((size, None));
        }
        self.reads.allow(READS + self.clusters);
        let stats = self.fs.stats().context("measuring the FAT")?;
        let free = u64::from(stats.free_clusters()) * cluster;
        Ok((size, Some(free.min(size))))
    }

    /// Every file's path, without a leading slash, and its size in bytes.
    pub(crate) fn files(&self) -> Result<BTreeMap<String, u64>> {
        self.reads.allow(READS);
        let mut files = BTreeMap::new();
        let mut open = vec![(String::new(), 0, self.fs.root_dir())];
        let (mut entries, mut bytes) = (0, 0);
        while let Some((path, depth, dir)) = open.pop() {
            for entry in dir.iter() {
                let entry = entry.context("listing the FAT")?;
                let name = entry.file_name();
                if name == "." || name == ".." {
                    continue;
                }
                let path = format!("{path}{name}");
                (entries, bytes) = (entries + 1, bytes + path.len());
                ensure!(
                    entries <= MOST_ENTRIES && bytes <= LONGEST_PATHS && depth <= DEEPEST,
                    "the directories of the FAT lead in a circle, at {}",
                    printable(&path.chars().take(80).collect::<String>())
                );
                ensure!(
                    !name.is_empty() && !name.contains(['/', '\0']),
                    "the FAT has the name {}, which no file can have",
                    printable(&name)
                );
                if entry.is_file() {
                    files.insert(path, entry.len());
                } else {
                    open.push((format!("{path}/"), depth + 1, entry.to_dir()));
                }
            }
        }
        Ok(files)
    }

    /// Calls `work` with a reader of a file; `None` if there is none of that name.
    fn with<T>(
        &self,
        path: &str,
        work: impl FnOnce(&mut dyn Read) -> Result<T>,
    ) -> Result<Option<T>> {
        let read = || {
            // One read a cluster's number, one or more its bytes.
            self.reads.allow(READS + self.clusters * 4);
            let mut file = match self.fs.root_dir().open_file(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let size = file.seek(SeekFrom::End(0))?;
            ensure!(
                size <= self.clusters * u64::from(self.fs.cluster_size()),
                "it claims to be larger than the FAT"
            );
            file.rewind()?;
            work(&mut file).map(Some)
        };
        read().with_context(|| format!("reading {} in the FAT", printable(path)))
    }

    /// A file's content, of at most `limit` bytes; `None` if there is none of that name.
    pub(crate) fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        self.with(path, |file| {
            let mut bytes = Vec::new();
            file.take(limit + 1).read_to_end(&mut bytes)?;
            ensure!(
                bytes.len() as u64 <= limit,
                "it has more than the {limit} bytes that it can sensibly have"
            );
            Ok(bytes)
        })
    }

    /// Copies a file; false if there is none of that name.
    pub(crate) fn copy(&self, path: &str, to: &mut dyn Write) -> Result<bool> {
        let copied = self.with(path, |file| Ok(io::copy(file, to)?))?;
        Ok(copied.is_some())
    }

    /// Whether a file has the same content in another FAT.
    pub(crate) fn same(&self, path: &str, other: &Self) -> Result<bool> {
        let same = self.with(path, |a| {
            other.with(path, |b| {
                let mut buffers = (vec![0; 64 << 10], vec![0; 64 << 10]);
                loop {
                    let n = super::stream::fill(a, &mut buffers.0)?;
                    let m = super::stream::fill(b, &mut buffers.1)?;
                    if buffers.0[..n] != buffers.1[..m] {
                        return Ok(false);
                    }
                    if n == 0 {
                        return Ok(true);
                    }
                }
            })
        })?;
        Ok(same.flatten().unwrap_or(false))
    }

    /// Writes a file of the root directory, over an old one of the same name.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let write = || {
            self.reads.allow(READS + self.clusters * 4);
            let mut file = self.fs.root_dir().create_file(name)?;
            file.truncate()?;
            file.write_all(bytes)?;
            file.flush()
        };
        write().with_context(|| format!("writing {name} to the boot partition"))
    }

    /// Ends the changes.
    pub(crate) fn close(self) -> Result<()> {
        self.reads.allow(READS);
        self.fs.unmount().context("finishing the boot partition")
    }
}
