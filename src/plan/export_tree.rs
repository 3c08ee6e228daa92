//! pi-gen's `export-image`: steps that are run for every image. Those that partition, format,
//! fill, number or compress the image file are the exporter's work here; the others are run, on
//! layers of their own.

use super::{Found, Stage, discover};
use crate::base::problem::Problem;
use crate::plan::step::{Step, StepKind};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// An `EXPORT_CONFIG_DIR` with steps in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportTree {
    /// What is run of it, as if it were a stage after the one that is exported.
    pub stage: Stage,
    /// What is not run: the step's name and why, as a clause about "it".
    pub left_out: Vec<(String, String)>,
    /// Steps that are run although they also handle the image file, which is not there yet.
    pub without_image: Vec<String>,
}

/// Words of scripts that handle the image file.
const IMAGE: &[&str] = &[
    "ARCHIVE_FILENAME",
    "BOOT_DEV",
    "DEPLOY_DIR",
    "IMG_FILE",
    "IMG_FILENAME",
    "LOOP_DEV",
    "ROOT_DEV",
    "bmaptool",
    "fdisk",
    "kpartx",
    "losetup",
    "mkdosfs",
    "mkfs",
    "parted",
    "sfdisk",
    "unmount_image",
    "zerofree",
];

/// Words of scripts that look up what partitions are called.
const LOOKUP: &[&str] = &["IMG_FILE", "IMG_FILENAME", "LOOP_DEV", "blkid", "lsblk"];

/// Words of scripts that write what partitions are called into the root file system.
const NAMES: &[&str] = &["BOOTDEV", "ROOTDEV", "PARTUUID", "IMGID"];

/// Words of scripts that reach the root file system.
const ROOTFS: &[&str] = &["ROOTFS_DIR", "on_chroot", "update_issue"];

/// What becomes of a host script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Run,
    /// Run, with nothing behind the image file.
    WithoutImage,
    LeftOut(&'static str),
}

impl ExportTree {
    /// Reads `dir`. `None` when there is no such directory, or it has a `SKIP` file.
    pub(super) fn discover(dir: &Path, all: &mut Found) -> Option<Self> {
        if !dir.is_dir() {
            return None;
        }
        let mut found = Found::default();
        let mut tree = Self {
            stage: discover::steps(dir, &mut found),
            left_out: Vec::new(),
            without_image: Vec::new(),
        };
        if tree.stage.skip {
            return None;
        }
        let mut silent = BTreeSet::new();
        if let Some(prerun) = tree.stage.prerun.take() {
            tree.left_out.push((
                prerun.name,
                "it makes the image file, which is the exporter's".to_owned(),
            ));
            silent.insert(prerun.path);
        }
        for sub in &mut tree.stage.sub_stages {
            sub.steps.retain(|step| match of(step) {
                Use::Run => true,
                Use::WithoutImage => {
                    tree.without_image.push(step.name.clone());
                    true
                }
                Use::LeftOut(why) => {
                    tree.left_out.push((step.name.clone(), why.to_owned()));
                    silent.insert(step.path.clone());
                    false
                }
            });
        }
        // What is not run need not be right.
        let counts = |problem: &Problem| {
            let path = problem.path.as_ref();
            path.is_none_or(|path| !silent.contains(path))
        };
        all.problems
            .extend(found.problems.into_iter().filter(counts));
        all.passed_over.extend(found.passed_over);
        Some(tree)
    }
}

fn of(step: &Step) -> Use {
    match step.kind {
        // A script that cannot be read is a problem of its own.
        StepKind::RunHost => {
            fs::read(&step.path).map_or(Use::Run, |text| of_script(&String::from_utf8_lossy(&text)))
        }
        _ => Use::Run,
    }
}

fn of_script(text: &str) -> Use {
    let words: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .collect();
    let has = |any: &[&str]| any.iter().any(|word| words.contains(word));
    if has(NAMES) && has(LOOKUP) {
        Use::LeftOut("it writes the partitions' identifiers, which is the exporter's")
    } else if !has(IMAGE) {
        Use::Run
    } else if has(ROOTFS) {
        Use::WithoutImage
    } else {
        Use::LeftOut(
            "it handles the image file, which is not there yet; postrun.sh is run after it",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fixture::tree;

    #[test]
    fn scripts_are_told_apart_by_what_they_handle() {
        let left_out = |text: &str| matches!(of_script(text), Use::LeftOut(_));
        assert!(left_out(
            "IMG_FILE=x\nID=$(dd if=\"${IMG_FILE}\" skip=440)\nsed s/ROOTDEV/$ID/ \"${ROOTFS_DIR}/etc/fstab\"\n"
        ));
        assert!(left_out("zerofree \"$ROOT_DEV\"\n"));
        let mixed = "on_chroot <<EOF\nupdate-initramfs -u\nEOF\nzerofree \"${ROOT_DEV}\"\n";
        assert_eq!(of_script(mixed), Use::WithoutImage);
        for run in [
            "./helper.sh\n",
            "# not of zerofree\necho root=ROOTDEV > \"${ROOTFS_DIR}/boot/cmdline.txt\"\n",
            "apt-get clean\n",
        ] {
            assert_eq!(of_script(run), Use::Run, "{run}");
        }
    }

    #[test]
    fn what_the_exporter_does_is_taken_out_and_need_not_be_right() {
        let dir = tree(&[
            ("export-image/prerun.sh", "losetup\n"),
            ("export-image/00-allow/00-run.sh", "#!/bin/bash\ntrue\n"),
            ("export-image/00-allow/01-run.sh", "not executable\n"),
            ("export-image/01-a/00-packages", "vim\n"),
            ("export-image/04-finalise/01-run.sh", "zerofree\n"),
        ]);
        let mut all = Found::default();
        let found = ExportTree::discover(&dir.path().join("export-image"), &mut all).unwrap();
        let problems = all.problems;
        let names: Vec<_> = found
            .left_out
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "export-image/prerun.sh",
                "export-image/04-finalise/01-run.sh"
            ]
        );
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0]
                .path
                .as_ref()
                .unwrap()
                .ends_with("00-allow/01-run.sh")
        );
        let steps: usize = found
            .stage
            .sub_stages
            .iter()
            .map(|sub| sub.steps.len())
            .sum();
        assert_eq!(steps, 3);
    }
}
