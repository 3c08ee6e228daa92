//! Rows of keys that have no field of their own in `Config`: read together with another key, or
//! handed on to scripts as they are.

use crate::config::row::{Bearing, Facts, Group, Kind, Mount, Row, Scripts, Secrecy};

pub(super) static WORDS: &[Row] = &[
    part(
        "ROOT_FILESYSTEM",
        &[
            "Root file system: ext4; or squashfs or erofs, which are compressed and can only be read:",
            "changes are kept in memory and gone after the next boot, SSH host keys and the answers",
            "to the first boot's question among them.",
        ],
        (Kind::OneOf(&["ext4", "squashfs", "erofs"]), "ext4", ""),
    ),
    part(
        "DATA_SIZE",
        &[
            "A partition of its own for /data, with what the image has there. It is the one that",
            "grows at first boot, in place of the root.",
        ],
        (Kind::Size, "", "64M"),
    ),
    part(
        "EXTRA_PARTITIONS",
        &[
            "Further partitions, NAME:SIZE:FORMAT:MOUNTPOINT with the format ext4 or vfat, with what",
            "the image has at the mount point.",
        ],
        (
            Kind::List,
            "",
            "'srv:256M:ext4:/srv share:64M:vfat:/srv/share'",
        ),
    ),
    part(
        "DEPLOY_ZIP",
        &["pi-gen's older form of DEPLOY_COMPRESSION: 1 is zip, 0 is none."],
        (Kind::Flag, "", ""),
    ),
    Row {
        name: "EXTRA_SUITES",
        help: &["Suites besides the release itself, for a mirror that does not have them all."],
        facts: Facts {
            group: Group::Packages,
            kind: Kind::List,
            default: "updates security",
            example: "",
            secrecy: Secrecy::Open,
            scripts: Scripts::Placed,
            layers: Bearing::Core,
            image: true,
            mount: Mount::No,
        },
        field: None,
    },
    passed(
        "PI_GEN",
        &["Name of the program that builds."],
        "westwork-gen",
    ),
    passed(
        "PI_GEN_REPO",
        &["Where the program that builds is from."],
        "westwork-gen",
    ),
    passed(
        "PI_GEN_RELEASE",
        &["Name of the release in /etc/rpi-issue. Default: IMG_NAME."],
        "",
    ),
    passed("GIT_HASH", &["Commit that the tree is at."], ""),
    passed("USE_QEMU", &["1: the image is for QEMU."], "0"),
    passed("SETFCAP", &["1: files have capabilities."], "1"),
    passed(
        "USE_QCOW2",
        &["No effect: every step is a layer already."],
        "",
    ),
    passed(
        "PRESERVE_CONTAINER",
        &["1: build-docker.sh keeps the container after a good build, too."],
        "",
    ),
];

/// A key that is read together with one that has a field: its value is in that field.
const fn part(
    name: &'static str,
    help: &'static [&'static str],
    (kind, default, example): (Kind, &'static str, &'static str),
) -> Row {
    Row {
        name,
        help,
        facts: Facts {
            group: Group::Artefacts,
            kind,
            default,
            example,
            secrecy: Secrecy::Open,
            scripts: Scripts::No,
            layers: Bearing::Never,
            image: true,
            mount: Mount::No,
        },
        field: None,
    }
}

/// A key of pi-gen that changes nothing here; scripts may read it.
const fn passed(name: &'static str, help: &'static [&'static str], default: &'static str) -> Row {
    Row {
        name,
        help,
        facts: Facts {
            group: Group::PiGen,
            kind: Kind::Text,
            default,
            example: "",
            secrecy: Secrecy::Open,
            scripts: Scripts::Passed,
            layers: Bearing::Visible,
            image: true,
            mount: Mount::No,
        },
        field: None,
    }
}
