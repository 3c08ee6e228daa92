//! What an ELF program says of itself.

use std::fs;
use std::path::Path;

/// Whether a file is an ELF program that asks for no loader (has no `PT_INTERP`).
pub(crate) fn is_static(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| asks_for_loader(&bytes) == Some(false))
}

/// `None` when `elf` is not a little-endian ELF file.
fn asks_for_loader(elf: &[u8]) -> Option<bool> {
    const PT_INTERP: u64 = 3;
    let number = |at: usize, len: usize| -> Option<u64> {
        let bytes = elf.get(at..at.checked_add(len)?)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        )
    };
    let (offset, size, count) = match elf.get(..6)? {
        [0x7f, b'E', b'L', b'F', 2, 1] => (number(32, 8)?, number(54, 2)?, number(56, 2)?),
        [0x7f, b'E', b'L', b'F', 1, 1] => (number(28, 4)?, number(42, 2)?, number(44, 2)?),
        _ => return None,
    };
    for index in 0..count {
        let at = offset.checked_add(index * size)?;
        if number(usize::try_from(at).ok()?, 4)? == PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::asks_for_loader;
    use crate::base::tool::tests::elf;

    #[test]
    fn a_static_program_asks_for_no_loader() {
        assert_eq!(asks_for_loader(&elf(1)), Some(false));
        assert_eq!(asks_for_loader(&elf(3)), Some(true));
        assert_eq!(asks_for_loader(&elf(3)[..70]), Some(true));
        assert_eq!(asks_for_loader(&elf(3)[..64]), None);
        assert_eq!(asks_for_loader(b"#!/bin/sh\n"), None);
    }
}
