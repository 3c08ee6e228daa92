//! What host scripts read outside of their stage, and what they leave outside of their layer.

use crate::common::{ROOT as PARTITION, debugfs};
use crate::fixture::Fixture;
use crate::secrets::ROOT;
use std::fs;
use std::os::unix::fs::symlink;

/// Ways to read a file that is not of the script's stage: a script, the file, and how `plan` calls
/// it.
const WAYS: [(&str, &str, &str); 11] = [
    ("cat ../../app/up", "app/up", "file of the tree app/up"),
    (
        "cat \"${STAGE_DIR}/../app/stage\"",
        "app/stage",
        "file of the tree app/stage",
    ),
    (
        "d=$(dirname \"$STAGE_DIR\"); cd \"$d\"; cd app; cat made-up",
        "app/made-up",
        "file of the tree app/made-up",
    ),
    (
        ". \"${BASE_DIR}/lib.sh\"",
        "lib.sh",
        "file of the tree lib.sh",
    ),
    (
        "\"${BASE_DIR}/make-it\"",
        "make-it",
        "file of the tree make-it",
    ),
    (
        "cat files/out/linked",
        "elsewhere/linked",
        "file of the tree elsewhere/linked",
    ),
    (
        "cat ../../stage9/files/other",
        "stage9/files/other",
        "file of the tree stage9/files/other",
    ),
    // A declaration does not hide what it forgets.
    (
        "# inputs: files\ncat ../../app/undeclared",
        "app/undeclared",
        "file of the tree app/undeclared",
    ),
    (
        "cat \"$OUTSIDE\"/large | tail -c 9",
        "../host/large",
        "host/large has changed",
    ),
    // What is not there, and which names there are.
    (
        "[ ! -f ../../local.sh ] || . ../../local.sh",
        "local.sh",
        "path of the tree local.sh",
    ),
    (
        "x=$(dirname \"$STAGE_DIR\"); ls \"$x/app-names\"",
        "app-names/new",
        "app-names",
    ),
];

fn name(index: usize) -> String {
    format!("stage1/{index:02}-a/00-run.sh")
}

fn tree() -> Fixture {
    let f = Fixture::new("arm64");
    f.config("STAGE_LIST='stage0 stage1'\nBOOT_SIZE=64M\nROOT_MARGIN=16M");
    let host = f.root.parent().unwrap().join("host");
    fs::create_dir(&host).unwrap();
    f.config(&format!("export OUTSIDE='{}'", host.display()));
    f.config("HOST_PATHS=\"$OUTSIDE\"");
    f.script("stage0/prerun.sh", ROOT);
    for (index, (script, file, _)) in WAYS.iter().enumerate() {
        if index < 9 {
            f.script(file, "#!/bin/sh\necho one\n");
        }
        let text = format!("#!/bin/bash -e\n{script} > \"$ROOTFS_DIR/etc/way-{index}\"\n");
        f.script(&name(index), &text);
    }
    let large = vec![b'1'; 5 << 20];
    fs::write(host.join("large"), large).unwrap();
    f.file("app-names/old", "");
    let files = f.root.join("stage1/05-a/files");
    fs::create_dir_all(&files).unwrap();
    symlink("../../../current", files.join("out")).unwrap();
    symlink("elsewhere", f.root.join("current")).unwrap();
    f.file("stage1/07-a/files/declared", "");
    f.file("stage1/EXPORT_IMAGE", "");
    f
}

#[test]
fn what_a_script_reads_outside_of_its_stage_makes_it_run_again() {
    let f = tree();
    f.run(&["build", "--emulate"]).good();
    f.run(&["build", "--emulate"])
        .good()
        .says("nothing has changed");
    let runs = |index: usize, words: &str| {
        let plan = f.run(&["plan"]).good();
        let step = name(index);
        let mut lines = plan.text.lines().filter(|line| line.contains("run "));
        let first = lines.next().unwrap_or_default();
        assert!(
            first.contains(&format!("run     {step}")) && first.contains(words),
            "{step}, {words}: {}",
            plan.text
        );
        assert!(lines.all(|line| line.contains("because")), "{}", plan.text);
        f.run(&["why", &step]).good().says(words);
    };
    for (index, (_, file, words)) in WAYS.iter().enumerate() {
        let before = fs::read(f.root.join(file)).ok();
        f.file(file, "#!/bin/sh\necho another\n");
        runs(index, words);
        match before {
            Some(bytes) => fs::write(f.root.join(file), bytes).unwrap(),
            None => fs::remove_file(f.root.join(file)).unwrap(),
        }
    }
    // A link that leads elsewhere, to the very same.
    fs::rename(f.root.join("elsewhere"), f.root.join("moved")).unwrap();
    fs::remove_file(f.root.join("current")).unwrap();
    symlink("moved", f.root.join("current")).unwrap();
    runs(5, "file of the tree current has changed");
    fs::rename(f.root.join("moved"), f.root.join("elsewhere")).unwrap();
    fs::remove_file(f.root.join("current")).unwrap();
    symlink("elsewhere", f.root.join("current")).unwrap();
    // What nothing reads counts for nothing.
    f.file("app/unread", "");
    f.file("README", "");
    f.run(&["build", "--emulate"])
        .good()
        .says("nothing has changed");
    // The new one is what is in the image, and the old one is there again afterwards.
    let up = || {
        debugfs(
            &f.root.join("deploy/").join(image(&f)),
            PARTITION,
            "cat /etc/way-0",
        )
    };
    let old = fs::read_to_string(f.root.join("app/up")).unwrap();
    f.file("app/up", "two");
    f.run(&["build", "--emulate"]).good();
    assert!(up().contains("two"));
    f.file("app/up", &old);
    let said = f.run(&["build", "--emulate"]).good();
    said.says(&format!("cached  {}", name(0)));
    assert!(up().contains("one"));
}

fn image(f: &Fixture) -> String {
    let names = fs::read_dir(f.root.join("deploy")).unwrap().flatten();
    let mut names = names.map(|entry| entry.file_name().into_string().unwrap());
    names.find(|name| name.ends_with(".img")).unwrap()
}

/// A stage whose steps hand files on, allocate blocks and want device nodes.
#[test]
fn what_a_script_leaves_for_later_ones_is_there_when_it_is_cached() {
    let f = Fixture::new("arm64");
    f.config("STAGE_LIST='stage0 stage1'\nBOOT_SIZE=64M\nROOT_MARGIN=16M");
    f.script("stage0/prerun.sh", ROOT);
    f.script(
        "stage0/00-a/00-run.sh",
        "#!/bin/bash -e\necho handed > \"$WORK_DIR/on\"\necho out > \"$DEPLOY_DIR/list\"\n\
         fallocate -l 1M \"$ROOTFS_DIR/swapfile\"\ndd if=/dev/zero of=\"$ROOTFS_DIR/zeros\" bs=1M count=2\n\
         truncate -s 1M \"$ROOTFS_DIR/hole\"\n",
    );
    // Which copies the file up.
    f.script(
        "stage1/00-a/00-run.sh",
        "#!/bin/bash -e\nchmod 600 \"$ROOTFS_DIR/swapfile\"\n",
    );
    let take = "#!/bin/bash -e\ncat \"$WORK_DIR/on\" > \"$ROOTFS_DIR/etc/taken\"\n";
    f.script("stage1/00-a/01-run.sh", take);
    f.file("stage1/EXPORT_IMAGE", "");
    let said = f.run(&["build", "--emulate"]).good();
    said.says("stage0/00-a/00-run.sh leaves ");
    said.says("deploy/list outside of its layer");
    let first = fs::read(f.root.join("deploy").join(image(&f))).unwrap();
    let blocks = |path: &str| {
        let shown = debugfs(
            &f.root.join("deploy").join(image(&f)),
            PARTITION,
            &format!("stat {path}"),
        );
        let count = shown.split("Blockcount: ").nth(1).unwrap();
        count
            .split_whitespace()
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            / 8
    };
    assert_eq!(
        [blocks("/swapfile"), blocks("/zeros"), blocks("/hole")],
        [256, 512, 0]
    );

    // Elsewhere, from the shared cache, and with the first step cached.
    f.script("stage1/00-a/01-run.sh", &format!("{take}# again\n"));
    fs::remove_file(f.root.join("deploy/list")).unwrap();
    let shared = f.root.join("shared");
    let shared = shared.to_str().unwrap();
    let said = f.run(&["build", "--emulate", "--cache-to", shared]).good();
    said.says("cached  stage0/00-a/00-run.sh");
    said.says("deploy/list, which is gone");
    let other = ["--set", "WORK_DIR=other", "--set", "DEPLOY_DIR=there"];
    let args = [&["build", "--emulate", "--cache-from", shared][..], &other].concat();
    f.run(&args).good().says("cached  stage1/00-a/01-run.sh");
    let there = f.root.join("there").join(image(&f));
    assert!(fs::read(there).unwrap() == first, "another image");

    f.script(
        "stage1/00-a/02-run.sh",
        "#!/bin/bash -e\nmkfifo \"$ROOTFS_DIR/fifo\"\nmknod \"$ROOTFS_DIR/null\" c 1 3\n",
    );
    f.run(&["check"])
        .good()
        .says("a build cannot make device nodes");
    let said = f.run(&["build", "--emulate"]).failed();
    said.says("tmpfiles.d");
}
