//! What a root file system has besides contents arrives in the image, root or not.

use crate::common::{Tree, both};
use std::process::Command;

/// A root made by hand: nothing of it has to run.
const ROOT: &str = r#"
mkdir -p "${ROOTFS_DIR}"/{etc,usr/bin,usr/sbin,boot/firmware,odd}
cd "${ROOTFS_DIR}"
printf 'BOOTDEV /boot/firmware vfat defaults 0 2\nROOTDEV / ext4 defaults 0 1\n' > etc/fstab
echo 'root=ROOTDEV rootwait' > boot/firmware/cmdline.txt
echo x > odd/capable; setcap cap_net_raw+ep odd/capable
echo x > odd/listed; setfacl -m u:33:rw odd/listed
echo x > odd/owned; chown 33:8 odd/owned; chmod 6751 odd/owned
echo x > odd/one; ln odd/one odd/two; ln odd/one "odd/thr ee"
setfattr -n user.note -v hello odd/one
truncate -s 100M odd/hole
mkfifo odd/fifo
"#;

#[test]
fn attributes_of_every_kind_reach_the_image() {
    let tree = Tree::new("arm64");
    tree.script("stages/stage0/prerun.sh", ROOT);
    tree.file("stages/stage0/EXPORT_IMAGE", "IMG_SUFFIX=-odd\n");
    let sizes = ["--set", "BOOT_SIZE=64M", "--set", "DEPLOY_COMPRESSION=none"];
    tree.build(&sizes);
    let image = tree.dir.join("deploy/2026-01-31-Test-odd.img");
    // The second partition follows the boot partition, which begins at 4 MiB.
    let root = format!("{}?offset={}", image.display(), (4 + 64) << 20);
    let debugfs = |request: &str| {
        let output = Command::new("debugfs")
            .args(["-R", request, &root])
            .output();
        both(&output.unwrap())
    };
    let capable = debugfs("ea_list /odd/capable");
    // 20 bytes: version 2, which means the same in every namespace.
    assert!(capable.contains("security.capability (20)"), "{capable}");
    let listed = debugfs("ea_list /odd/listed");
    assert!(listed.contains("system.posix_acl_access"), "{listed}");
    let owned = debugfs("stat /odd/owned");
    assert!(owned.contains("06751"), "{owned}");
    assert!(owned.contains("User:    33   Group:     8"), "{owned}");
    let linked = debugfs("stat /odd/one");
    assert!(linked.contains("Links: 3"), "{linked}");
    assert!(debugfs("ea_list /odd/one").contains("user.note (5) = \"hello\""));
    assert!(debugfs("stat /odd/hole").contains("Blockcount: 0"));
    assert!(debugfs("stat /odd/fifo").contains("Type: FIFO"));
    let check = Command::new("e2fsck")
        .args(["-fn", &root])
        .output()
        .unwrap();
    assert!(check.status.success(), "{}", both(&check));
}
