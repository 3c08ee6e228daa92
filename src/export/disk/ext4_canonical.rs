//! What mke2fs leaves to chance in a finished ext4, made the same every time.
//!
//! - The superblock counts what was written to make the file system; the count
//!   differs with the holes of the source files.
//! - A group that was used and given back while files were copied has its block
//!   bitmap written out, one that never was is marked uninitialised. Both say that
//!   the group is free; the mark is taken.
//! - mke2fs -d gives the root directory neither mode nor owner of the source.
//!
//! Format: as `ext4_times`, and bitmaps.rst.

use super::ext4_times::checksum;
use super::superblock::{Super, crc32c, has_copy, put};
use crate::base::bytes::{u16_at, u32_at};
use anyhow::{Context, Result};
use nix::sys::stat::FileStat;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

const INODE_UNINIT: u16 = 1;
const BLOCK_UNINIT: u16 = 2;

/// Puts the ext4 at byte `offset` of `image` in order. Its root directory gets mode
/// and owner of `source`.
pub(super) fn settle(image: &Path, offset: u64, source: &FileStat) -> Result<()> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(image)
        .with_context(|| format!("opening {}", image.display()))?;
    let sb = Super::read(&file, offset)?;
    own_root(&file, offset, &sb, source)?;
    free_groups(&file, offset, &sb)?;
    for group in (0..sb.groups).filter(|group| has_copy(*group)) {
        forget_writes(&file, superblock_at(offset, &sb, group), &sb)?;
    }
    Ok(())
}

fn superblock_at(offset: u64, sb: &Super, group: u64) -> u64 {
    match group {
        0 => offset + 1024,
        _ => offset + sb.start_of(group) * sb.block,
    }
}

/// Clears the count of kilobytes written, and mends the superblock's checksum.
fn forget_writes(file: &File, at: u64, sb: &Super) -> Result<()> {
    let mut s = [0; 1024];
    file.read_exact_at(&mut s, at)?;
    s[0x178..0x180].fill(0);
    if sb.checksummed {
        let sum = crc32c(!0, &s[..0x3fc]);
        put(&mut s, 0x3fc, sum);
    }
    file.write_all_at(&s, at)?;
    Ok(())
}

/// Marks groups of free blocks as uninitialised, in every copy of the descriptors.
fn free_groups(file: &File, offset: u64, sb: &Super) -> Result<()> {
    let size = usize::try_from(sb.descriptor)?;
    let mut table = vec![0; size * usize::try_from(sb.groups)?];
    let at = |group| offset + (sb.start_of(group) + 1) * sb.block;
    file.read_exact_at(&mut table, at(0))?;
    // The last group is never marked, and the first is never free.
    for group in 1..sb.groups.saturating_sub(1) {
        let start = usize::try_from(group)? * size;
        if !is_free(file, offset, sb, group, &table)? {
            continue;
        }
        let d = &mut table[start..start + size];
        let bitmap = block_at(d, 0, 0x20);
        let flags = u16_at(d, 0x12) | BLOCK_UNINIT;
        d[0x12..0x14].copy_from_slice(&flags.to_le_bytes());
        d[0x18..0x1a].fill(0);
        if size > 0x3a {
            d[0x38..0x3a].fill(0);
        }
        if sb.checksummed {
            let number = u32::try_from(group)?.to_le_bytes();
            d[0x1e..0x20].fill(0);
            let sum = crc32c(crc32c(sb.seed, &number), d).to_le_bytes();
            d[0x1e..0x20].copy_from_slice(&sum[..2]);
        }
        let zero = vec![0; usize::try_from(sb.block)?];
        file.write_all_at(&zero, offset + bitmap * sb.block)?;
    }
    for group in (0..sb.groups).filter(|group| has_copy(*group)) {
        file.write_all_at(&table, at(group))?;
    }
    Ok(())
}

/// Whether a group has no more blocks in use than an untouched one, by its bitmap.
fn is_free(file: &File, offset: u64, sb: &Super, group: u64, table: &[u8]) -> Result<bool> {
    let size = usize::try_from(sb.descriptor)?;
    let start = usize::try_from(group)? * size;
    let d = &table[start..start + size];
    let flags = u16_at(d, 0x12);
    // A group with inodes in use is one where mke2fs puts blocks, too.
    if flags & BLOCK_UNINIT != 0 || flags & INODE_UNINIT == 0 {
        return Ok(false);
    }
    let own = sb.start_of(group)..sb.start_of(group + 1);
    for other in table.chunks_exact(size) {
        let places =
            [(0, 0x20), (4, 0x24), (8, 0x28)].map(|(low, high)| block_at(other, low, high));
        if places.iter().any(|place| own.contains(place)) {
            return Ok(false);
        }
    }
    let mut bitmap = vec![0; usize::try_from(sb.blocks_per_group / 8)?];
    file.read_exact_at(&mut bitmap, offset + block_at(d, 0, 0x20) * sb.block)?;
    let overhead = if has_copy(group) {
        1 + (sb.groups * sb.descriptor).div_ceil(sb.block) + sb.reserved_descriptors
    } else {
        0
    };
    Ok((0u64..)
        .zip(
            bitmap
                .iter()
                .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)),
        )
        .all(|(block, used)| used == (block < overhead)))
}

fn block_at(descriptor: &[u8], low: usize, high: usize) -> u64 {
    let low = u64::from(u32_at(descriptor, low));
    if descriptor.len() >= 64 {
        low | u64::from(u32_at(descriptor, high)) << 32
    } else {
        low
    }
}

/// Mode and owner of the root directory, inode 2.
fn own_root(file: &File, offset: u64, sb: &Super, source: &FileStat) -> Result<()> {
    let mut d = vec![0; usize::try_from(sb.descriptor)?];
    let table = offset + (sb.start_of(0) + 1) * sb.block;
    file.read_exact_at(&mut d, table)?;
    let at = offset + block_at(&d, 8, 0x28) * sb.block + sb.inode_size as u64;
    let mut inode = vec![0; sb.inode_size];
    file.read_exact_at(&mut inode, at)?;
    let mode = u16_at(&inode, 0) & 0xf000 | u16::try_from(source.st_mode & 0o7777)?;
    inode[..2].copy_from_slice(&mode.to_le_bytes());
    for (id, low, high) in [(source.st_uid, 2, 0x78), (source.st_gid, 0x18, 0x7a)] {
        let id = id.to_le_bytes();
        inode[low..low + 2].copy_from_slice(&id[..2]);
        inode[high..high + 2].copy_from_slice(&id[2..]);
    }
    if sb.checksummed {
        checksum(&mut inode, 2, sb);
    }
    file.write_all_at(&inode, at)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    fn run(program: &str, args: &[&str]) -> String {
        let mut command = Command::new(program);
        command.env("E2FSPROGS_FAKE_TIME", "1700000000");
        let out = command.args(args).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{program}: {text}");
        text.into_owned()
    }

    /// Six groups, of which the middle ones are free.
    fn make(dir: &Path, name: &str) -> String {
        let image = dir.join(name).to_str().unwrap().to_owned();
        let features = "metadata_csum,64bit,^orphan_file,^metadata_csum_seed";
        let uuid = "11111111-2222-8333-8444-555555555555";
        let extended = format!("hash_seed={uuid},lazy_itable_init=1,nodiscard");
        let first = [
            "-q", "-text4", "-b4096", "-O", features, "-U", uuid, "-E", &extended,
        ];
        run("mke2fs", &[&first[..], &[&image, "640M"]].concat());
        image
    }

    /// What dumpe2fs says of groups 1 and 3, which mke2fs leaves free.
    fn free_groups(image: &str) -> Vec<String> {
        let text = run("dumpe2fs", &[image]);
        let lines = text.lines().map(str::to_owned);
        lines
            .filter(|line| line.starts_with("Group 1:") || line.starts_with("Group 3:"))
            .collect()
    }

    #[test]
    fn used_and_freed_groups_are_as_untouched_ones() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (make(dir.path(), "one"), make(dir.path(), "two"));
        let big = dir.path().join("big");
        std::fs::write(&big, vec![1; 460 << 20]).unwrap();
        let write = format!("write {} big", big.display());
        for request in [&write, "rm big", "set_super_value kbytes_written 4711"] {
            run("debugfs", &["-w", "-R", request, &two]);
        }
        let untouched = free_groups(&one);
        assert!(untouched.iter().all(|line| line.contains("BLOCK_UNINIT")));
        assert_ne!(untouched, free_groups(&two));
        let mode = std::fs::Permissions::from_mode(0o2750);
        std::fs::set_permissions(dir.path(), mode).unwrap();
        let source = nix::sys::stat::stat(dir.path()).unwrap();
        for image in [&one, &two] {
            settle(Path::new(image), 0, &source).unwrap();
            run("e2fsck", &["-fn", image]);
            assert_eq!(free_groups(image), untouched);
            let facts = run("dumpe2fs", &["-h", image]);
            assert!(!facts.contains("Lifetime writes"), "{facts}");
            let root = run("debugfs", &["-R", "stat <2>", image]);
            assert!(root.contains("Mode:  02750"), "{root}");
        }
    }
}
