//! The boot partition's FAT, by the `fatfs` crate.

use super::disk::Slice;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};

/// A FAT file system, read or changed in place.
pub(crate) struct Fat {
    fs: fatfs::FileSystem<Cached>,
}

/// The slice with a buffer for reading: fatfs follows the table four bytes at a time.
struct Cached {
    reader: BufReader<Slice>,
}

impl Read for Cached {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl Write for Cached {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        // Forgets what was read ahead, and puts the slice at the reader's position.
        let at = self.reader.stream_position()?;
        self.reader.seek(SeekFrom::Start(at))?;
        self.reader.get_mut().write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.reader.get_mut().flush()
    }
}

impl Seek for Cached {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if let SeekFrom::Start(to) = to {
            // Within the buffer if possible.
            let by = i64::try_from(to).unwrap_or(i64::MAX)
                - i64::try_from(self.reader.stream_position()?).unwrap_or(0);
            self.reader.seek_relative(by)?;
            return Ok(to);
        }
        self.reader.seek(to)
    }
}

impl Fat {
    pub(crate) fn open(disk: Slice) -> Result<Self> {
        let cached = Cached {
            reader: BufReader::with_capacity(32 << 10, disk),
        };
        let fs =
            fatfs::FileSystem::new(cached, fatfs::FsOptions::new()).context("reading the FAT")?;
        Ok(Self { fs })
    }

    /// The volume's label and its serial number as `blkid` shows it.
    pub(crate) fn identity(&self) -> (String, String) {
        let root = self.fs.read_volume_label_from_root_dir().ok().flatten();
        let label = root.unwrap_or_else(|| self.fs.volume_label());
        let id = self.fs.volume_id();
        (label, format!("{:04X}-{:04X}", id >> 16, id & 0xffff))
    }

    /// Bytes of all clusters, and of the free ones.
    pub(crate) fn space(&self) -> Result<(u64, u64)> {
        let stats = self.fs.stats().context("measuring the FAT")?;
        let cluster = u64::from(stats.cluster_size());
        Ok((
            u64::from(stats.total_clusters()) * cluster,
            u64::from(stats.free_clusters()) * cluster,
        ))
    }

    /// Every file's path, without a leading slash, and its size in bytes.
    pub(crate) fn files(&self) -> Result<BTreeMap<String, u64>> {
        let mut files = BTreeMap::new();
        let mut open = vec![(String::new(), self.fs.root_dir())];
        while let Some((path, dir)) = open.pop() {
            for entry in dir.iter() {
                let entry = entry.context("listing the FAT")?;
                let name = entry.file_name();
                let path = format!("{path}{name}");
                if entry.is_file() {
                    files.insert(path, entry.len());
                } else if name != "." && name != ".." {
                    open.push((format!("{path}/"), entry.to_dir()));
                }
            }
        }
        Ok(files)
    }

    /// A file's content; `None` if there is none of that name.
    pub(crate) fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        match self.fs.root_dir().open_file(path) {
            Ok(mut file) => {
                file.read_to_end(&mut bytes)
                    .with_context(|| format!("reading {path} from the FAT"))?;
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("opening {path} in the FAT")),
        }
    }

    /// Writes a file of the root directory, over an old one of the same name.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let write = || {
            let mut file = self.fs.root_dir().create_file(name)?;
            file.truncate()?;
            file.write_all(bytes)?;
            file.flush()
        };
        write().with_context(|| format!("writing {name} to the boot partition"))
    }

    /// Ends the changes.
    pub(crate) fn close(self) -> Result<()> {
        self.fs.unmount().context("finishing the boot partition")
    }
}
