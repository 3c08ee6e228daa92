//! Putting the partitions' names into the files that mount them.
//!
//! Stages write `BOOTDEV` and `ROOTDEV`, pi-gen's words for partitions whose
//! identifiers are known only now.

use super::layout::{FileSystem, Layout, Role};
use crate::base::inside;
use crate::config::{Disk, RootWord, root_of};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};

/// Longest file that is looked at, bytes.
const LONGEST: u64 = 1 << 20;

const FSTAB: &str = "etc/fstab";
const CMDLINE: &str = "boot/firmware/cmdline.txt";
/// Where files called `raspi…` have such words, too.
const DEFAULTS: &str = "etc/default";

/// Replaces the words in `/etc/fstab`, `/boot/firmware/cmdline.txt` and
/// `/etc/default/raspi*` of `image`; fstab gets a line for each further partition,
/// and both know the root's format.
///
/// Another name of the image's root in cmdline.txt is replaced as well, and what may be a root
/// elsewhere is kept; `log` is told of either.
///
/// An error if cmdline.txt is missing, or has nothing that the image can start with.
pub(crate) fn fix(
    image: &inside::Root,
    layout: &Layout,
    disk: &Disk,
    log: &mut dyn FnMut(&str),
) -> Result<()> {
    let named = |role| layout.find(role).map(|found| layout.source(found));
    let boot = named(Role::Boot).unwrap_or_default();
    let root = named(Role::Root).unwrap_or_default();
    let mut files = vec![PathBuf::from(FSTAB), CMDLINE.into()];
    let defaults = image.entries(DEFAULTS)?.into_iter();
    files.extend(
        defaults
            .filter(|entry| entry.name.to_string_lossy().starts_with("raspi"))
            .map(|entry| Path::new(DEFAULTS).join(entry.name)),
    );
    for file in files {
        image.rewrite(file, LONGEST, |old| {
            let new = replace_word(old, b"BOOTDEV", boot.as_bytes());
            Ok(replace_word(&new, b"ROOTDEV", root.as_bytes()))
        })?;
    }
    image.rewrite(FSTAB, LONGEST, |old| {
        Ok(fstab(std::str::from_utf8(old)?, layout).into_bytes())
    })?;
    image.rewrite(CMDLINE, LONGEST, |old| {
        Ok(command_line(std::str::from_utf8(old)?, layout).into_bytes())
    })?;
    let text = image.read_text(CMDLINE, LONGEST)?.with_context(|| {
        format!("the image has no /{CMDLINE}, which the kernel is started with")
    })?;
    let Some(found) = root_of(&text).filter(|found| *found != root) else {
        ensure!(
            root_of(&text).is_some(),
            "{CMDLINE} has no `root=`; write `root=ROOTDEV` there, which the export replaces"
        );
        return Ok(());
    };
    match RootWord::judge(found, disk) {
        RootWord::Image => {
            log(&format!(
                "{CMDLINE}: root={found} is the image's root, and becomes root={root}"
            ));
            let (old, new) = (format!("root={found}"), format!("root={root}"));
            image.rewrite(CMDLINE, LONGEST, |text| {
                let words = std::str::from_utf8(text)?.split_inclusive(char::is_whitespace);
                let words = words.map(|word| match word.trim_end() == old {
                    true => word.replacen(&old, &new, 1),
                    false => word.to_owned(),
                });
                Ok(words.collect::<String>().into_bytes())
            })?;
            Ok(())
        }
        RootWord::Elsewhere(why) => {
            log(&format!(
                "{CMDLINE}: root={found} {why}; it is kept, so this image starts only where there \
                 is such a root"
            ));
            Ok(())
        }
        RootWord::Wrong(why) => bail!(
            "{CMDLINE}: root={found} {why}, so the image cannot start; write `root=ROOTDEV` there, \
             which the export replaces"
        ),
    }
}

/// Whether the root is mounted by the initramfs, below a layer in memory.
fn has_read_only_root(layout: &Layout) -> bool {
    layout.find(Role::Root).is_some_and(|root| {
        matches!(
            root.file_system,
            FileSystem::Squashfs | FileSystem::Erofs { .. }
        )
    })
}

/// fstab(5) with the partitions of `layout`. One that does not come up must not keep
/// the system from starting, but what needs local file systems waits for it.
fn fstab(text: &str, layout: &Layout) -> String {
    let field = |line: &str, n: usize| line.split_whitespace().nth(n).map(str::to_owned);
    let mut new = String::new();
    for line in text.split_inclusive('\n') {
        let is_root = !line.starts_with('#') && field(line, 1).as_deref() == Some("/");
        if is_root && has_read_only_root(layout) {
            new.push_str("# / can only be read; the initramfs puts a layer in memory over it.\n");
        } else {
            new.push_str(line);
        }
    }
    if !new.is_empty() && !new.ends_with('\n') {
        new.push('\n');
    }
    let others = layout.partitions.iter().filter(|p| p.role == Role::Other);
    for partition in others {
        let place = &partition.mount_point;
        let there = text
            .lines()
            .any(|line| !line.starts_with('#') && field(line, 1).as_ref() == Some(place));
        if !there {
            let (source, format) = (layout.source(partition), partition.file_system.name());
            new.push_str(&format!(
                "{source}  {place}  {format}  defaults,noatime,nofail,x-systemd.before=local-fs.target  0  2\n"
            ));
        }
    }
    new
}

/// The kernel's command line; a root that can only be read is not tried otherwise.
fn command_line(text: &str, layout: &Layout) -> String {
    if !has_read_only_root(layout) {
        return text.to_owned();
    }
    let format = layout
        .find(Role::Root)
        .map_or("", |root| root.file_system.name());
    let given = |word: &&str| !matches!(*word, "rw" | "ro") && !word.starts_with("rootfstype=");
    let words: Vec<&str> = text.split_whitespace().filter(given).collect();
    format!("{} ro rootfstype={format}\n", words.join(" "))
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
    use super::{CMDLINE, command_line, fix, fstab, replace_word};
    use crate::base::inside::Root;
    use crate::config::{Disk, Extra, ExtraFormat, RootKind, TableKind, partition_names};
    use crate::export::disk::layout::{Identity, Layout};

    #[test]
    fn a_read_only_root_is_left_to_the_initramfs() {
        let disk = Disk {
            table: TableKind::Gpt,
            root: RootKind::Squashfs,
            data_size: Some(1 << 24),
            ..Disk::default()
        };
        let layout = Layout::new(&Identity::new(1, "a"), &disk, 1 << 26);
        let line = command_line("root=X rw rootwait\n", &layout);
        assert_eq!(line, "root=X rootwait ro rootfstype=squashfs\n");
        let table = fstab(
            "# c\nX / ext4 defaults 0 1\nY /boot/firmware vfat x 0 2",
            &layout,
        );
        let lines: Vec<_> = table.lines().collect();
        assert!(lines[1].starts_with("# / can only"), "{table}");
        assert_eq!(lines[2], "Y /boot/firmware vfat x 0 2");
        assert!(
            lines[3].starts_with("PARTUUID=") && lines[3].contains("  /data  ext4  "),
            "{table}"
        );
    }

    #[test]
    fn a_mount_point_that_is_there_stays() {
        let disk = Disk {
            data_size: Some(1 << 24),
            ..Disk::default()
        };
        let layout = Layout::new(&Identity::new(1, "a"), &disk, 1 << 26);
        let own = "LABEL=data /data ext4 ro 0 2\n";
        assert_eq!(fstab(own, &layout), own);
        assert_eq!(command_line("root=X rw\n", &layout), "root=X rw\n");
    }

    /// What becomes of a command line, and what is said of it.
    fn fixed(line: &str) -> Result<(String, Vec<String>), String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("boot/firmware")).unwrap();
        let path = dir.path().join(CMDLINE);
        std::fs::write(&path, line).unwrap();
        let disk = Disk::default();
        let layout = Layout::new(&Identity::new(1, "a"), &disk, 1 << 26);
        let root = Root::open(dir.path()).unwrap();
        let mut said = Vec::new();
        fix(&root, &layout, &disk, &mut |line| {
            said.push(line.to_owned())
        })
        .map_err(|error| error.to_string())?;
        Ok((std::fs::read_to_string(path).unwrap(), said))
    }

    #[test]
    fn the_images_root_by_another_name_is_found() {
        let (right, said) = fixed("a=b root=ROOTDEV rootwait\n").unwrap();
        assert!(
            right.starts_with("a=b root=PARTUUID=") && said.is_empty(),
            "{right} {said:?}"
        );
        for name in ["/dev/mmcblk0p2", "LABEL=rootfs"] {
            let (line, said) = fixed(&format!("a=b root={name} rootwait\n")).unwrap();
            assert_eq!((line, said.len()), (right.clone(), 1), "{said:?}");
        }
        let (kept, said) = fixed("root=/dev/sda2\n").unwrap();
        assert_eq!(kept, "root=/dev/sda2\n");
        assert!(said[0].contains("it is kept"), "{said:?}");
        for (line, words) in [
            ("root=/dev/mmcblk0p1\n", "is the image's partition bootfs"),
            ("root=/dev/mmcblk0p7\n", "none of the image's 2 partitions"),
            ("quiet\n", "has no `root=`"),
        ] {
            let error = fixed(line).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn the_config_knows_the_partitions_by_their_numbers() {
        let extra = Extra {
            name: "srv".to_owned(),
            size: 1 << 24,
            format: ExtraFormat::Ext4,
            mount_point: "/srv".to_owned(),
        };
        for data_size in [None, Some(1 << 24)] {
            let disk = Disk {
                data_size,
                extra: vec![extra.clone()],
                ..Disk::default()
            };
            let layout = Layout::new(&Identity::new(1, "a"), &disk, 1 << 26);
            let names: Vec<_> = layout.partitions.into_iter().map(|one| one.name).collect();
            assert_eq!(names, partition_names(&disk));
        }
    }

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
