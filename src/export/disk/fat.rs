//! The boot partition: FAT32 by mkfs.fat and mtools.

use super::layout::{FileSystem, Partition, SECTOR};
use crate::base::inside::{Dir, Kind};
use crate::base::run::{Log, run};
use crate::base::tool::Tool;
use anyhow::{Context, Result, bail, ensure};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Sectors per cluster: 4 KiB from 260 MiB on, else the smallest, since FAT32 needs
/// 65525 clusters.
fn cluster(size: u64) -> u64 {
    if size >= 260 << 20 { 8 } else { 1 }
}

/// What goes onto the boot partition, judged beforehand.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Directories in byte order, `""` first, each with its files in byte order; paths from
    /// the tree that was read.
    directories: BTreeMap<String, Vec<PathBuf>>,
    /// Size and name length of each file and directory, for the sum.
    entries: Vec<(u64, u64)>,
}

/// Reads the tree `dir`, called `name` in errors. Links and special files, names FAT cannot
/// hold, and names that differ only in case are errors naming the file.
pub(crate) fn contents(dir: &Dir, name: &str) -> Result<Contents> {
    let mut contents = Contents::default();
    let mut seen: HashMap<String, PathBuf> = HashMap::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(parent) = todo.pop() {
        let here = dir
            .subdirectory(&parent)
            .context("reading the boot files")?;
        let in_tree = parent.to_string_lossy().into_owned();
        contents.directories.insert(in_tree.clone(), Vec::new());
        for entry in here.entries().context("reading the boot files")? {
            let path = parent.join(&entry.name);
            let place = format!("{name}/{}", path.display());
            judge_name(&path, &place, &mut seen)?;
            let size = match entry.kind {
                Kind::Directory => {
                    todo.push(path);
                    0
                }
                Kind::File => {
                    let size = u64::try_from(here.metadata(&entry.name)?.st_size)?;
                    ensure!(
                        size < 1 << 32,
                        "{place}: a file of 4 GiB or more does not fit a FAT"
                    );
                    let files = contents.directories.entry(in_tree.clone()).or_default();
                    files.push(path);
                    size
                }
                Kind::Link | Kind::Other => {
                    bail!("{place}: is neither file nor directory, which a FAT cannot hold")
                }
            };
            let length = entry.name.to_string_lossy().encode_utf16().count();
            contents.entries.push((size, length as u64));
        }
    }
    Ok(contents)
}

/// An error unless a FAT can hold `path`, `place` in errors, beside those that were `seen`.
fn judge_name(path: &Path, place: &str, seen: &mut HashMap<String, PathBuf>) -> Result<()> {
    let Some(name) = path.to_str() else {
        bail!("{place}: the name is not UTF-8, which a FAT cannot hold");
    };
    ensure!(
        allowed(name.rsplit('/').next().unwrap_or(name)),
        "{place}: a FAT cannot hold this name; rename the file"
    );
    if let Some(other) = seen.insert(name.to_lowercase(), path.to_owned()) {
        bail!(
            "{place}: differs only in case from {}, which is the same file on a FAT",
            other.display()
        );
    }
    Ok(())
}

/// Whether a long file name may be `name`.
fn allowed(name: &str) -> bool {
    !name.ends_with(['.', ' '])
        && name.encode_utf16().count() <= 255
        && !name
            .chars()
            .any(|c| c < ' ' || "\"*:<>?\\|\u{7f}".contains(c))
}

impl Contents {
    /// An error saying by how much, unless the files fit `partition`.
    pub(crate) fn check_fits(&self, partition: &Partition) -> Result<()> {
        let size = partition.size;
        let bytes = cluster(size) * SECTOR;
        let data: u64 = self
            .entries
            .iter()
            .map(|(size, name)| {
                let entry = 32 * (1 + name.div_ceil(13));
                size.next_multiple_of(bytes) + entry
            })
            .sum();
        let directories = self.directories.len() as u64 * bytes * 2;
        // Two tables of 4 bytes a cluster, and the reserved sectors.
        let overhead = 8 * (size / bytes) + 64 * SECTOR;
        let needed = data + directories + overhead;
        ensure!(
            needed <= size,
            "the partition for {} is too small by {} KiB: its files need {} MiB, it has {} MiB; \
             raise {}",
            partition.mount_point,
            (needed - size).div_ceil(1024),
            needed.div_ceil(1 << 20),
            size >> 20,
            partition.size_key
        );
        ensure!(
            size / bytes > 65_525 + 64,
            "a FAT32 partition of {} MiB is too small; let {} be at least 36 MiB",
            size >> 20,
            partition.size_key
        );
        Ok(())
    }
}

/// Makes the file system of `partition` at its place in `image`, with `contents`, which are
/// those of `dir`. Every time stamp on it is `epoch`, in UTC.
pub(crate) fn make(
    image: &Path,
    partition: &Partition,
    dir: &Dir,
    contents: &Contents,
    epoch: i64,
    log: Log<'_>,
) -> Result<()> {
    let FileSystem::Fat32 { serial, label } = &partition.file_system else {
        bail!("formatting a partition that is not FAT32 as FAT32");
    };
    let env = [
        ("SOURCE_DATE_EPOCH", epoch.to_string()),
        ("MTOOLS_SKIP_CHECK", "1".to_owned()),
        ("MTOOLSRC", "/dev/null".to_owned()),
    ];
    let sector = partition.start / SECTOR;
    let mut args: Vec<OsString> = [
        "--invariant".to_owned(),
        "-F32".to_owned(),
        format!("-s{}", cluster(partition.size)),
        format!("-h{sector}"),
        format!("--offset={sector}"),
        format!("-i{serial:08x}"),
        format!("-n{label}"),
    ]
    .map(OsString::from)
    .into();
    args.push(image.into());
    args.push((partition.size / 1024).to_string().into());
    run(Tool::MkfsFat, &args, &env, log)
        .with_context(|| format!("making the file system of {}", partition.mount_point))?;
    copy(&at_offset(image, partition.start), dir, contents, &env, log)
        .with_context(|| format!("filling the partition {}", partition.name))
}

/// Puts `contents` of `dir` onto the file system `drive`, by mtools' name for it.
fn copy(
    drive: &OsString,
    dir: &Dir,
    contents: &Contents,
    env: &[(&str, String)],
    log: Log<'_>,
) -> Result<()> {
    let lent = dir.lend()?;
    for (directory, files) in &contents.directories {
        if !directory.is_empty() {
            let args = ["-i".into(), drive.clone(), format!("::/{directory}").into()];
            run(Tool::Mmd, &args, env, log)
                .with_context(|| format!("making the directory {directory}"))?;
        }
        for files in files.chunks(200) {
            let mut args: Vec<OsString> = vec!["-i".into(), drive.clone(), "-Q".into()];
            args.extend(files.iter().map(|file| lent.path().join(file).into()));
            args.push(format!("::/{directory}").into());
            run(Tool::Mcopy, &args, env, log)
                .with_context(|| format!("copying to /{directory}"))?;
        }
    }
    Ok(())
}

/// mtools' way to name a file system inside an image: `FILE@@BYTES`.
pub(crate) fn at_offset(image: &Path, offset: u64) -> OsString {
    let mut drive = image.as_os_str().to_owned();
    drive.push(format!("@@{offset}"));
    drive
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::inside::Root;
    use crate::config::Disk;
    use crate::export::disk::layout::{Identity, Layout};
    use std::fs;

    fn partition(mib: u64) -> Partition {
        let layout = Layout::new(&Identity::new(1, "a"), &Disk::default(), mib << 20);
        layout.partitions[0].clone()
    }

    #[test]
    fn case_collisions_and_links_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        fs::write(dir.path().join("Config.txt"), "").unwrap();
        assert!(contents(root.top(), "boot/firmware").is_ok());
        fs::write(dir.path().join("config.txt"), "").unwrap();
        let error = contents(root.top(), "boot/firmware")
            .unwrap_err()
            .to_string();
        assert!(error.contains("only in case"), "{error}");
        fs::remove_file(dir.path().join("config.txt")).unwrap();
        std::os::unix::fs::symlink("x", dir.path().join("link")).unwrap();
        let error = contents(root.top(), "boot/firmware")
            .unwrap_err()
            .to_string();
        assert!(error.contains("boot/firmware/link"), "{error}");
    }

    #[test]
    fn too_small_says_by_how_much() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let file = fs::File::create(dir.path().join("kernel8.img")).unwrap();
        file.set_len(50 << 20).unwrap();
        let contents = contents(root.top(), "boot/firmware").unwrap();
        let error = contents.check_fits(&partition(40)).unwrap_err().to_string();
        assert!(error.contains("too small by"), "{error}");
        assert!(contents.check_fits(&partition(64)).is_ok());
    }
}
