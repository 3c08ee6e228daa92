//! What `root=` on a kernel command line means for an image of certain partitions.

use super::Disk;

/// What is to become of the word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootWord {
    /// It is the image's root, by this or another name: the partition's identifier is put in its
    /// place.
    Image,
    /// It may be right on the device, though it is nothing of the image's: a clause about it.
    Elsewhere(String),
    /// The image cannot start with it: a clause about it.
    Wrong(String),
}

impl RootWord {
    /// Judges the value of `root=` for an image that is divided by `disk`.
    pub fn judge(value: &str, disk: &Disk) -> Self {
        let names = partition_names(disk);
        let number = |wanted: &str| names.iter().position(|name| name == wanted);
        let root = number("rootfs").unwrap_or_default();
        let found = |at: Option<usize>, kind: &str| match at {
            Some(at) if at == root => Self::Image,
            Some(at) => Self::Wrong(format!("is the image's partition {}", names[at])),
            None => Self::Elsewhere(format!("is {kind} that the image does not have")),
        };
        if value == "ROOTDEV" {
            return Self::Image;
        }
        if let Some(label) = value.strip_prefix("LABEL=") {
            return found(number(label), "a label");
        }
        if let Some(label) = value.strip_prefix("PARTLABEL=") {
            return found(number(label), "a label");
        }
        // The card that a Pi starts from.
        if let Some(partition) = value.strip_prefix("/dev/mmcblk0p") {
            let at = partition.parse::<usize>().ok();
            return match at.and_then(|at| at.checked_sub(1)) {
                Some(at) if at < names.len() => found(Some(at), ""),
                _ => Self::Wrong(format!("is none of the image's {} partitions", names.len())),
            };
        }
        if value.is_empty() || value == "BOOTDEV" {
            return Self::Wrong("is no root file system".to_owned());
        }
        Self::Elsewhere("is no name of a partition of the image".to_owned())
    }
}

/// The partitions of an image by their labels, in the order of their numbers.
pub fn partition_names(disk: &Disk) -> Vec<String> {
    let mut names = vec!["bootfs".to_owned()];
    names.extend(disk.extra.iter().map(|extra| extra.name.clone()));
    let (root, data) = ("rootfs".to_owned(), "data".to_owned());
    if disk.data_size.is_some() {
        names.insert(1, root);
        names.push(data);
    } else {
        names.push(root);
    }
    names
}

/// The value of the `root=` that counts on the command line `text`: the last.
pub fn root_of(text: &str) -> Option<&str> {
    text.split_whitespace()
        .rev()
        .find_map(|word| word.strip_prefix("root="))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Extra, ExtraFormat};

    #[test]
    fn what_is_surely_the_images_root_is_told_from_what_may_be_another() {
        let plain = Disk::default();
        let with_data = Disk {
            data_size: Some(1 << 24),
            extra: vec![Extra {
                name: "srv".to_owned(),
                size: 1 << 24,
                format: ExtraFormat::Ext4,
                mount_point: "/srv".to_owned(),
            }],
            ..Disk::default()
        };
        for (value, disk) in [
            ("ROOTDEV", &plain),
            ("/dev/mmcblk0p2", &plain),
            ("LABEL=rootfs", &plain),
            ("/dev/mmcblk0p2", &with_data),
        ] {
            assert_eq!(RootWord::judge(value, disk), RootWord::Image, "{value}");
        }
        for (value, disk) in [
            ("/dev/mmcblk0p1", &plain),
            ("/dev/mmcblk0p3", &plain),
            ("/dev/mmcblk0p4", &with_data),
            ("LABEL=srv", &with_data),
            ("", &plain),
        ] {
            let judged = RootWord::judge(value, disk);
            assert!(matches!(judged, RootWord::Wrong(_)), "{value}: {judged:?}");
        }
        for value in ["/dev/sda2", "PARTUUID=6c586e13-02", "/dev/nfs", "LABEL=ssd"] {
            let judged = RootWord::judge(value, &plain);
            assert!(
                matches!(judged, RootWord::Elsewhere(_)),
                "{value}: {judged:?}"
            );
        }
        assert_eq!(root_of("root=a quiet root=b\n"), Some("b"));
    }
}
