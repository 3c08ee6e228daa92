//! Blocks that were unpacked a short while ago.

use anyhow::Result;
use std::cell::RefCell;
use std::rc::Rc;

/// Blocks that are kept, however small they are: they are looked through one by one.
const MOST: usize = 128;

/// Keeps blocks by their keys up to a number of bytes; those that were not asked for the longest
/// time go first.
pub(super) struct Cache<Key, Block> {
    /// Bytes that may be kept.
    room: usize,
    /// The one asked for last is the last one; each with its bytes.
    blocks: RefCell<Vec<(Key, usize, Rc<Block>)>>,
}

impl<Key: PartialEq, Block> Cache<Key, Block> {
    pub(super) fn new(room: usize) -> Self {
        Self {
            room,
            blocks: RefCell::new(Vec::new()),
        }
    }

    /// The block `key`, which `make` makes, with its number of bytes, if it is not there.
    pub(super) fn get(
        &self,
        key: Key,
        make: impl FnOnce() -> Result<(Block, usize)>,
    ) -> Result<Rc<Block>> {
        // Not held while `make` runs, which may ask for other blocks.
        let found = {
            let mut blocks = self.blocks.borrow_mut();
            let at = blocks.iter().rposition(|(its, ..)| *its == key);
            at.map(|at| blocks.remove(at))
        };
        let entry = match found {
            Some(entry) => entry,
            None => {
                let (block, bytes) = make()?;
                (key, bytes, Rc::new(block))
            }
        };
        let block = Rc::clone(&entry.2);
        let mut blocks = self.blocks.borrow_mut();
        blocks.push(entry);
        let mut bytes: usize = blocks.iter().map(|(_, bytes, _)| bytes).sum();
        // The newest one stays in any case.
        while blocks.len() > 1 && (bytes > self.room || blocks.len() > MOST) {
            bytes -= blocks.remove(0).1;
        }
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use super::Cache;

    #[test]
    fn what_was_asked_for_last_is_kept() {
        let cache = Cache::new(20);
        let made = |key: u32| {
            let mut made = false;
            let block = cache.get(key, || {
                made = true;
                Ok((key, 10))
            });
            assert_eq!(*block.unwrap(), key);
            made
        };
        assert!(made(1) && made(2) && !made(1));
        // In place of 2.
        assert!(made(3) && !made(1) && !made(3) && made(2));
    }
}
