//! How the image is divided: `PARTITION_TABLE`, `ROOT_FILESYSTEM`, `DATA_SIZE`,
//! `EXTRA_PARTITIONS`.

use super::reader::Reader;
use super::values::{Fault, one_of, size};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What the config says of the partitions besides their sizes' defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The kind of partition table.
    pub table: TableKind,
    /// The format of the root partition.
    pub root: RootKind,
    /// A partition of its own for `/data`, bytes.
    pub data_size: Option<u64>,
    /// Further partitions, in their order on the disk.
    pub extra: Vec<Extra>,
}

/// `PARTITION_TABLE`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TableKind {
    /// `mbr`.
    #[default]
    Mbr,
    /// `gpt`.
    Gpt,
}

/// `ROOT_FILESYSTEM`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootKind {
    /// `ext4`: read and written.
    #[default]
    Ext4,
    /// `squashfs`: compressed, read only.
    Squashfs,
    /// `erofs`: compressed, read only.
    Erofs,
}

impl RootKind {
    /// As mount and the kernel's command line call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
        }
    }

    /// Whether the running system finds a layer in memory over it.
    pub fn is_read_only(self) -> bool {
        self != Self::Ext4
    }
}

/// One of `EXTRA_PARTITIONS`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extra {
    /// Label of the file system, and name in a GPT.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// How it is formatted.
    pub format: ExtraFormat,
    /// Absolute path in the image; what the tree has there goes onto the partition.
    pub mount_point: String,
}

/// How an extra partition is formatted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExtraFormat {
    /// `ext4`.
    Ext4,
    /// `vfat`, which is FAT32.
    Vfat,
}

/// The smallest ext4 that leaves room for files beside journal and metadata.
const LEAST_EXT4: u64 = 16 << 20;
/// FAT32 needs 65525 clusters.
const LEAST_FAT: u64 = 36 << 20;

/// All four keys.
pub(super) fn read(reader: &mut Reader<'_>) -> Disk {
    Disk {
        table: reader.at("PARTITION_TABLE").value(table),
        root: reader.at("ROOT_FILESYSTEM").value(root),
        data_size: reader.at("DATA_SIZE").optional(data_size),
        extra: reader.at("EXTRA_PARTITIONS").value(extra),
    }
}

fn table(text: &str) -> Result<TableKind, Fault> {
    one_of(text, &[("mbr", TableKind::Mbr), ("gpt", TableKind::Gpt)])
}

fn root(text: &str) -> Result<RootKind, Fault> {
    if text == "btrfs" {
        let cause = "no two builds give the same btrfs: mkfs.btrfs numbers files in the order \
                     in which a directory lists them";
        return Err((cause.to_owned(), "write ext4, squashfs or erofs".to_owned()));
    }
    let kinds = [RootKind::Ext4, RootKind::Squashfs, RootKind::Erofs];
    one_of(text, &kinds.map(|kind| (kind.name(), kind)))
}

fn data_size(text: &str) -> Result<u64, Fault> {
    at_least(text, LEAST_EXT4)
}

fn at_least(text: &str, least: u64) -> Result<u64, Fault> {
    let bytes = size(text)?;
    if bytes < least {
        let remedy = format!("write {}M or more", least >> 20);
        return Err((
            format!("{text} is too small for the file system itself"),
            remedy,
        ));
    }
    Ok(bytes)
}

/// `NAME:SIZE:ext4|vfat:MOUNTPOINT`, separated by spaces.
fn extra(text: &str) -> Result<Vec<Extra>, Fault> {
    let list: Vec<_> = text
        .split_whitespace()
        .map(one_extra)
        .collect::<Result<_, _>>()?;
    let mut seen = BTreeSet::from(["/data", "/boot/firmware", "data", "bootfs", "rootfs"]);
    for part in &list {
        for word in [part.mount_point.as_str(), part.name.as_str()] {
            if !seen.insert(word) {
                let remedy = "give each partition its own name and mount point; /data is DATA_SIZE";
                return Err((format!("{word} is taken"), remedy.to_owned()));
            }
        }
    }
    Ok(list)
}

fn one_extra(word: &str) -> Result<Extra, Fault> {
    let form = "write NAME:SIZE:ext4:/MOUNT/POINT, or vfat for ext4";
    let wrong = |what: String| (what, form.to_owned());
    let [name, bytes, format, mount_point] = word.split(':').collect::<Vec<_>>()[..] else {
        return Err(wrong(format!(
            "{word} must have four parts, with colons between them"
        )));
    };
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    // A FAT's label has 11 bytes.
    if name.is_empty() || name.len() > 11 || !name.chars().all(letters) {
        let remedy = "use up to 11 small letters, digits, - and _";
        return Err((format!("{name:?} cannot be a label"), remedy.to_owned()));
    }
    let format = one_of(
        format,
        &[("ext4", ExtraFormat::Ext4), ("vfat", ExtraFormat::Vfat)],
    )?;
    let least = match format {
        ExtraFormat::Ext4 => LEAST_EXT4,
        ExtraFormat::Vfat => LEAST_FAT,
    };
    let plain = mount_point
        .strip_prefix('/')
        .is_some_and(|path| path.split('/').all(|part| !matches!(part, "" | "." | "..")));
    // What is needed before other file systems are mounted must be in the root's.
    let early = [
        "/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/run", "/sbin", "/sys", "/usr",
    ];
    if !plain || early.contains(&mount_point) {
        return Err((
            format!("{mount_point} cannot be a mount point"),
            "use an absolute path that the start of the system does not need, such as /srv".into(),
        ));
    }
    Ok(Extra {
        name: name.to_owned(),
        size: at_least(bytes, least)?,
        format,
        mount_point: mount_point.to_owned(),
    })
}

impl Disk {
    /// What does not fit the partition table, whatever is in the image.
    pub(super) fn contradiction(&self, boot_size: u64) -> Option<Fault> {
        let partitions = 2 + self.extra.len() + usize::from(self.data_size.is_some());
        let remedy = "set PARTITION_TABLE=gpt";
        if self.table == TableKind::Gpt {
            return None;
        }
        if partitions > 4 {
            let what = format!(
                "{partitions} partitions are {} more than an MBR holds",
                partitions - 4
            );
            return Some((what, remedy.to_owned()));
        }
        let extra: u64 = self.extra.iter().map(|part| part.size).sum();
        let bytes = boot_size
            .saturating_add(extra)
            .saturating_add(self.data_size.unwrap_or(0));
        let over = bytes.checked_sub(2 << 40).filter(|over| *over > 0)?;
        let what = format!(
            "the partitions are {} MiB beyond the 2 TiB of an MBR",
            over.div_ceil(1 << 20)
        );
        Some((what, remedy.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_partitions_are_judged() {
        let list = extra("srv:64M:ext4:/srv share:40M:vfat:/home/share").unwrap();
        assert_eq!(
            (list[0].size, list[1].format),
            (64 << 20, ExtraFormat::Vfat)
        );
        assert_eq!(list[1].mount_point, "/home/share");
        for (text, remedy) in [
            ("srv:64M:ext4", "NAME:SIZE"),
            ("srv:64M:ext3:/srv", "did you mean ext4?"),
            ("srv:1M:ext4:/srv", "write 16M or more"),
            ("srv:16M:vfat:/srv", "write 36M or more"),
            ("srv:64M:ext4:srv", "absolute path"),
            ("srv:64M:ext4:/etc", "absolute path"),
            ("srv:64M:ext4:/a/../b", "absolute path"),
            ("a_name_too_long:64M:ext4:/srv", "11 small letters"),
            ("a:64M:ext4:/srv b:64M:ext4:/srv", "its own name"),
            ("a:64M:ext4:/data", "DATA_SIZE"),
        ] {
            let (what, given) = extra(text).unwrap_err();
            assert!(given.contains(remedy), "{text}: {what}; {given}");
        }
    }

    #[test]
    fn an_mbr_has_limits() {
        let extra = extra("a:16M:ext4:/a b:16M:ext4:/b").unwrap();
        let mut disk = Disk {
            data_size: Some(16 << 20),
            extra,
            ..Disk::default()
        };
        let (what, _) = disk.contradiction(1 << 29).unwrap();
        assert!(what.contains("5 partitions are 1 more"), "{what}");
        disk.extra.clear();
        disk.data_size = Some(2 << 40);
        let (what, _) = disk.contradiction(1 << 29).unwrap();
        assert!(what.contains("512 MiB beyond"), "{what}");
        disk.table = TableKind::Gpt;
        assert_eq!(disk.contradiction(1 << 29), None);
    }
}
