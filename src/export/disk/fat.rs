//! The boot partition: FAT32 by mkfs.fat and mtools.

use super::layout::{FileSystem, Partition, SECTOR};
use crate::base::run::{Log, run};
use crate::base::tool::Tool;
use anyhow::{Context, Result, bail, ensure};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// Sectors per cluster: 4 KiB from 260 MiB on, else the smallest, since FAT32 needs
/// 65525 clusters.
fn cluster(size: u64) -> u64 {
    if size >= 260 << 20 { 8 } else { 1 }
}

/// What goes onto the boot partition, judged beforehand.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Directories in byte order, `""` first, each with its files in byte order.
    directories: BTreeMap<String, Vec<PathBuf>>,
    /// Size and name length of each file and directory, for the sum.
    entries: Vec<(u64, u64)>,
}

/// Reads the tree `dir`, called `name` in errors. Links and special files, names FAT cannot hold, and names
/// that differ only in case are errors naming the file.
pub(crate) fn contents(dir: &Path, name: &str) -> Result<Contents> {
    let shown_dir = name;
    let mut contents = Contents::default();
    let mut seen: HashMap<String, PathBuf> = HashMap::new();
    contents.directories.insert(String::new(), Vec::new());
    let walk = WalkDir::new(dir).min_depth(1).sort_by_file_name();
    for entry in walk {
        let entry = entry.context("reading the boot files")?;
        let path = entry.path();
        let shown = path.strip_prefix(dir)?;
        let place = format!("{shown_dir}/{}", shown.display());
        let Some(name) = shown.to_str() else {
            bail!("{place}: the name is not UTF-8, which a FAT cannot hold");
        };
        let last = name.rsplit('/').next().unwrap_or(name);
        ensure!(
            allowed(last),
            "{place}: a FAT cannot hold this name; rename the file"
        );
        if let Some(other) = seen.insert(name.to_lowercase(), shown.to_owned()) {
            bail!(
                "{place}: differs only in case from {}, which is the same file on a FAT",
                other.display()
            );
        }
        let meta = entry.metadata()?;
        let parent = shown.parent().and_then(Path::to_str).unwrap_or_default();
        let size = if meta.is_dir() {
            contents.directories.entry(name.to_owned()).or_default();
            0
        } else if meta.is_file() {
            ensure!(
                meta.len() < 1 << 32,
                "{place}: a file of 4 GiB or more does not fit a FAT"
            );
            contents
                .directories
                .entry(parent.to_owned())
                .or_default()
                .push(path.to_owned());
            meta.len()
        } else {
            bail!("{place}: is neither file nor directory, which a FAT cannot hold");
        };
        contents
            .entries
            .push((size, last.encode_utf16().count() as u64));
    }
    Ok(contents)
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

/// Makes the file system of `partition` at its place in `image`, with `contents`.
/// Every time stamp on it is `epoch`, in UTC.
pub(crate) fn make(
    image: &Path,
    partition: &Partition,
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

    let drive = at_offset(image, partition.start);
    for (directory, files) in &contents.directories {
        if !directory.is_empty() {
            let args = ["-i".into(), drive.clone(), format!("::/{directory}").into()];
            run(Tool::Mmd, &args, &env, log).with_context(|| {
                format!("making {directory} on the partition {}", partition.name)
            })?;
        }
        for files in files.chunks(200) {
            let mut args: Vec<OsString> = vec!["-i".into(), drive.clone(), "-Q".into()];
            args.extend(files.iter().map(OsString::from));
            args.push(format!("::/{directory}").into());
            run(Tool::Mcopy, &args, &env, log).with_context(|| {
                format!(
                    "copying to /{directory} of the partition {}",
                    partition.name
                )
            })?;
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
        fs::write(dir.path().join("Config.txt"), "").unwrap();
        assert!(contents(dir.path(), "boot/firmware").is_ok());
        fs::write(dir.path().join("config.txt"), "").unwrap();
        let error = contents(dir.path(), "boot/firmware")
            .unwrap_err()
            .to_string();
        assert!(error.contains("only in case"), "{error}");
        fs::remove_file(dir.path().join("config.txt")).unwrap();
        std::os::unix::fs::symlink("x", dir.path().join("link")).unwrap();
        let error = contents(dir.path(), "boot/firmware")
            .unwrap_err()
            .to_string();
        assert!(error.contains("boot/firmware/link"), "{error}");
    }

    #[test]
    fn too_small_says_by_how_much() {
        let dir = tempfile::tempdir().unwrap();
        let file = fs::File::create(dir.path().join("kernel8.img")).unwrap();
        file.set_len(50 << 20).unwrap();
        let contents = contents(dir.path(), "boot/firmware").unwrap();
        let error = contents.check_fits(&partition(40)).unwrap_err().to_string();
        assert!(error.contains("too small by"), "{error}");
        assert!(contents.check_fits(&partition(64)).is_ok());
    }
}
