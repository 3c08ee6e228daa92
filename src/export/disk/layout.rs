//! The image's partitions as data, and the identifiers derived for them.

use crate::config::{Disk, ExtraFormat, RootKind, TableKind};
use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

/// Partitions begin and end on multiples of this, bytes.
pub(crate) const ALIGNMENT: u64 = 4 << 20;

/// Bytes of a sector of the partition table.
pub(crate) const SECTOR: u64 = 512;

/// What all identifiers of an image are derived from, so that the same image
/// gets the same ones again.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    seed: String,
}

impl Identity {
    /// Identity of the image `name` made for `epoch` (seconds since 1970).
    pub(crate) fn new(epoch: i64, name: &str) -> Self {
        Self {
            seed: format!("westwork-gen\0{epoch}\0{name}"),
        }
    }

    /// 32 bits for `purpose`, never zero (zero means "no signature").
    pub(crate) fn number(&self, purpose: &str) -> u32 {
        let b = self.bytes(purpose);
        u32::from_be_bytes([b[0], b[1], b[2], b[3]]).max(1)
    }

    /// A UUID for `purpose`, marked as version 8 (RFC 9562: content is the maker's).
    pub(crate) fn uuid(&self, purpose: &str) -> String {
        let mut b = self.bytes(purpose);
        b[6] = (b[6] & 0x0f) | 0x80;
        b[8] = (b[8] & 0x3f) | 0x80;
        let hex = hex::encode(b);
        let (a, b, c, d, e) = (
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..],
        );
        format!("{a}-{b}-{c}-{d}-{e}")
    }

    /// A partition of the image, of which `facts` are its role, name, mount point, size and the
    /// key that its size comes from.
    fn partition(
        &self,
        facts: (Role, &str, &str, u64, &'static str),
        file_system: FileSystem,
    ) -> Partition {
        let (role, name, mount_point, size, size_key) = facts;
        Partition {
            role,
            name: name.to_owned(),
            guid: self.uuid(&format!("{name} partition")),
            mount_point: mount_point.to_owned(),
            start: 0,
            size: size.next_multiple_of(ALIGNMENT),
            size_key,
            file_system,
        }
    }

    fn ext4(&self, purpose: &str, label: &str) -> FileSystem {
        FileSystem::Ext4 {
            uuid: self.uuid(&format!("{purpose} uuid")),
            hash_seed: self.uuid(&format!("{purpose} hash seed")),
            label: label.to_owned(),
            inodes: 0,
        }
    }

    fn fat(&self, purpose: &str, label: &str) -> FileSystem {
        FileSystem::Fat32 {
            serial: self.number(&format!("{purpose} serial")),
            label: label.to_owned(),
        }
    }

    fn bytes(&self, purpose: &str) -> [u8; 16] {
        let digest = Sha256::digest(format!("{}\0{purpose}", self.seed));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        bytes
    }
}

/// The partition table's format and its own identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Table {
    /// Four primary entries; `signature` is the disk's number at offset 440.
    Mbr { signature: u32 },
    /// UEFI specification, chapter 5; `guid` is the disk's.
    Gpt { guid: String },
}

/// What the system uses a partition for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Read by the firmware, mounted at `/boot/firmware`.
    Boot,
    /// The root file system.
    Root,
    /// Anything mounted elsewhere.
    Other,
}

/// How a partition is formatted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileSystem {
    Fat32 {
        serial: u32,
        label: String,
    },
    Ext4 {
        uuid: String,
        hash_seed: String,
        label: String,
        /// Inodes to make; 0 until the contents have been measured.
        inodes: u64,
    },
    Squashfs,
    Erofs {
        uuid: String,
    },
}

impl FileSystem {
    /// As fstab calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Fat32 { .. } => "vfat",
            Self::Ext4 { .. } => RootKind::Ext4.name(),
            Self::Squashfs => RootKind::Squashfs.name(),
            Self::Erofs { .. } => RootKind::Erofs.name(),
        }
    }
}

/// One partition; `start` and `size` in bytes, multiples of [`ALIGNMENT`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) role: Role,
    /// Name in a GPT, and the file system's label.
    pub(crate) name: String,
    /// GUID of its own in a GPT.
    pub(crate) guid: String,
    /// Absolute path in the running system.
    pub(crate) mount_point: String,
    /// 0 until [`Layout::place`].
    pub(crate) start: u64,
    /// 0 where the contents decide, until they have been measured.
    pub(crate) size: u64,
    /// The config key that its size comes from.
    pub(crate) size_key: &'static str,
    pub(crate) file_system: FileSystem,
}

impl Partition {
    /// Its directory in the tree, relative to the root.
    pub(crate) fn directory(&self) -> &str {
        self.mount_point.trim_start_matches('/')
    }
}

/// The whole image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) table: Table,
    /// In the order of their numbers, the first being number 1.
    pub(crate) partitions: Vec<Partition>,
}

impl Layout {
    /// The partitions of `disk`, with their identifiers; not placed yet. The one
    /// that grows at first boot is the last: `/data`, else the root.
    pub(crate) fn new(identity: &Identity, disk: &Disk, boot_size: u64) -> Self {
        let boot = (
            Role::Boot,
            "bootfs",
            "/boot/firmware",
            boot_size,
            "BOOT_SIZE",
        );
        let mut partitions = vec![identity.partition(boot, identity.fat("boot", "bootfs"))];
        for extra in &disk.extra {
            let name = extra.name.as_str();
            let format = match extra.format {
                ExtraFormat::Ext4 => identity.ext4(name, name),
                ExtraFormat::Vfat => identity.fat(name, name),
            };
            let place = extra.mount_point.as_str();
            let facts = (Role::Other, name, place, extra.size, "EXTRA_PARTITIONS");
            partitions.push(identity.partition(facts, format));
        }
        let root = match disk.root {
            RootKind::Ext4 => identity.ext4("root", "rootfs"),
            RootKind::Squashfs => FileSystem::Squashfs,
            RootKind::Erofs => FileSystem::Erofs {
                uuid: identity.uuid("root uuid"),
            },
        };
        let root = identity.partition((Role::Root, "rootfs", "/", 0, "ROOT_MARGIN"), root);
        match disk.data_size {
            Some(size) => {
                partitions.insert(1, root);
                let data = (Role::Other, "data", "/data", size, "DATA_SIZE");
                partitions.push(identity.partition(data, identity.ext4("data", "data")));
            }
            None => partitions.push(root),
        }
        let table = match disk.table {
            TableKind::Mbr => Table::Mbr {
                signature: identity.number("disk"),
            },
            TableKind::Gpt => Table::Gpt {
                guid: identity.uuid("disk"),
            },
        };
        Self { table, partitions }
    }

    /// Puts the partitions, whose sizes are known now, one after the other.
    ///
    /// # Errors
    /// What the partition table cannot hold, and by how much.
    pub(crate) fn place(&mut self) -> Result<()> {
        let mut at = ALIGNMENT;
        for partition in &mut self.partitions {
            partition.size = partition.size.next_multiple_of(ALIGNMENT);
            partition.start = at;
            at = at
                .checked_add(partition.size)
                .with_context(|| format!("placing the partition {}", partition.name))?;
        }
        if let Table::Mbr { .. } = self.table {
            ensure!(
                self.partitions.len() <= 4,
                "an MBR holds 4 partitions, {} less than these; set PARTITION_TABLE=gpt",
                self.partitions.len() - 4
            );
            ensure!(
                at <= 2 << 40,
                "the partitions end {} MiB beyond the 2 TiB of an MBR; set PARTITION_TABLE=gpt",
                (at - (2 << 40)).div_ceil(1 << 20)
            );
        }
        Ok(())
    }

    /// The image's size, bytes; with room for the copy of a GPT at its end.
    pub(crate) fn size(&self) -> u64 {
        let end = self.partitions.iter().map(|p| p.start + p.size).max();
        let end = end.unwrap_or(0).max(ALIGNMENT);
        match self.table {
            Table::Mbr { .. } => end,
            Table::Gpt { .. } => end + ALIGNMENT,
        }
    }

    /// The partition with `role`, if there is one.
    pub(crate) fn find(&self, role: Role) -> Option<&Partition> {
        self.partitions.iter().find(|p| p.role == role)
    }

    /// `PARTUUID=…` of a partition of this layout, as fstab and the kernel spell it.
    pub(crate) fn source(&self, partition: &Partition) -> String {
        match &self.table {
            Table::Mbr { signature } => {
                let number = self
                    .partitions
                    .iter()
                    .take_while(|p| p.name != partition.name)
                    .count()
                    + 1;
                format!("PARTUUID={signature:08x}-{number:02x}")
            }
            Table::Gpt { .. } => format!("PARTUUID={}", partition.guid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Extra;

    #[test]
    fn same_image_same_identifiers() {
        let a = Identity::new(1, "a");
        assert_eq!(a.uuid("x"), Identity::new(1, "a").uuid("x"));
        assert_ne!(a.uuid("x"), a.uuid("y"));
        assert_ne!(a.number("x"), Identity::new(2, "a").number("x"));
        assert_eq!(a.uuid("x").len(), 36);
    }

    #[test]
    fn partitions_follow_each_other() {
        let mut layout = Layout::new(&Identity::new(1, "a"), &Disk::default(), 5 << 20);
        layout.partitions[1].size = 9 << 20;
        layout.place().unwrap();
        assert_eq!(layout.partitions[1].start, 12 << 20);
        assert_eq!(layout.size(), 24 << 20);
        let root = layout.find(Role::Root).unwrap();
        assert!(layout.source(root).ends_with("-02"));
    }

    #[test]
    fn what_grows_is_last() {
        let mut disk = Disk {
            extra: vec![Extra {
                name: "srv".into(),
                size: 1 << 24,
                format: ExtraFormat::Vfat,
                mount_point: "/srv".into(),
            }],
            ..Disk::default()
        };
        let names = |disk: &Disk| {
            let layout = Layout::new(&Identity::new(1, "a"), disk, 1);
            let names: Vec<_> = layout.partitions.iter().map(|p| p.name.clone()).collect();
            names.join(" ")
        };
        assert_eq!(names(&disk), "bootfs srv rootfs");
        disk.data_size = Some(1 << 24);
        assert_eq!(names(&disk), "bootfs rootfs srv data");
    }

    #[test]
    fn an_mbr_ends_at_two_tebibytes() {
        let mut layout = Layout::new(&Identity::new(1, "a"), &Disk::default(), 4 << 20);
        layout.partitions[1].size = 2 << 40;
        let error = layout.place().unwrap_err().to_string();
        assert!(error.contains("end 8 MiB beyond"), "{error}");
    }
}
