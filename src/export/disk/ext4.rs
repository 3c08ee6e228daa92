//! ext4 file systems: sized from a tree, made by `mke2fs -d`.

use super::layout::{FileSystem, Partition};
use super::superblock::has_copy;
use super::tree::{BLOCK, Usage};
use super::{ext4_blocks, ext4_canonical, ext4_times, layout};
use crate::base::command::Program;
use crate::base::inside::Dir;
use crate::base::run::{Log, run};
use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;

/// Features known to e2fsprogs 1.47.0 and every kernel since 4.x; spelt out so
/// that no mke2fs.conf decides. `resize_inode` keeps room for growing online.
const FEATURES: &str = "has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,\
flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum";

/// Bytes of an inode.
const INODE: u64 = 256;

/// Blocks of a block group.
const GROUP: u64 = 32768;

/// Blocks the file system can grow to online without new descriptors: 1 TiB.
const LARGEST: u64 = (1 << 40) / BLOCK;

/// Blocks kept for descriptors at growth, in each copy of the table.
const RESERVED_DESCRIPTORS: u64 = 160;

/// Percentage of blocks only root may use.
const RESERVED_PERCENT: u64 = 1;

/// The programs that make it.
#[derive(Debug, Clone)]
pub struct Ext4 {
    /// Makes the file system.
    pub mke2fs: Program,
    /// Changes it.
    pub debugfs: Program,
}

/// Size and inode count of a root file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// Bytes, a multiple of the partition alignment.
    pub(crate) bytes: u64,
    pub(crate) inodes: u64,
}

/// What holds `usage` and leaves `margin` bytes free: metadata and the blocks
/// reserved for root come on top.
pub(crate) fn size(usage: Usage, margin: u64) -> Size {
    let inodes = (usage.inodes + usage.inodes / 10 + 10_000).next_multiple_of(1024);
    let wanted = contents(usage) + margin.div_ceil(BLOCK);
    let mut blocks = wanted;
    loop {
        let next = (wanted + metadata(blocks, inodes)) * 100 / (100 - RESERVED_PERCENT) + 1;
        if next <= blocks {
            break;
        }
        blocks = next;
    }
    Size {
        bytes: (blocks * BLOCK).next_multiple_of(layout::ALIGNMENT),
        inodes,
    }
}

/// Blocks of `usage`, with one percent for fragments and estimates, and some for
/// lost+found.
fn contents(usage: Usage) -> u64 {
    usage.blocks + usage.blocks / 100 + 64
}

/// Inodes for a file system of `partition`'s size that holds `usage`: one for 16 KiB,
/// or as many as the files need.
///
/// # Errors
/// When `usage` does not fit, with by how much.
pub(crate) fn inodes_if_it_fits(usage: Usage, partition: &Partition) -> Result<u64> {
    let inodes = (partition.size / 16384).max(usage.inodes + usage.inodes / 10 + 64);
    let blocks = partition.size / BLOCK;
    let usable = blocks * (100 - RESERVED_PERCENT) / 100;
    let needed = contents(usage) + metadata(blocks, inodes);
    ensure!(
        needed <= usable,
        "the partition for {} is too small by {} KiB: its files and the file system itself need \
         {} MiB, it has {} MiB; raise {}",
        partition.mount_point,
        (needed - usable) * BLOCK / 1024,
        (needed * BLOCK).div_ceil(1 << 20),
        (usable * BLOCK) >> 20,
        partition.size_key
    );
    Ok(inodes)
}

/// Blocks of metadata in a file system of `blocks` blocks.
fn metadata(blocks: u64, inodes: u64) -> u64 {
    let groups = blocks.div_ceil(GROUP).max(1);
    let descriptors = (groups * 64).div_ceil(BLOCK) + RESERVED_DESCRIPTORS + 1;
    let tables = groups * ((inodes.div_ceil(groups) + 16) * INODE).div_ceil(BLOCK);
    groups * 2 + tables + copies(groups) * descriptors + journal(blocks * BLOCK) / BLOCK + 64
}

/// Copies of the superblock; the second is counted even where there is no such group.
fn copies(groups: u64) -> u64 {
    (0..groups.max(2)).filter(|group| has_copy(*group)).count() as u64
}

/// Bytes of the journal for a file system of `bytes`; it does not grow later.
fn journal(bytes: u64) -> u64 {
    if bytes >= 512 << 20 {
        64 << 20
    } else if bytes >= 64 << 20 {
        16 << 20
    } else {
        4 << 20
    }
}

/// Makes the file system of `partition` at its place in `image` from the tree
/// `source`. `epoch` bounds every time stamp.
pub(crate) fn make(
    programs: &Ext4,
    image: &Path,
    partition: &Partition,
    source: &Dir,
    scratch: &Path,
    epoch: i64,
    log: Log<'_>,
) -> Result<()> {
    let conf = scratch.join("mke2fs.conf");
    fs::write(&conf, CONF).with_context(|| format!("writing {}", conf.display()))?;
    let lent = source.lend()?;
    let args = arguments(partition, lent.path(), image)?;
    let mut env = vec![
        ("MKE2FS_CONFIG", conf.display().to_string()),
        ("SOURCE_DATE_EPOCH", epoch.to_string()),
        ("E2FSPROGS_FAKE_TIME", epoch.to_string()),
        // The journal's zeros are written, not left as a hole, which a block map would leave
        // out: an old journal on the card could be replayed after a crash.
        ("UNIX_IO_NOZEROOUT", "1".to_owned()),
    ];
    let library = library(scratch)?;
    if let Some(library) = &library {
        env.push(("LD_PRELOAD", preload(library)));
    }
    let place = &partition.mount_point;
    run(programs.mke2fs.clone(), &args, &env, log)
        .with_context(|| format!("making the file system of {place}"))?;
    env.retain(|(name, _)| *name != "LD_PRELOAD");
    let (debugfs, at) = (programs.debugfs.clone(), (image, partition.start));
    ext4_blocks::keep(debugfs, source, at, scratch, &env, log)
        .with_context(|| format!("keeping the blocks of files in {place}"))?;
    ext4_times::clamp(image, partition.start, epoch)
        .with_context(|| format!("setting the time stamps of {place}"))?;
    ext4_canonical::settle(image, partition.start, &source.own_metadata()?)
        .with_context(|| format!("putting the file system of {place} in order"))
}

/// What mke2fs is told: everything, so that no default decides.
fn arguments(partition: &Partition, source: &Path, image: &Path) -> Result<Vec<OsString>> {
    let FileSystem::Ext4 {
        uuid,
        hash_seed,
        label,
        inodes,
    } = &partition.file_system
    else {
        bail!("formatting a partition that is not ext4 as ext4");
    };
    // Inode tables stay unwritten, marked so: the kernel clears them in the
    // background, which is also right on a card where holes were not written.
    let extended = format!(
        "offset={},hash_seed={hash_seed},root_owner=0:0,lazy_itable_init=1,\
         lazy_journal_init=0,nodiscard,resize={LARGEST}",
        partition.start
    );
    let journal = format!("size={}", journal(partition.size) >> 20);
    let features = format!("none,{FEATURES}");
    let reserved = RESERVED_PERCENT.to_string();
    let inodes = inodes.to_string();
    let blocks = (partition.size / BLOCK).to_string();
    let fixed = "-q -F -t ext4 -T default -b 4096 -I 256 -g 32768";
    let mut args: Vec<OsString> = fixed.split(' ').map(OsString::from).collect();
    for (flag, value) in [
        ("-N", inodes.as_str()),
        ("-m", &reserved),
        ("-O", &features),
        ("-E", &extended),
        ("-J", &journal),
        ("-U", uuid),
        ("-L", label),
        ("-e", "continue"),
    ] {
        args.extend([flag, value].map(OsString::from));
    }
    args.extend(["-d".into(), source.into(), image.into(), blocks.into()]);
    Ok(args)
}

/// `mke2fs_io`, compiled; empty where the C library is not the one it is for.
const IO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mke2fs_io.so"));

/// Whether this processor has the instruction that `mke2fs_io` uses.
fn counts_in_hardware() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("sse4.2");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("crc");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// `mke2fs_io` as an open file that a child process inherits, if it can be used here.
fn library(scratch: &Path) -> Result<Option<File>> {
    if IO.is_empty() || !counts_in_hardware() {
        return Ok(None);
    }
    let path = scratch.join("mke2fs_io.so");
    fs::write(&path, IO).with_context(|| format!("writing {}", path.display()))?;
    let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
    fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty()))
        .with_context(|| format!("passing on {}", path.display()))?;
    Ok(Some(file))
}

/// The value of `LD_PRELOAD` that adds `library` to what the user has there. By its number,
/// since a path in that variable cannot have spaces.
fn preload(library: &File) -> String {
    let theirs = std::env::var("LD_PRELOAD").unwrap_or_default();
    let ours = format!("/proc/self/fd/{}", library.as_raw_fd());
    format!("{theirs} {ours}").trim().to_owned()
}

/// Stands in for the host's mke2fs.conf: nothing by default.
const CONF: &str = "[defaults]
\tbase_features = none
\tdefault_mntopts = acl,user_xattr
\tenable_periodic_fsck = 0
\tblocksize = 4096
\tinode_size = 256
\tinode_ratio = 16384

[fs_types]
\text4 = {
\t}
\tdefault = {
\t}
\tsmall = {
\t}
";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn size_covers_contents_and_margin() {
        let usage = Usage {
            blocks: 100_000,
            inodes: 50_000,
        };
        let size = size(usage, 200 << 20);
        assert!(size.bytes > 100_000 * BLOCK + (200 << 20) + 65_000 * INODE);
        assert_eq!(size.bytes % layout::ALIGNMENT, 0);
        assert!(size.inodes >= 65_000);
    }

    #[test]
    fn too_small_says_by_how_much() {
        let disk = crate::config::Disk {
            data_size: Some(16 << 20),
            ..Default::default()
        };
        let layout = layout::Layout::new(&layout::Identity::new(1, "a"), &disk, 1 << 26);
        let data = layout.partitions.last().unwrap();
        let usage = |mib: u64| Usage {
            blocks: (mib << 20) / BLOCK,
            inodes: 10,
        };
        assert!(inodes_if_it_fits(usage(1), data).unwrap() >= 1024);
        let error = inodes_if_it_fits(usage(20), data).unwrap_err().to_string();
        assert!(
            error.contains("too small by") && error.contains("raise DATA_SIZE"),
            "{error}"
        );
    }

    #[test]
    fn the_library_changes_nothing_but_the_time_it_takes() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::create_dir(&source).unwrap();
        let noise: Vec<u8> = (0u32..3_000_000)
            .map(|n| (n.wrapping_mul(n) >> 9) as u8)
            .collect();
        for (name, length) in [("empty", 0), ("small", 100), ("big", noise.len())] {
            fs::write(source.join(name), &noise[..length]).unwrap();
        }
        let hole = File::create(source.join("hole")).unwrap();
        hole.set_len(9_000_000).unwrap();
        hole.write_all_at(&noise[..70_000], 5_000_000).unwrap();
        let image = |name: &str, preload: Option<String>| {
            let path = dir.path().join(name);
            let uuid = "11111111-2222-4333-8444-555555555555";
            let mut command = std::process::Command::new("mke2fs");
            command.env("E2FSPROGS_FAKE_TIME", "1700000000");
            command.env("UNIX_IO_NOZEROOUT", "1");
            command.args(["-q", "-t", "ext4", "-O", "metadata_csum", "-U", uuid]);
            command.args(["-E", &format!("hash_seed={uuid},nodiscard"), "-d"]);
            command.arg(&source).arg(&path).arg("40M");
            if let Some(preload) = preload {
                command.env("LD_PRELOAD", preload);
            }
            let out = command.output().unwrap();
            assert!(out.status.success(), "{out:?}");
            // What the loader says when it cannot load it.
            let words = String::from_utf8_lossy(&out.stderr).into_owned();
            assert!(!words.contains("preload"), "{words}");
            fs::read(path).unwrap()
        };
        let scratch = dir.path().join("a place+");
        fs::create_dir(&scratch).unwrap();
        let Some(library) = library(&scratch).unwrap() else {
            return;
        };
        // mke2fs takes the times of access over, and the first reading changes them.
        std::thread::sleep(std::time::Duration::from_millis(20));
        image("first", None);
        let with = image("with", Some(preload(&library)));
        assert!(with == image("without", None));
    }

    #[test]
    fn superblock_copies() {
        // Groups 0, 1, 3, 5, 7, 9 of ten.
        assert_eq!((copies(10), copies(1)), (6, 2));
    }
}
