//! Everything in a tree, one after another.

use super::{Inode, Kind, Tree};
use anyhow::{Context, Result, ensure};
use std::collections::HashSet;

/// Files of a tree, and bytes of the paths of directories that wait; more is no root file
/// system that anybody made.
const MOST: usize = 4_000_000;
const LONGEST_PATHS: usize = 32 << 20;

impl Tree {
    /// Visits everything below `/`, in byte order within a directory, and a directory before what
    /// is in it. Paths begin with `/`. What mke2fs makes for e2fsck is left out.
    ///
    /// # Errors
    /// When something cannot be read, a directory is at two places, or `visit` fails.
    pub(crate) fn walk(&self, mut visit: impl FnMut(&[u8], &Inode) -> Result<()>) -> Result<()> {
        let root = self.inode(self.root())?;
        let mut seen = HashSet::from([root.number]);
        let mut open = vec![(Vec::new(), root)];
        let (mut files, mut bytes) = (0, 0);
        while let Some((path, directory)) = open.pop() {
            bytes -= path.len();
            let below = open.len();
            let shown = || format!("reading {}/", String::from_utf8_lossy(&path));
            for (name, number) in self.list(&directory).with_context(shown)? {
                let path = [&path[..], b"/", &name].concat();
                if path == b"/lost+found" {
                    continue;
                }
                files += 1;
                ensure!(files <= MOST, "the tree has more than {MOST} files");
                let inode = self
                    .inode(number)
                    .with_context(|| format!("reading {}", String::from_utf8_lossy(&path)))?;
                visit(&path, &inode)?;
                if inode.kind == Kind::Directory {
                    ensure!(
                        seen.insert(number),
                        "{} is at another place as well",
                        String::from_utf8_lossy(&path)
                    );
                    bytes += path.len();
                    ensure!(bytes <= LONGEST_PATHS, "the tree's paths are too long");
                    open.push((path, inode));
                }
            }
            open[below..].reverse();
        }
        Ok(())
    }
}
