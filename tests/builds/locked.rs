//! The same packages again: lock file, package cache, and layers that are there.

use crate::common::{PROGRAM, Tree, both, cache, release, target};
use crate::need::{self, test_name};
use crate::schemas::{events, named};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// A small real build that ends in an image, of packages that the tests share.
pub(crate) fn tree(arch: &str) -> Tree {
    let tree = Tree::new(arch).with_bootstrap();
    tree.file(
        "config",
        &format!(
            "IMG_NAME=Test\n{}IMG_DATE=2026-01-31\nBOOT_SIZE=64M\n",
            target(arch)
        ),
    );
    tree.file("stages/stage0/00-a/00-packages-nr", "adduser less\n");
    tree.script(
        "stages/stage0/00-a/01-run.sh",
        "mkdir -p \"${ROOTFS_DIR}/boot/firmware\"\n\
         printf 'BOOTDEV /boot/firmware vfat defaults 0 2\\nROOTDEV / ext4 defaults 0 1\\n' > \"${ROOTFS_DIR}/etc/fstab\"\n\
         echo 'root=ROOTDEV rootwait' > \"${ROOTFS_DIR}/boot/firmware/cmdline.txt\"",
    );
    // One that the bootstrap brings, one that is not there, and none by that name.
    tree.file(
        "stages/stage0/00-a/02-run-chroot.sh",
        "apt-get purge -y tzdata tasksel\ndpkg -s tzdata && exit 1\ntrue\n",
    );
    tree.script("stages/stage1/prerun.sh", "copy_previous");
    tree.file(
        "stages/stage1/00-b/00-run-chroot.sh",
        "adduser --quiet --disabled-password --comment '' anna\n",
    );
    tree.file("stages/stage1/EXPORT_IMAGE", "");
    tree
}

/// The checksum of the image in `deploy`.
pub(crate) fn image(deploy: &Path) -> String {
    let images = fs::read_dir(deploy).unwrap().flatten();
    let path = images
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().ends_with(".img.zst"))
        .unwrap();
    let sum = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8_lossy(&sum.stdout)
        .split(' ')
        .next()
        .unwrap()
        .to_owned()
}

/// Runs the program in a network namespace without interfaces, which only root can make so
/// that the ids of ordinary users remain; it must succeed.
fn without_network(tree: &Tree, args: &[&str]) -> Option<String> {
    if let Err(missing) = need::root() {
        need::missing(test_name!(), &missing);
        return None;
    }
    let output = Command::new("unshare")
        .args(["--net", PROGRAM])
        .args(args)
        .current_dir(&tree.dir)
        .env("CACHE_DIR", cache())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", both(&output));
    Some(both(&output))
}

#[test]
fn only_what_changed_is_built_and_said() {
    let tree = tree("arm64");
    let plan = |step: &str| {
        let text = both(&tree.run(&["plan"]));
        let line = text.lines().find(|line| line.contains(step));
        line.unwrap_or_else(|| panic!("no {step} in\n{text}"))
            .to_owned()
    };
    assert!(plan("stage0/prerun.sh").ends_with("not built yet"));
    tree.build(&[]);
    let first = image(&tree.dir.join("deploy"));
    assert!(plan("stage0/prerun.sh").starts_with("cached"));

    // Nothing changed, and a file touched: nothing runs.
    let script = "stages/stage1/00-b/00-run-chroot.sh";
    let text = fs::read_to_string(tree.dir.join(script)).unwrap();
    tree.file(script, &text);
    let said = tree.build(&[]);
    assert!(said.contains("nothing has changed"), "{said}");
    assert!(said.contains(".img.zst"), "{said}");
    // Without a network too.
    if let Some(said) = without_network(&tree, &["build"]) {
        assert!(said.contains("nothing has changed"), "{said}");
    }

    // A shell in it, whose changes are thrown away or kept aside.
    let shell = |args: &[&str], input: &str| {
        let mut command = tree.command(&[&["shell"], args].concat());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        both(&child.wait_with_output().unwrap())
    };
    assert!(shell(&[], "uname -m; echo x > /srv/lost\n").contains("aarch64"));
    shell(&["--keep"], "echo here > /srv/kept\n");
    let said = shell(&["--keep"], "cat /srv/kept; ls /srv/lost\n");
    assert!(
        said.contains("here") && said.contains("No such file"),
        "{said}"
    );
    assert!(shell(&["stage0"], "id anna\n").contains("no such user"));
    assert!(tree.build(&[]).contains("nothing has changed"));

    // The last script: it alone runs, and `why` names it.
    tree.file(script, &format!("{text}echo more > /srv/more\n"));
    assert!(plan("stage1/00-b").contains("file 00-b/00-run-chroot.sh has changed"));
    let why = both(&tree.run(&["why", "stage1"]));
    assert!(why.contains("stage1/prerun.sh does not run"), "{why}");
    assert!(
        why.contains("file 00-b/00-run-chroot.sh has changed"),
        "{why}"
    );
    let said = tree.build(&[]);
    assert!(said.contains("cached  stage1/prerun.sh"), "{said}");
    assert!(!said.contains("cached  stage1/00-b"), "{said}");
    assert_ne!(image(&tree.dir.join("deploy")), first);

    // A comment in stage 0: everything after it.
    let early = "stages/stage0/00-a/01-run.sh";
    let before = fs::read_to_string(tree.dir.join(early)).unwrap();
    tree.script(early, &format!("{before}\n# a comment"));
    assert!(plan("stage1/prerun.sh").ends_with("because stage0/00-a/01-run.sh runs again"));
    let said = tree.build(&[]);
    assert!(
        said.contains("cached  stage0/00-a/00-packages-nr"),
        "{said}"
    );
    assert!(!said.contains("cached  stage1"), "{said}");

    // Back again: the layers are still there, until somebody cleans up.
    tree.file(script, &text);
    tree.script(
        early,
        before.trim_start_matches("#!/bin/bash -e\n").trim_end(),
    );
    let said = tree.build(&[]);
    assert!(said.contains("cached  stage1/00-b"), "{said}");
    assert_eq!(image(&tree.dir.join("deploy")), first);
    let cleaned = both(&tree.run(&["clean"]));
    assert!(!cleaned.contains("removed 0 layers"), "{cleaned}");
    assert!(tree.build(&[]).contains("nothing has changed"));
}

#[test]
fn a_lock_file_makes_the_same_image_without_a_network() {
    let tree = tree("arm64");
    tree.build(&[]);
    let first = image(&tree.dir.join("deploy"));
    let lock = fs::read_to_string(tree.dir.join("westwork.lock")).unwrap();
    assert!(lock.contains("name = \"less\""), "{lock}");
    // In other directories, in a network namespace without interfaces.
    let elsewhere = ["--set", "WORK_DIR=elsewhere", "--set", "DEPLOY_DIR=there"];
    let args = [&["build", "--locked", "--offline"][..], &elsewhere].concat();
    if without_network(&tree, &args).is_none() {
        tree.build(&args[1..]);
    }
    assert_eq!(image(&tree.dir.join("there")), first);
    // Its layers are a start for an ordinary build, which knows of more packages than the lock file.
    let more = tree.dir.join("stages/stage1/00-b/01-packages-nr");
    fs::write(&more, "hello\n").unwrap();
    let said = tree.build(&elsewhere);
    let cached = "cached  stage0/00-a/00-packages-nr";
    assert!(said.contains(cached), "{said}");
    fs::remove_file(&more).unwrap();
    tree.file("westwork.lock", &lock);
    // And emulated.
    tree.build(&[
        "--locked",
        "--emulate",
        "--set",
        "WORK_DIR=slow",
        "--set",
        "DEPLOY_DIR=emulated",
    ]);
    assert_eq!(image(&tree.dir.join("emulated")), first);
    // A package that is gone is named.
    let gone = lock
        .lines()
        .map(|line| match line.contains("name = \"less\"") {
            true => line.replace("/less_", "/less_0gone_"),
            false => line.to_owned(),
        })
        .map(|line| {
            line.replace(
                "name = \"less\", version = \"",
                "name = \"less\", version = \"0gone-",
            )
        })
        .collect::<Vec<_>>()
        .join("\n");
    tree.file("westwork.lock", &gone);
    let output = tree.run(&["build", "--locked", "--set", "WORK_DIR=fails"]);
    assert_eq!(output.status.code(), Some(1));
    let said = both(&output);
    assert!(said.contains("less 0gone-"), "{said}");
    assert!(
        said.contains("cannot be had from the archive any more"),
        "{said}"
    );
    let offline = both(&tree.run(&["build", "--offline", "--set", "WORK_DIR=fails"]));
    assert!(offline.contains("--offline needs less 0gone-"), "{offline}");
    // An update takes what the archive has, and says so.
    let updated = both(&tree.run(&["lock", "--update", "less"]));
    assert!(updated.contains("less 0gone-"), "{updated}");
    fs::remove_dir_all(tree.dir.join("elsewhere")).ok();
    fs::remove_dir_all(tree.dir.join("slow")).ok();
}

#[test]
fn a_damaged_package_is_fetched_again() {
    let tree = tree("arm64");
    let own = tree.dir.join("own cache");
    let set = format!("CACHE_DIR={}", own.display());
    tree.build(&["--set", &set]);
    let first = image(&tree.dir.join("deploy"));
    let pool = own.join("packages/arm64");
    let package = fs::read_dir(&pool)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().contains("/less_"))
        .unwrap();
    let mut bytes = fs::read(&package).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&package, &bytes).unwrap();
    let said = tree.build(&["--set", &set, "--set", "CLEAN=1"]);
    assert!(
        said.contains("less_") && said.contains("was damaged"),
        "{said}"
    );
    assert_ne!(fs::read(&package).unwrap(), bytes);
    assert_eq!(image(&tree.dir.join("deploy")), first);
}

/// `told` has the build for `arch` from its begin to its end, and `image` with its checksum.
fn assert_published(told: &[Value], arch: &str, image: &Path) {
    let own: Vec<Value> = told
        .iter()
        .filter(|it| it["arch"] == arch)
        .cloned()
        .collect();
    assert_eq!(own.first().unwrap()["event"], "build_begun");
    let last = own.last().unwrap();
    assert_eq!(
        [&last["event"], &last["code"]],
        [&json!("build_ended"), &json!(0)]
    );
    let artefacts = named(&own, "artefact");
    let found = artefacts
        .iter()
        .find(|it| it["path"] == image.to_str().unwrap());
    let found = found.unwrap_or_else(|| panic!("{artefacts:?}"));
    let bytes = fs::read(image).unwrap();
    assert_eq!(found["size"], bytes.len());
    assert_eq!(found["sha256"], hex::encode(Sha256::digest(bytes)));
    assert_eq!(found["cached"], false);
}

#[test]
fn two_architectures_in_one_run() {
    let tree = tree("arm64");
    tree.file(
        "config",
        &format!(
            "IMG_NAME=Test\nARCH='arm64 armhf'\nRELEASE={}\nEXTRA_SUITES=\nIMG_DATE=2026-01-31\nBOOT_SIZE=64M\n",
            release("armhf")
        ),
    );
    // Another host name is no reason to bootstrap again.
    tree.file(
        "other",
        "IMG_NAME=Other\nARCH=arm64\nTARGET_HOSTNAME=other\n",
    );
    let said = tree.build(&["--events", "told"]);
    let told = events(&fs::read_to_string(tree.dir.join("told")).unwrap());
    for arch in ["arm64", "armhf"] {
        assert!(said.contains(&format!("Test-{arch} | ")), "{said}");
        let image = tree
            .dir
            .join(format!("deploy/2026-01-31-Test-{arch}.img.zst"));
        assert!(image.exists(), "{said}");
        assert_published(&told, arch, &image);
    }
    // With nothing to build; and no line of one image is in the midst of one of the other.
    let again = tree.run(&["build", "--events", "-"]);
    let told = events(&String::from_utf8(again.stdout).unwrap());
    assert_eq!(named(&told, "run_begun").len(), 1);
    assert_eq!(named(&told, "build_ended").len(), 2);
    assert!(
        named(&told, "artefact")
            .iter()
            .all(|it| it["cached"] == true)
    );
    let people = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(
        people.contains("Test-armhf | nothing has changed"),
        "{people}"
    );
    // The same packages emulated make the same image, as for arm64 above.
    let said = tree.build(&[
        "--locked",
        "--emulate",
        "--set",
        "ARCH=armhf",
        "--set",
        "IMG_FILENAME=2026-01-31-Test-armhf",
        "--set",
        "WORK_DIR=slow",
        "--set",
        "DEPLOY_DIR=emulated",
    ]);
    let name = "2026-01-31-Test-armhf.img.zst";
    assert!(tree.dir.join("emulated").join(name).exists(), "{said}");
    assert_eq!(
        fs::read(tree.dir.join("emulated").join(name)).unwrap(),
        fs::read(tree.dir.join("deploy").join(name)).unwrap()
    );
    let said = tree.build(&["-c", "other"]);
    assert!(said.contains("cached  stage0/00-a/01-run.sh"), "{said}");
    let clash = tree.run(&["build", "-c", "other", "-c", "other"]);
    assert!(
        both(&clash).contains("would both be called"),
        "{}",
        both(&clash)
    );
}
