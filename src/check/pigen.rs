//! What is done differently with a tree that was written for pi-gen, and why: a line each.

use crate::base::tool;
use crate::config::{self, Arch, Config, Distro, RootWord};
use crate::plan::step::StepKind;
use crate::plan::{Plan, common};
use std::fs;
use std::path::Path;
use walkdir::WalkDir;

/// Something that host scripts do which is different here.
struct Habit {
    is_in: fn(&str) -> bool,
    /// What is to be said of it.
    says: &'static str,
}

const HABITS: &[Habit] = &[
    Habit {
        is_in: |line| calls(line, &["losetup", "kpartx", "qemu-nbd"]),
        says: "a build has no loop or network block devices, so this fails; write into ROOTFS_DIR, and \
               leave the image's partitions to the exporter",
    },
    Habit {
        is_in: |line| calls(line, &["mount"]) && !line.contains("grep"),
        says: "works for ordinary directories, proc and tmpfs, but not for devices, /dev and sysfs; it ends \
               with the step",
    },
    Habit {
        is_in: |line| {
            calls(line, &["chroot", "systemd-nspawn", "arch-chroot"])
                || (calls(line, &["capsh"]) && line.contains("--chroot"))
        },
        says: "cannot start programs of the image; write `on_chroot`, with the script on its standard input",
    },
    Habit {
        is_in: |line| words(line).any(is_emulator),
        says: "works, but no emulator is needed in the image: programs of it are started from outside",
    },
    Habit {
        is_in: |line| line.contains("/etc/mtab") && !line.contains("ROOTFS_DIR}/etc/mtab"),
        says: "shows the mounts of the build's own namespace: ROOTFS_DIR is a layer there, not a device",
    },
];

/// What scripts for the chroot do, and host scripts too.
const ANYWHERE: &[Habit] = &[Habit {
    is_in: |line| calls(line, &["mknod", "makedev", "MAKEDEV"]) && !line.trim_end().ends_with(" p"),
    says: "a build cannot make device nodes, so this fails; take it out, for the image's /dev is filled \
           by its kernel, or add a line to /usr/lib/tmpfiles.d of the image. FIFOs can be made",
}];

/// pi-gen's own programs that lie in a checkout of it.
const OWN: [&str; 2] = ["build.sh", "scripts/common"];

/// Functions of pi-gen's `build.sh`, which no script calls.
const BUILD_FUNCTIONS: &[&str] = &["run_stage", "run_sub_stage", "term"];

/// What pi-gen lists in `depends` for work that is done another way here.
const NOT_NEEDED: &[&str] = &[
    "arch-test",
    "bmaptool",
    "debootstrap",
    "fdisk",
    "gpg",
    "kpartx",
    "losetup",
    "mkdosfs",
    "modprobe",
    "parted",
    "pigz",
    "qemu-nbd",
    "quilt",
    "rsync",
    "zerofree",
    "zip",
];

/// The lines for this tree; none for one that does what the contract says and no more.
pub(super) fn notes(config: &Config, plan: &Plan) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(noobs(config));
    notes.extend(export_tree(plan));
    let kept = plan.stages.iter().filter(|stage| stage.kept);
    notes.extend(kept.map(|stage| {
        format!(
            "{}: keeps what the last build made of the stage, whatever has changed since",
            stage.dir.join("SKIP").display()
        )
    }));
    notes.extend(habits(plan, HABITS, &[StepKind::Prerun, StepKind::RunHost]));
    let all = [StepKind::Prerun, StepKind::RunHost, StepKind::RunChroot];
    notes.extend(habits(plan, ANYWHERE, &all));
    notes.extend(depends(&config.base_dir));
    notes.extend(own_programs(config, plan));
    notes.extend(passed_over(plan));
    notes.extend(command_lines(config, plan));
    let is_set = |name: &str| config.exports.get(name).is_some_and(|value| value == "1");
    if is_set("USE_QCOW2") {
        notes.push("USE_QCOW2: no effect, for every step is a layer already".to_owned());
    }
    if is_set("USE_QEMU") {
        notes.push(
            "USE_QEMU: for scripts only; `westwork-gen boot` starts any image in QEMU".to_owned(),
        );
    }
    notes.extend(raspbian(config, plan));
    notes
}

/// What becomes of pi-gen's `build.sh` and `scripts/common`, and of what a fork has added to them.
fn own_programs(config: &Config, plan: &Plan) -> Vec<String> {
    let read = |name: &str| fs::read_to_string(config.base_dir.join(name)).ok();
    let [Some(build), Some(_)] = OWN.map(read) else {
        return Vec::new();
    };
    let mut notes = vec![format!(
        "{}: not used, westwork-gen does what they do",
        OWN.join(" and ")
    )];
    let added = plan.common.iter().flat_map(|common| &common.functions);
    let added: Vec<&str> = added.map(String::as_str).collect();
    if !added.is_empty() {
        notes.push(format!(
            "{}: the functions of its own are there for host scripts: {}",
            OWN[1],
            added.join(", ")
        ));
    }
    let (_, functions) = common::without(&build, BUILD_FUNCTIONS);
    for name in functions {
        notes.push(format!(
            "{}: the function {name} is not there for scripts; move it to {}",
            OWN[0], OWN[1]
        ));
    }
    for (line, name) in config::exported(&build) {
        if !config.exports.contains_key(&name) && config::row(&name).is_none() {
            notes.push(format!(
                "{}:{line}: {name} is not there for scripts; export it in the config",
                OWN[0]
            ));
        }
    }
    notes
}

/// Command lines of the kernel in the stages, with another root than `ROOTDEV`.
fn command_lines(config: &Config, plan: &Plan) -> Vec<String> {
    let mut notes = Vec::new();
    let exported = plan.export_tree.iter().map(|tree| &tree.stage);
    for stage in plan.stages.iter().chain(exported).filter(|one| !one.skip) {
        for entry in WalkDir::new(&stage.dir).max_depth(6).into_iter().flatten() {
            if entry.file_name() != "cmdline.txt" || !entry.file_type().is_file() {
                continue;
            }
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            let Some(root) = config::root_of(&text).filter(|root| *root != "ROOTDEV") else {
                continue;
            };
            let says = match RootWord::judge(root, &config.disk) {
                RootWord::Image => "is the image's root, and becomes its PARTUUID".to_owned(),
                RootWord::Elsewhere(why) => format!("{why}; it is kept"),
                RootWord::Wrong(why) => {
                    format!(
                        "{why}: unless a script changes it, the export ends there; write root=ROOTDEV"
                    )
                }
            };
            notes.push(format!("{}: root={root} {says}", entry.path().display()));
        }
    }
    notes
}

/// Names in sub-stages that are no steps'.
fn passed_over(plan: &Plan) -> Option<String> {
    let first = plan.passed_over.first()?.display().to_string();
    Some(format!(
        "{}: passed over, for no step has such a name",
        and_more(&first, plan.passed_over.len())
    ))
}

fn noobs(config: &Config) -> Option<String> {
    let mut places: Vec<_> = config
        .stage_list
        .iter()
        .map(|dir| dir.join("EXPORT_NOOBS"))
        .collect();
    places.push(config.base_dir.join("export-noobs"));
    places.retain(|path| path.exists());
    let first = places.first()?;
    Some(format!(
        "{}: ignored, for NOOBS is gone; the manifest for Raspberry Pi Imager takes its place",
        and_more(&first.display().to_string(), places.len())
    ))
}

fn export_tree(plan: &Plan) -> Vec<String> {
    let mut notes = Vec::new();
    let Some(tree) = &plan.export_tree else {
        return notes;
    };
    for (name, why) in &tree.left_out {
        notes.push(format!("{name}: not run, for {why}"));
    }
    for name in &tree.without_image {
        notes.push(format!(
            "{name}: run before there is an image file; what it does to that has no effect, and files \
             that it puts into DEPLOY_DIR are published with the image"
        ));
    }
    notes
}

/// A line for each of `habits` that scripts of these kinds have, with the first place of it.
fn habits(plan: &Plan, habits: &[Habit], kinds: &[StepKind]) -> Vec<String> {
    let mut places: Vec<Vec<String>> = habits.iter().map(|_| Vec::new()).collect();
    for step in plan.steps().filter(|step| kinds.contains(&step.kind)) {
        let text = fs::read(&step.path).unwrap_or_default();
        for (number, line) in String::from_utf8_lossy(&text).lines().enumerate() {
            let line = line.trim();
            if line.starts_with('#') {
                continue;
            }
            for (habit, places) in habits.iter().zip(&mut places) {
                if (habit.is_in)(line) {
                    places.push(format!("{}:{}: `{line}`", step.name, number + 1));
                }
            }
        }
    }
    let found = habits.iter().zip(&places);
    found
        .filter_map(|(habit, places)| {
            let first = and_more(places.first()?, places.len());
            Some(format!("{first}: {}", habit.says))
        })
        .collect()
}

fn and_more(first: &str, count: usize) -> String {
    match count {
        0 | 1 => first.to_owned(),
        count => format!("{first} and {} more", count - 1),
    }
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c))
}

/// `qemu-arm-static` and its like.
fn is_emulator(word: &str) -> bool {
    word.starts_with("qemu-") && word.ends_with("-static")
}

/// Whether a shell would take one of `programs` for a command of this line, more or less: at its
/// beginning, or after what ends or wraps a command.
fn calls(line: &str, programs: &[&str]) -> bool {
    const BEFORE: &[&str] = &["sudo", "then", "do", "else", "!", "if", "while", "exec"];
    let parts = line.split(['|', ';', '&', '(', '`', '{']);
    parts
        .map(|part| part.split_whitespace().find(|word| !BEFORE.contains(word)))
        .any(|word| word.is_some_and(|word| programs.contains(&word)))
}

/// Programs that the tree's `depends` names (`PROGRAM` or `PROGRAM:PACKAGE` a line) and that are
/// not there, but which scripts may call.
fn depends(base: &Path) -> Option<String> {
    let text = fs::read_to_string(base.join("depends")).ok()?;
    let missing: Vec<_> = text
        .lines()
        .map(|line| line.trim().split_once(':').unwrap_or((line.trim(), "")))
        .filter(|(program, _)| !program.is_empty() && !program.starts_with('#'))
        .filter(|(program, _)| !NOT_NEEDED.contains(program) && !program.starts_with("qemu-"))
        .filter(|(program, _)| tool::lookup(program, &tool::search_path()).is_none())
        .map(|(program, package)| if package.is_empty() { program } else { package })
        .collect();
    if missing.is_empty() {
        return None;
    }
    Some(format!(
        "depends: scripts may call programs that are not installed; apt install {}",
        missing.join(" ")
    ))
}

/// A tree that starts from Raspbian, which Debian's keys do not sign.
fn raspbian(config: &Config, plan: &Plan) -> Option<String> {
    if config.distro != Distro::Debian || config.arch != Arch::Armhf {
        return None;
    }
    let prerun = plan.stages.first()?.prerun.as_ref()?;
    let text = fs::read_to_string(&prerun.path).ok()?;
    text.contains("raspbian").then(|| {
        format!(
            "{}: starts from Raspbian; set DISTRO=raspios, which knows its keys",
            prerun.name
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fixture::{config, tree};

    fn said(files: &[(&str, &str)]) -> Vec<String> {
        let dir = tree(files);
        let mut config = config(dir.path(), &["stage0"]);
        config.export_config_dir = dir.path().join("export-image");
        let (plan, problems) = Plan::discover(&config);
        assert!(problems.is_empty(), "{problems:?}");
        let place = format!("{}/", dir.path().display());
        let notes = notes(&config, &plan);
        notes.iter().map(|note| note.replace(&place, "")).collect()
    }

    #[test]
    fn a_tree_that_keeps_to_the_contract_has_none() {
        let script = "#!/bin/bash -e\n# losetup\nif mount | grep -q x; then true; fi\nunmount x\n";
        assert_eq!(said(&[("stage0/00-a/00-run.sh", script)]), [""; 0]);
    }

    #[test]
    fn each_habit_has_a_line_and_its_first_place() {
        let script = "#!/bin/bash -e\nDEV=$(losetup -f)\nsudo mount --bind a b\nlosetup -d x\n\
                      cp /usr/bin/qemu-arm-static \"$ROOTFS_DIR/usr/bin/\"\nawk 1 /etc/mtab\n\
                      sudo chroot \"$ROOTFS_DIR\" apt-get clean\ncapsh --chroot=x -- -c true\ncapsh --drop=y\n";
        let said = said(&[("stage0/00-a/00-run.sh", script)]);
        let starts = [
            "stage0/00-a/00-run.sh:2: `DEV=$(losetup -f)` and 1 more: a build has no loop",
            "stage0/00-a/00-run.sh:3: `sudo mount --bind a b`: works for ordinary directories",
            "stage0/00-a/00-run.sh:7: `sudo chroot \"$ROOTFS_DIR\" apt-get clean` and 1 more: cannot start",
            "stage0/00-a/00-run.sh:5: `cp /usr/bin/qemu-arm-static",
            "stage0/00-a/00-run.sh:6: `awk 1 /etc/mtab`: shows",
        ];
        assert_eq!(said.len(), starts.len(), "{said:#?}");
        for (line, start) in said.iter().zip(starts) {
            assert!(line.starts_with(start), "{line}");
        }
    }

    #[test]
    fn device_nodes_are_told_of_wherever_they_are_made() {
        let said = said(&[
            (
                "stage0/00-a/00-run.sh",
                "#!/bin/bash -e\nmknod \"${ROOTFS_DIR}/dev/x\" c 1 3\n",
            ),
            (
                "stage0/00-a/01-run-chroot.sh",
                "mknod /dev/y b 7 0\nmknod /run/fifo p\n",
            ),
        ]);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains(" and 1 more: a build cannot make device nodes"));
    }

    #[test]
    fn pigens_own_export_is_explained() {
        let said = said(&[
            ("stage0/EXPORT_NOOBS", ""),
            ("export-noobs/prerun.sh", "#!/bin/bash\n"),
            ("export-image/prerun.sh", "#!/bin/bash\nlosetup\n"),
            (
                "export-image/05-finalise/01-run.sh",
                "#!/bin/bash\non_chroot true\nzerofree x\n",
            ),
            ("build.sh", ""),
            ("scripts/common", ""),
            ("depends", "no-such-program:a-package\nbash\nzerofree\n"),
        ]);
        let starts = [
            "stage0/EXPORT_NOOBS and 1 more: ignored, for NOOBS is gone",
            "export-image/prerun.sh: not run, for it makes the image file",
            "export-image/05-finalise/01-run.sh: run before there is an image file",
            "depends: scripts may call programs that are not installed; apt install a-package",
            "build.sh and scripts/common: not used",
        ];
        assert_eq!(said.len(), starts.len(), "{said:#?}");
        for (line, start) in said.iter().zip(starts) {
            assert!(line.starts_with(start), "{line}");
        }
    }
}
