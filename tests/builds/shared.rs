//! A cache that several machines share.

use crate::common::{PROGRAM, Tree, both};
use crate::killed::SmallDisk;
use crate::locked::{image, tree};
use crate::need::{self, need};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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

/// The pipeline's script on another machine; what it said, and its summary.
fn pipeline(tree: &Tree, name: &str, shared: &str) -> (String, String) {
    let dir = |what: &str| tree.dir.join(format!("{name}-{what}"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/ci");
    let output = std::process::Command::new(script)
        .current_dir(&tree.dir)
        .env("WESTWORK_GEN", PROGRAM)
        .env("BOOT_TEST", "0")
        .env("CI_CACHE", shared)
        .env("SUMMARY", dir("summary"))
        .env("WORK_DIR", dir("work"))
        .env("DEPLOY_DIR", dir("deploy"))
        .env("CACHE_DIR", dir("cache"))
        .output()
        .unwrap();
    let said = both(&output);
    assert!(output.status.success(), "{said}");
    (said, fs::read_to_string(dir("summary")).unwrap())
}

/// The archive that the object of the layer of `step` names.
fn archive_of(tree: &Tree, shared: &Path, step: &str) -> PathBuf {
    let progress = tree.dir.join("first-work/Test-arm64/progress.json");
    let progress = fs::read_to_string(progress).unwrap();
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
    let (_, summary) = pipeline(&tree, "first", to);
    let first = image(&tree.dir.join("first-deploy"));
    assert!(summary.contains(&first), "{summary}");
    assert!(summary.contains("whole build"), "{summary}");

    let (said, _) = pipeline(&tree, "second", to);
    assert_eq!(image(&tree.dir.join("second-deploy")), first);
    let steps = [
        "stage0/prerun.sh",
        "stage0/00-a/00-packages-nr",
        "stage0/00-a/01-run.sh",
        "stage0/00-a/02-run-chroot.sh",
        "stage1/prerun.sh",
        "stage1/00-b/00-run-chroot.sh",
    ];
    for step in steps {
        assert!(
            said.contains(&format!("cached  {step}")),
            "{step} has run:\n{said}"
        );
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
fn a_full_disk_and_a_layer_that_leads_elsewhere_end_no_build_and_get_into_none() {
    need!(need::root());
    let tree = tree("arm64");
    let shared = tree.dir.join("shared");
    let to = shared.to_str().unwrap();
    let (output, deploy) = elsewhere(&tree, "first", &["--cache-to", to]);
    assert!(output.status.success(), "{}", both(&output));
    let first = image(&deploy);

    // A base system has more files than tar's complaints have room in a pipe.
    let small = tree.dir.join("second-work");
    let disk = SmallDisk::mount(&small, "60M");
    let output = Command::new("timeout")
        .args(["--kill-after=10", "300", PROGRAM, "build"])
        .args(["--cache-from", to, "--set", "MIN_FREE=0"])
        .current_dir(&tree.dir)
        .env("WORK_DIR", &small)
        .env("DEPLOY_DIR", tree.dir.join("second-deploy"))
        .env("CACHE_DIR", tree.dir.join("first-cache"))
        .output()
        .unwrap();
    let said = both(&output);
    // There is no room for the step itself either.
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert!(!said.contains("damaged or incomplete"), "{said}");
    drop(disk);

    // The bootstrap's layer with a link in place of its directory.
    let archive = archive_of(&tree, &shared, "stage0/prerun.sh");
    let scratch = tree.dir.join("scratch");
    let sh = |script: &str| {
        let done = Command::new("bash").args(["-ec", script]).status().unwrap();
        assert!(done.success(), "{script}");
    };
    fs::create_dir(&scratch).unwrap();
    let (scratch, archive) = (scratch.display(), archive.display());
    sh(&format!(
        "cd '{scratch}'; tar --zstd -xf '{archive}' layer.json; mkdir secret; echo x >secret/x; \
         ln -s '{scratch}/secret' upper; tar --zstd -cf new layer.json upper; \
         set -- $(sha256sum new); cp new '{to}'/blobs/$1; \
         key=$(grep '\"key\"' layer.json | cut -d '\"' -f 4); \
         echo $1 $(stat -c %s new) >'{to}'/layers/$key"
    ));
    let (output, deploy) = elsewhere(&tree, "third", &["--cache-from", to]);
    let said = both(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(
        said.matches("is damaged or incomplete").count(),
        1,
        "{said}"
    );
    assert_eq!(image(&deploy), first);
}

#[test]
fn an_unknown_kind_of_cache_is_refused() {
    let tree = Tree::new("arm64");
    tree.file("config", "IMG_NAME=Test\n");
    let said = both(&tree.run(&["check", "--set", "CACHE_FROM=ftp://x/y"]));
    assert!(said.contains("\"ftp\" is no kind of cache"), "{said}");
    let said = both(&tree.run(&["check", "--set", "CACHE_FROM=http://192.0.2.1/c"]));
    assert!(said.contains("insecure+http://192.0.2.1/c"), "{said}");
}

/// An S3 server of its own, on loopback; ends when dropped.
#[cfg(feature = "remote-cache")]
struct Bucket(std::process::Child);

#[cfg(feature = "remote-cache")]
impl Bucket {
    const PORT: &'static str = "5599";
    const ADDRESS: &'static str = "http://127.0.0.1:5599";

    fn new() -> Self {
        let server = std::process::Command::new("moto_server")
            .args(["-p", Self::PORT])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("moto_server (pip install 'moto[server]')");
        let bucket = Self(server);
        let made = std::process::Command::new("curl")
            .args([
                "-sSf",
                "--retry",
                "30",
                "--retry-connrefused",
                "--retry-delay",
                "1",
            ])
            .args(["-X", "PUT", &format!("{}/layers", Self::ADDRESS)])
            .status()
            .unwrap();
        assert!(made.success(), "no bucket");
        bucket
    }

    /// Builds as on another machine, with the bucket as the shared cache both ways.
    fn build(tree: &Tree, name: &str) -> (Output, PathBuf) {
        let dir = |what: &str| tree.dir.join(format!("{name}-{what}"));
        let url = "s3://layers/of/all";
        let output = tree
            .command(&["build", "--cache-from", url, "--cache-to", url])
            .env("WORK_DIR", dir("work"))
            .env("DEPLOY_DIR", dir("deploy"))
            .env("CACHE_DIR", dir("cache"))
            .env("AWS_ENDPOINT", Self::ADDRESS)
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", "us-east-1")
            .output()
            .unwrap();
        (output, dir("deploy"))
    }
}

#[cfg(feature = "remote-cache")]
impl Drop for Bucket {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[cfg(feature = "remote-cache")]
#[test]
fn an_object_store_does_the_same() {
    let tree = tree("arm64");
    let server = Bucket::new();
    let (output, deploy) = Bucket::build(&tree, "first");
    let said = both(&output);
    assert!(
        output.status.success() && !said.contains("shared cache:"),
        "{said}"
    );
    let first = image(&deploy);

    let (output, deploy) = Bucket::build(&tree, "second");
    let said = both(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(image(&deploy), first);
    let log = fs::read_to_string(tree.dir.join("second-work/Test-arm64/build.log")).unwrap();
    for program in ["mmdebstrap", "apt-get", "Setting up"] {
        assert!(!log.contains(program), "{program} has run:\n{log}");
    }

    // One byte of one object.
    let progress = fs::read_to_string(tree.dir.join("first-work/Test-arm64/progress.json"));
    let progress: serde_json::Value = serde_json::from_str(&progress.unwrap()).unwrap();
    let steps = progress["steps"].as_array().unwrap();
    let entry = steps
        .iter()
        .find(|entry| entry[0] == "stage0/00-a/01-run.sh");
    let key = entry.unwrap()[1].as_str().unwrap().to_owned();
    let objects = format!("{}/layers/of/all", Bucket::ADDRESS);
    let flip = format!(
        "set -e; as() {{ curl -sSf --aws-sigv4 aws:amz:us-east-1:s3 -u test:test \"$@\"; }}
         sum=$(as {objects}/layers/{key} | cut -d' ' -f1)
         as -o object {objects}/blobs/$sum
         printf '\\377' | dd of=object bs=1 seek=40 conv=notrunc status=none
         as -T object {objects}/blobs/$sum"
    );
    let done = std::process::Command::new("sh")
        .args(["-c", &flip])
        .current_dir(&tree.dir)
        .status();
    assert!(done.unwrap().success());
    let (output, deploy) = Bucket::build(&tree, "third");
    let said = both(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(
        said.matches("is damaged or incomplete").count(),
        1,
        "{said}"
    );
    assert!(!said.contains("cached  stage0/00-a/01-run.sh"), "{said}");
    assert!(
        said.contains("cached  stage1/00-b/00-run-chroot.sh"),
        "{said}"
    );
    assert_eq!(image(&deploy), first);

    // Nobody there: a note, and a build like any other.
    drop(server);
    let (output, deploy) = Bucket::build(&tree, "fourth");
    let said = both(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the shared cache is left out"), "{said}");
    assert_eq!(image(&deploy), first);
}
