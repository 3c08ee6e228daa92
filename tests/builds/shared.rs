//! A cache that several machines share.

use crate::common::{Tree, both};
use crate::locked::{image, tree};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

/// Another machine: empty work, deploy and package directories for the same tree.
fn elsewhere(tree: &Tree, name: &str, args: &[&str]) -> (Output, PathBuf) {
    let dir = |what: &str| tree.dir.join(format!("{name}-{what}"));
    let output = tree
        .command(&[&["build"], args].concat())
        .env("WORK_DIR", dir("work"))
        .env("DEPLOY_DIR", dir("deploy"))
        .env("CACHE_DIR", dir("cache"))
        .output()
        .unwrap();
    (output, dir("deploy"))
}

/// The archive that the object of the layer of `step` names.
fn archive_of(tree: &Tree, shared: &Path, step: &str) -> PathBuf {
    let progress = fs::read_to_string(tree.dir.join("work/Test-arm64/progress.json")).unwrap();
    let progress: serde_json::Value = serde_json::from_str(&progress).unwrap();
    let steps = progress["steps"].as_array().unwrap();
    let entry = steps.iter().find(|entry| entry[0] == step).unwrap();
    let line = fs::read_to_string(shared.join("layers").join(entry[1].as_str().unwrap())).unwrap();
    shared.join("blobs").join(line.split(' ').next().unwrap())
}

#[test]
fn a_step_is_built_once_for_many_machines() {
    let tree = tree("arm64");
    let shared = tree.dir.join("shared");
    let to = shared.to_str().unwrap();
    tree.build(&["--cache-to", to]);
    let first = image(&tree.dir.join("deploy"));

    let (output, deploy) = elsewhere(&tree, "second", &["--cache-from", to]);
    let said = both(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(image(&deploy), first);
    let plan = both(&tree.run(&["plan"]));
    for step in plan.lines().filter(|line| line.starts_with("cached")) {
        assert!(said.contains(step), "{step} has run:\n{said}");
    }
    let log = fs::read_to_string(tree.dir.join("second-work/Test-arm64/build.log")).unwrap();
    for program in ["mmdebstrap", "apt-get", "Setting up"] {
        assert!(!log.contains(program), "{program} has run:\n{log}");
    }

    // One byte, the end, and all of an object.
    let flipped = archive_of(&tree, &shared, "stage0/00-a/01-run.sh");
    let mut bytes = fs::read(&flipped).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&flipped, &bytes).unwrap();
    let cut = archive_of(&tree, &shared, "stage0/00-a/02-run-chroot.sh");
    let file = fs::File::options().write(true).open(&cut).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    fs::remove_file(archive_of(&tree, &shared, "stage1/prerun.sh")).unwrap();
    let both_ways = ["--cache-from", to, "--cache-to", to];
    let (output, deploy) = elsewhere(&tree, "third", &both_ways);
    let said = both(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(
        said.matches("is damaged or incomplete").count(),
        3,
        "{said}"
    );
    assert!(
        said.contains("cached  stage0/00-a/00-packages-nr"),
        "{said}"
    );
    assert!(
        said.contains("cached  stage1/00-b/00-run-chroot.sh"),
        "{said}"
    );
    assert!(!said.contains("cached  stage0/00-a/01-run.sh"), "{said}");
    assert_eq!(image(&deploy), first);

    // What was damaged has been replaced.
    let (output, _) = elsewhere(&tree, "fourth", &["--cache-from", to]);
    let said = both(&output);
    assert!(
        output.status.success() && !said.contains("damaged"),
        "{said}"
    );
}

#[test]
fn an_unknown_kind_of_cache_is_refused() {
    let tree = Tree::new("arm64");
    tree.file("config", "IMG_NAME=Test\n");
    let said = both(&tree.run(&["check", "--set", "CACHE_FROM=ftp://x/y"]));
    assert!(said.contains("\"ftp\" is no kind of cache"), "{said}");
}
