//! Disks and their uses on made-up machines.

use super::*;
use std::os::unix::fs::symlink;

/// A machine in a directory: nvme0n1 with / and swap, sdb with two partitions, an SD card.
struct Made {
    dir: tempfile::TempDir,
    machine: Machine,
}

impl Made {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine {
            root: dir.path().to_owned(),
        };
        let made = Self { dir, machine };
        made.disk(
            "pci0000:00/nvme/nvme0n1",
            "259:0",
            1 << 30,
            &[("nvme0n1p1", "259:1"), ("nvme0n1p2", "259:2")],
        );
        made.disk(
            "pci0000:00/usb1/1-2/block/sdb",
            "8:16",
            64 << 20,
            &[("sdb1", "8:17"), ("sdb2", "8:18")],
        );
        made.disk(
            "platform/mmc_host/mmc0/block/mmcblk0",
            "179:0",
            32 << 20,
            &[],
        );
        made.file("sys/block/mmcblk0/device/type", "SD\n");
        made.file("sys/block/mmcblk0/device/name", "SC64G\n");
        made.disk(
            "platform/mmc_host/mmc1/block/mmcblk1",
            "179:8",
            32 << 20,
            &[],
        );
        made.file("sys/block/mmcblk1/device/type", "MMC\n");
        made.mounts("30 1 259:2 / / rw - ext4 /dev/nvme0n1p2 rw\n");
        made.file(
            "proc/swaps",
            "Filename Type Size Used Priority\n/dev/nvme0n1p1 partition 1 0 -2\n",
        );
        made
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn mounts(&self, text: &str) {
        self.file("proc/self/mountinfo", text);
    }

    fn disk(&self, place: &str, number: &str, size: u64, partitions: &[(&str, &str)]) {
        let dir = format!("sys/devices/{place}");
        let name = place.rsplit('/').next().unwrap();
        self.file(&format!("{dir}/dev"), number);
        self.file(&format!("{dir}/size"), &(size / 512).to_string());
        self.file(&format!("{dir}/removable"), "0");
        self.file(&format!("{dir}/ro"), "0");
        for (number, (partition, device)) in (1..).zip(partitions) {
            self.file(
                &format!("{dir}/{partition}/partition"),
                &format!("{number}"),
            );
            self.file(&format!("{dir}/{partition}/dev"), device);
        }
        let block = self.dir.path().join("sys/block");
        fs::create_dir_all(&block).unwrap();
        symlink(format!("../devices/{place}"), block.join(name)).unwrap();
    }

    /// What is said about the disk or partition with this device number.
    fn said(&self, number: &str, image: Option<&str>, fixed_disk: Option<&str>) -> String {
        let wanted = Wanted {
            target: Path::new("/dev/x"),
            image: Path::new("/nowhere"),
            fixed_disk,
            size: None,
        };
        let (disk, partition) = self.machine.find(number).unwrap();
        let found =
            disk_problems(&self.machine, &disk, partition.as_deref(), image, &wanted).unwrap();
        found.iter().map(|problem| format!("{problem}\n")).collect()
    }
}

#[test]
fn a_free_card_or_stick_is_fine() {
    let made = Made::new();
    assert_eq!(made.said("8:16", Some("259:2"), None), "");
    assert_eq!(made.said("179:0", None, None), "");
    let removable: Vec<String> = made
        .machine
        .disks()
        .unwrap()
        .into_iter()
        .filter(|d| d.removable)
        .map(|d| d.name)
        .collect();
    assert_eq!(removable, ["mmcblk0", "sdb"]);
    assert_eq!(made.machine.find("179:0").unwrap().0.model, "SC64G");
}

#[test]
fn the_disk_that_holds_the_system_is_refused_whatever_is_said() {
    let made = Made::new();
    for fixed in [None, Some("nvme0n1")] {
        let said = made.said("259:0", None, fixed);
        assert!(
            said.contains("is this machine's /;") && said.contains("swapoff /dev/nvme0n1p1"),
            "{said}"
        );
        assert_eq!(
            said.contains("--fixed-disk nvme0n1"),
            fixed.is_none(),
            "{said}"
        );
    }
}

#[test]
fn soldered_memory_is_not_a_card_and_the_word_must_name_the_disk() {
    let made = Made::new();
    assert!(made.said("179:8", None, None).contains("not removable"));
    assert!(
        made.said("179:8", None, Some("mmcblk0"))
            .contains("not removable")
    );
    assert_eq!(made.said("179:8", None, Some("mmcblk1")), "");
}

#[test]
fn mounted_partitions_and_partitions_as_targets_are_refused() {
    let made = Made::new();
    made.mounts("31 1 8:18 / /media/a\\040card rw - ext4 /dev/sdb2 rw\n");
    let said = made.said("8:16", None, None);
    assert!(
        said.contains("/dev/sdb2 is mounted at /media/a card; umount '/media/a card'"),
        "{said}"
    );
    assert!(
        made.said("8:17", None, None)
            .contains("name the whole disk, /dev/sdb")
    );
    assert!(
        made.said("8:16", Some("8:18"), None)
            .contains("holds the image itself")
    );
}

#[test]
fn what_lies_on_an_encrypted_volume_or_btrfs_counts() {
    let made = Made::new();
    // sdb2 is unlocked as dm-0, which is mounted; the second mount is a btrfs, whose
    // device number belongs to no disk.
    made.disk("virtual/block/dm-0", "253:0", 1 << 20, &[]);
    made.file("sys/block/sdb/sdb2/holders/dm-0/dev", "253:0");
    made.mounts("31 1 253:0 / /safe rw - ext4 /dev/mapper/safe rw\n32 1 0:40 / /b rw - btrfs /dev/sdb1 rw\n");
    let said = made.said("8:16", None, None);
    assert!(said.contains("sdb2 is part of dm-0"), "{said}");
    assert!(
        said.contains("mounted at /safe") && said.contains("mounted at /b"),
        "{said}"
    );
    assert!(
        made.said("8:16", Some("0:40"), None)
            .contains("holds the image itself")
    );
}

#[test]
fn a_reader_without_a_card_and_a_locked_card_are_named() {
    let made = Made::new();
    made.file("sys/block/sdb/size", "0");
    made.file("sys/block/sdb/ro", "1");
    let said = made.said("8:16", None, None);
    assert!(
        said.contains("there is no card in sdb") && said.contains("read-only"),
        "{said}"
    );
}

#[test]
fn too_small_says_by_how_much() {
    let target = Target::File {
        path: "card".into(),
        size: 10 << 20,
    };
    assert!(check_fits(&target, 10 << 20).is_ok());
    let said = check_fits(&target, (10 << 20) + 1).unwrap_err().to_string();
    assert!(said.contains("too small by 1 MiB"), "{said}");
}
