//! Putting the partitions' names into the files that mount them.
//!
//! Stages write `BOOTDEV` and `ROOTDEV`, pi-gen's words for partitions whose
//! identifiers are known only now.

use super::layout::{Layout, Role};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// Replaces the words in `/etc/fstab`, `/boot/firmware/cmdline.txt` and
/// `/etc/default/raspi*` of `rootfs`.
///
/// An error if cmdline.txt is missing or names another root partition.
pub(crate) fn fix(rootfs: &Path, layout: &Layout) -> Result<()> {
    let boot = layout.source(Role::Boot).unwrap_or_default();
    let root = layout.source(Role::Root).unwrap_or_default();
    for file in files(rootfs)? {
        let old = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        let new = replace_word(
            &replace_word(&old, b"BOOTDEV", boot.as_bytes()),
            b"ROOTDEV",
            root.as_bytes(),
        );
        if new != old {
            fs::write(&file, new).with_context(|| format!("writing {}", file.display()))?;
        }
    }
    let cmdline = rootfs.join("boot/firmware/cmdline.txt");
    let text =
        fs::read_to_string(&cmdline).with_context(|| format!("reading {}", cmdline.display()))?;
    let wanted = format!("root={root}");
    if !text.split_whitespace().any(|word| word == wanted) {
        let found = text
            .split_whitespace()
            .rfind(|word| word.starts_with("root="));
        bail!(
            "boot/firmware/cmdline.txt has {} where the image needs `{wanted}`; \
             write `root=ROOTDEV` there, which the export replaces",
            found.map_or_else(|| "no `root=`".to_owned(), |word| format!("`{word}`"))
        );
    }
    Ok(())
}

/// The files to look at: those of the three that exist as plain files.
fn files(rootfs: &Path) -> Result<Vec<PathBuf>> {
    let mut files = vec![
        rootfs.join("etc/fstab"),
        rootfs.join("boot/firmware/cmdline.txt"),
    ];
    let defaults = rootfs.join("etc/default");
    if defaults.is_dir() {
        for entry in
            fs::read_dir(&defaults).with_context(|| format!("listing {}", defaults.display()))?
        {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("raspi") {
                files.push(entry.path());
            }
        }
    }
    files.retain(|f| f.symlink_metadata().is_ok_and(|m| m.is_file()));
    Ok(files)
}

/// Replaces `word` where it is not part of a longer word.
fn replace_word(text: &[u8], word: &[u8], by: &[u8]) -> Vec<u8> {
    let part = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let inside = at
            .checked_sub(1)
            .is_some_and(|before| part(text.get(before)));
        if text[at..].starts_with(word) && !inside && !part(text.get(at + word.len())) {
            out.extend_from_slice(by);
            at += word.len();
        } else {
            out.push(text[at]);
            at += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::replace_word;

    #[test]
    fn only_whole_words_change() {
        let replaced = replace_word(
            b"root=ROOTDEV MYROOTDEV ROOTDEVS\nROOTDEV",
            b"ROOTDEV",
            b"X",
        );
        assert_eq!(replaced, b"root=X MYROOTDEV ROOTDEVS\nX");
    }
}
