//! Builds that are killed at any moment, and disks that fill up.

use crate::common::{Tree, both, host_state, target};
use crate::fixture::{Process, family, left, wait};
use crate::need::{self, need};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often the build is killed.
const KILLS: usize = 20;

/// A small real build that ends in an image.
fn tree() -> Tree {
    let tree = Tree::new("arm64").with_bootstrap();
    tree.file(
        "config",
        &format!(
            "IMG_NAME=Test\n{}IMG_DATE=2026-01-31\nSOURCE_DATE_EPOCH=1767225600\nBOOT_SIZE=64M\n",
            target("arm64")
        ),
    );
    tree.file("stages/stage0/00-a/00-packages-nr", "adduser less\n");
    tree.script(
        "stages/stage0/00-a/01-run.sh",
        "mkdir -p \"${ROOTFS_DIR}/boot/firmware\"\n\
         printf 'BOOTDEV /boot/firmware vfat defaults 0 2\\nROOTDEV / ext4 defaults 0 1\\n' > \"${ROOTFS_DIR}/etc/fstab\"\n\
         echo 'root=ROOTDEV rootwait' > \"${ROOTFS_DIR}/boot/firmware/cmdline.txt\"",
    );
    tree.file("stages/stage0/01-b/00-run-chroot.sh", "for i in 1 2 3 4 5 6; do adduser --quiet --disabled-password --comment '' user$i; sleep 0.2; done\n");
    tree.script("stages/stage1/prerun.sh", "copy_previous");
    tree.file("stages/stage1/00-c/00-packages-nr", "nano netbase\n");
    tree.file(
        "stages/stage1/00-c/01-run-chroot.sh",
        "head -c 20M /dev/zero > /srv/zeros; sync; rm /srv/zeros; echo end > /srv/end\n",
    );
    tree.file("stages/stage1/EXPORT_IMAGE", "");
    tree
}

/// Artefacts by name, without what tells of the build rather than of the image.
fn sums(tree: &Tree) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(tree.dir.join("deploy")).unwrap().flatten();
    let images = entries.filter(|entry| entry.path().to_string_lossy().contains(".img"));
    images
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// Numbers that are different every time; the first is printed, for whoever looks into a failure.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

#[test]
fn a_build_killed_twenty_times_makes_the_same_image() {
    let undisturbed = tree();
    undisturbed.build(&[]);
    let expected = sums(&undisturbed);
    assert!(!expected.is_empty());

    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = u64::try_from(seed.as_millis()).unwrap();
    println!("dice: {seed}");
    let mut dice = Dice(seed);
    let tree = tree();
    let before = host_state();
    let (mut kills, mut runs) = (0, 0);
    while kills < KILLS {
        runs += 1;
        assert!(runs < 10 * KILLS, "only {kills} of {runs} runs were killed");
        let mut build = tree
            .command(&["build", "--continue"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(100 + dice.roll(2400)));
        let processes = family(build.id());
        // Now and then not the build itself, but anything it started.
        let victim = match dice.roll(3) {
            0 => processes[dice.roll(processes.len() as u64) as usize].pid,
            _ => build.id(),
        };
        let over = build.try_wait().unwrap().is_some();
        if !over {
            kill(Pid::from_raw(victim.cast_signed()), Signal::SIGKILL).ok();
            kills += 1;
        }
        // Without the victim it may well come to its end.
        let limit = Duration::from_secs(300);
        assert!(wait(limit, || build.try_wait().unwrap().is_some()));
        nothing_is_left(&processes, &before);
        if over {
            // It came to its end between two kills: once more from the start.
            tree.build(&["--set", "CLEAN=1", "--set", "STAGE_LIST=stages/stage0"]);
            fs::remove_dir_all(tree.dir.join("deploy")).ok();
        }
    }
    tree.build(&["--continue"]);
    assert!(sums(&tree) == expected, "the image is another one");
    tree.build(&[]);
    assert!(sums(&tree) == expected, "the image is another one");
}

fn nothing_is_left(processes: &[Process], before: &[String]) {
    assert!(
        wait(Duration::from_secs(5), || left(processes).is_empty()),
        "left: {:?}",
        left(processes)
    );
    assert_eq!(host_state(), before);
}

/// A file system of its own for the work directory, gone with the guard. `host_state` leaves it out
/// by the name it is mounted with.
pub(crate) struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    pub(crate) fn mount(at: &'a Path, size: &str) -> Self {
        fs::create_dir_all(at).unwrap();
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "small"])
            .arg(at)
            .status();
        assert!(done.unwrap().success());
        Self(at)
    }

    fn grow(&self, size: &str) {
        let done = Command::new("mount")
            .args(["-o", &format!("remount,size={size}")])
            .arg(self.0)
            .status();
        assert!(done.unwrap().success());
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_is_named_and_the_build_goes_on_with_room() {
    need!(need::root());
    let tree = tree();
    let at = tree.dir.join("work");
    // In the bootstrap …
    let disk = SmallDisk::mount(&at, "60M");
    let run = |args: &[&str]| {
        let output = tree.run(&[&["build"], args].concat());
        (output.status.code(), both(&output))
    };
    // Nobody has asked for this much room before it begins.
    let (code, said) = run(&["--set", "MIN_FREE=0"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("stage0/prerun.sh failed"), "{said}");
    assert!(said.contains("is full"), "{said}");
    assert!(said.contains(&at.display().to_string()), "{said}");
    // … and in a later step.
    disk.grow("1G");
    tree.file(
        "stages/stage1/00-c/01-run-chroot.sh",
        "head -c 2G /dev/zero > /srv/zeros; rm /srv/zeros; echo end > /srv/end\n",
    );
    let (code, said) = run(&["--continue", "--set", "MIN_FREE=0"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("01-run-chroot.sh failed"), "{said}");
    assert!(said.contains("is full"), "{said}");
    disk.grow("6G");
    let (code, said) = run(&["--continue", "--set", "MIN_FREE=0"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("cached  stage0/prerun.sh"), "{said}");
    drop(disk);
}
