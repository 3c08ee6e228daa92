//! From a tree to a raw disk: layout, file systems, partition table.

pub mod ext4;
mod ext4_blocks;
pub mod ext4_canonical;
pub mod ext4_times;
pub mod fat;
pub mod layout;
pub mod partition;
pub mod placeholders;
pub mod places;
pub mod read_only;
pub(crate) mod superblock;
pub mod tree;
