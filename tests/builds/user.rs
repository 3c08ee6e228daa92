//! The same for an ordinary user.

use crate::fixture::Fixture;
use crate::need::test_name;
use crate::ordinary::Ordinary;
use std::fs;
use std::os::unix::fs::MetadataExt;

#[test]
fn an_ordinary_user_builds_too() {
    let Some(user) = Ordinary::new(test_name!()) else {
        return;
    };
    let f = Fixture::with_base("arm64");
    f.config("CACHE_DIR=cache");
    f.config("export REPORT=\"$PWD/deploy/report\"");
    f.file("stage0/00-packages/00-packages-nr", "adduser\n");
    f.script(
        "stage0/01-look/00-run.sh",
        "#!/bin/bash -e\ncd \"$ROOTFS_DIR\"\nstat -c '%n %u:%g %a' etc/shadow usr/bin/passwd >\"$REPORT\"\n",
    );
    let root = user.copy(&f.root, "tree");
    user.build(&root, &[]);
    assert_eq!(
        fs::read_to_string(root.join("deploy/report")).unwrap(),
        "etc/shadow 0:42 640\nusr/bin/passwd 0:0 4755\n"
    );
    assert_eq!(fs::metadata(root.join("work")).unwrap().uid(), user.uid);
}
