//! The image's partitions as data, and the identifiers derived for them.

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
}

/// What the system uses a partition for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Read by the firmware, mounted at `/boot/firmware`.
    Boot,
    /// The root file system.
    Root,
}

/// How a partition is formatted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileSystem {
    Fat32 {
        serial: u32,
        label: &'static str,
    },
    Ext4 {
        uuid: String,
        hash_seed: String,
        label: &'static str,
        /// Inodes to make.
        inodes: u64,
    },
}

/// One partition; `start` and `size` in bytes, multiples of [`ALIGNMENT`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) role: Role,
    pub(crate) start: u64,
    pub(crate) size: u64,
    pub(crate) file_system: FileSystem,
}

/// The whole image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) table: Table,
    /// In the order of their numbers, the first being number 1.
    pub(crate) partitions: Vec<Partition>,
}

impl Layout {
    /// The default: MBR, FAT32 boot, ext4 root. Sizes in bytes, rounded up.
    pub(crate) fn boot_and_root(
        identity: &Identity,
        boot_size: u64,
        root_size: u64,
        inodes: u64,
    ) -> Self {
        let boot = Partition {
            role: Role::Boot,
            start: ALIGNMENT,
            size: boot_size.next_multiple_of(ALIGNMENT),
            file_system: FileSystem::Fat32 {
                serial: identity.number("boot serial"),
                label: "bootfs",
            },
        };
        let root = Partition {
            role: Role::Root,
            start: boot.start + boot.size,
            size: root_size.next_multiple_of(ALIGNMENT),
            file_system: FileSystem::Ext4 {
                uuid: identity.uuid("root uuid"),
                hash_seed: identity.uuid("root hash seed"),
                label: "rootfs",
                inodes,
            },
        };
        Self {
            table: Table::Mbr {
                signature: identity.number("disk"),
            },
            partitions: vec![boot, root],
        }
    }

    /// The image's size, bytes.
    pub(crate) fn size(&self) -> u64 {
        let end = |p: &Partition| p.start + p.size;
        self.partitions
            .iter()
            .map(end)
            .max()
            .unwrap_or(0)
            .max(ALIGNMENT)
    }

    /// `PARTUUID=…` of the partition with `role`, as fstab and the kernel spell it.
    pub(crate) fn source(&self, role: Role) -> Option<String> {
        let number = self.partitions.iter().position(|p| p.role == role)? + 1;
        let Table::Mbr { signature } = &self.table;
        Some(format!("PARTUUID={signature:08x}-{number:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let layout = Layout::boot_and_root(&Identity::new(1, "a"), 5 << 20, 9 << 20, 100);
        assert_eq!(layout.partitions[1].start, 12 << 20);
        assert_eq!(layout.size(), 24 << 20);
        assert!(layout.source(Role::Root).unwrap().ends_with("-02"));
    }
}
