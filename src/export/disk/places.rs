//! Where the partitions' files are in the tree.

use super::layout::{Layout, Partition, Role};
use crate::base::inside::{Dir, Root};
use anyhow::{Context, Result, anyhow};
use std::path::PathBuf;

/// The directory of each partition, held open: what was measured, what goes into the image and
/// what is taken out of the tree afterwards is one and the same.
pub(crate) struct Places(Vec<(Partition, Dir)>);

impl Places {
    /// Opens the mount points of `layout`; those that are missing are made.
    ///
    /// # Errors
    /// When one is a link, or is reached by one: systemd mounts nothing there, so the image
    /// would start without that partition.
    pub(crate) fn open(root: &Root, layout: &Layout) -> Result<Self> {
        let place = |partition: &Partition| {
            let made = root.make_directory(partition.directory());
            let dir = made.map_err(|cause| {
                anyhow!(
                    "{cause:#}, so the partition for {} ({}) would not be mounted there; \
                     make it a directory, reached without links, in a stage",
                    partition.mount_point,
                    partition.size_key
                )
            })?;
            Ok((partition.clone(), dir))
        };
        layout
            .partitions
            .iter()
            .map(place)
            .collect::<Result<_>>()
            .map(Self)
    }

    /// The directory of `partition`.
    pub(crate) fn dir(&self, partition: &Partition) -> Result<&Dir> {
        let mut all = self.0.iter();
        all.find(|(other, _)| other.mount_point == partition.mount_point)
            .map(|(_, dir)| dir)
            .with_context(|| format!("finding the files of {}", partition.mount_point))
    }

    /// The mount points below that of `partition`, as paths from there: what is in them is
    /// other partitions' own.
    pub(crate) fn below(&self, partition: &Partition) -> Vec<PathBuf> {
        let others = self.0.iter().filter(|(other, _)| other.role != Role::Root);
        others
            .filter_map(|(other, _)| {
                let path = PathBuf::from(other.directory());
                let path = path.strip_prefix(partition.directory()).ok()?;
                (!path.as_os_str().is_empty()).then(|| path.to_owned())
            })
            .collect()
    }
}
