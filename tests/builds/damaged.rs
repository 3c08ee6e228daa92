//! Damage to what the program keeps for itself, one file at a time.

use crate::common::{Tree, cache};
use crate::locked::{image, tree};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use walkdir::WalkDir;

/// A build that makes every layer anew takes less, also on a slow machine.
const LONGEST: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Copy)]
enum Damage {
    Emptied,
    Cut,
    Flipped,
}

const ALL: [Damage; 3] = [Damage::Emptied, Damage::Cut, Damage::Flipped];

impl Damage {
    fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Emptied => Vec::new(),
            Self::Cut => bytes[..bytes.len() / 2].to_vec(),
            Self::Flipped => {
                let mut flipped = bytes.to_vec();
                let middle = flipped.len() / 2;
                if let Some(byte) = flipped.get_mut(middle) {
                    *byte ^= 1;
                }
                flipped
            }
        }
    }
}

/// The tree with directories of its own for everything.
struct Place {
    tree: Tree,
}

impl Place {
    /// With a copy of the packages and tools that the tests share.
    fn new() -> Self {
        let tree = tree("arm64");
        let own = tree.dir.join("cache");
        fs::create_dir(&own).unwrap();
        for name in ["packages", "tools"] {
            let from = cache().join(name);
            if from.exists() {
                let copied = Command::new("cp").arg("-a").arg(from).arg(&own).status();
                assert!(copied.unwrap().success());
            }
        }
        Self { tree }
    }

    fn run(&self, args: &[&str]) -> Output {
        let dir = |name: &str| self.tree.dir.join(name);
        let (out, err) = (dir("stdout"), dir("stderr"));
        let mut child = self
            .tree
            .command(args)
            .env("CACHE_DIR", dir("cache"))
            .stdin(Stdio::null())
            .stdout(fs::File::create(&out).unwrap())
            .stderr(fs::File::create(&err).unwrap())
            .spawn()
            .unwrap();
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if start.elapsed() > LONGEST {
                let _ = child.kill();
                panic!("{args:?} hangs:\n{}", fs::read_to_string(&err).unwrap());
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        Output {
            status,
            stdout: fs::read(out).unwrap(),
            stderr: fs::read(err).unwrap(),
        }
    }

    /// Files that the program keeps: of layers and of unpacked roots those that say what they are,
    /// of packages two.
    fn kept(&self) -> Vec<PathBuf> {
        let mut found = BTreeSet::new();
        let mut packages = 0;
        for name in ["work", "cache"] {
            let walk = WalkDir::new(self.tree.dir.join(name)).sort_by_file_name();
            let walk = walk.into_iter().filter_entry(|entry| {
                let name = entry.file_name().to_string_lossy();
                !(entry.file_type().is_dir() && (name == "upper" || name == "root"))
            });
            for entry in walk.flatten().filter(|entry| entry.file_type().is_file()) {
                let is_package = entry.file_name().to_string_lossy().contains(".deb");
                packages += usize::from(is_package);
                if !is_package || packages <= 2 {
                    found.insert(entry.into_path());
                }
            }
        }
        found.into_iter().collect()
    }

    /// Builds; the image must be `right`, or the message must name `file` and what to do.
    fn build(&self, file: &Path, damage: Damage, right: &str) {
        let output = self.run(&["build"]);
        let said = crate::common::both(&output);
        let what = format!("{} {damage:?}", file.display());
        if output.status.success() {
            assert_eq!(
                image(&self.tree.dir.join("deploy")),
                right,
                "{what}:\n{said}"
            );
            return;
        }
        let name = file.file_name().unwrap().to_string_lossy();
        assert!(said.contains(&*name), "{what}:\n{said}");
    }
}

#[test]
fn whatever_is_damaged_the_next_build_is_right_or_says_so() {
    let place = Place::new();
    let first = place.run(&["build"]);
    assert!(first.status.success(), "{}", crate::common::both(&first));
    let right = image(&place.tree.dir.join("deploy"));
    let files = place.kept();
    let named = |end: &str| files.iter().any(|file| file.ends_with(end));
    for name in [
        "progress.json",
        "archive.json",
        "deployed.json",
        "layer.json",
        "durable",
    ] {
        assert!(named(name), "{name} is not among {files:#?}");
    }
    assert!(named("pool.json") && named("packages.json"), "{files:#?}");
    let mut count = 0;
    for file in &files {
        // What an earlier one has made the build throw away.
        let Ok(whole) = fs::read(file) else { continue };
        for damage in ALL {
            let damaged = damage.of(&whole);
            // Locks and marks are empty.
            if damaged == whole || !file.exists() {
                continue;
            }
            fs::write(file, &damaged).unwrap();
            let start = Instant::now();
            place.build(file, damage, &right);
            // Nobody has looked at it, or it is the one that the message named.
            if fs::read(file).is_ok_and(|now| now == damaged) {
                fs::write(file, &whole).unwrap();
            }
            count += 1;
            println!(
                "  {} s  {damage:?} {}",
                start.elapsed().as_secs(),
                file.display()
            );
        }
    }
    assert!(count > 30, "{count} builds after a damage");

    // All state at once, and the image is made again of what is left.
    for file in files.iter().filter(|file| file.exists()) {
        if file.extension().is_some_and(|end| end == "json") {
            fs::write(file, "{").unwrap();
        }
    }
    fs::remove_dir_all(place.tree.dir.join("deploy")).unwrap();
    let output = place.run(&["build"]);
    assert!(output.status.success(), "{}", crate::common::both(&output));
    assert_eq!(image(&place.tree.dir.join("deploy")), right);
}

#[test]
fn a_layer_that_rots_is_given_to_nobody_and_found() {
    let place = Place::new();
    let first = place.run(&["build"]);
    assert!(first.status.success(), "{}", crate::common::both(&first));
    let right = image(&place.tree.dir.join("deploy"));
    assert!(place.run(&["clean", "--verify"]).status.success());
    let layers = place.tree.dir.join("work/layers");
    let mode = fs::metadata(&layers).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&mode.permissions());
    assert_eq!(
        mode & 0o777,
        0o700,
        "others can look into {}",
        layers.display()
    );
    let walk = WalkDir::new(&layers).into_iter().flatten();
    let file = walk
        .map(walkdir::DirEntry::into_path)
        .find(|path| path.ends_with("upper/rootfs/usr/bin/dpkg"))
        .unwrap();
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, Damage::Flipped.of(&bytes)).unwrap();

    let shared = place.tree.dir.join("shared");
    let output = place.run(&["build", "--cache-to", shared.to_str().unwrap()]);
    let said = crate::common::both(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("is damaged, and is not given"), "{said}");
    let given = fs::read_dir(shared.join("layers")).unwrap().count();
    let progress = fs::read_to_string(place.tree.dir.join("work/Test-arm64/progress.json"));
    let progress: serde_json::Value = serde_json::from_str(&progress.unwrap()).unwrap();
    assert_eq!(given + 1, progress["steps"].as_array().unwrap().len());

    let output = place.run(&["clean", "--verify"]);
    let said = crate::common::both(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("damaged: stage0/prerun.sh"), "{said}");
    assert!(place.run(&["clean", "--verify"]).status.success());
    fs::remove_dir_all(place.tree.dir.join("deploy")).unwrap();
    let output = place.run(&["build"]);
    assert!(output.status.success(), "{}", crate::common::both(&output));
    assert_eq!(image(&place.tree.dir.join("deploy")), right);
}

#[test]
fn removing_everything_needs_no_state() {
    let place = Place::new();
    place.tree.file("work/Test-arm64/progress.json", "");
    place.tree.file("work/Test-arm64/build.log", "");
    place.tree.file("work/layers/0123456789ab/layer.json", "{");
    let output = place.run(&["clean", "--all"]);
    assert!(output.status.success(), "{}", crate::common::both(&output));
    assert!(!place.tree.dir.join("work/Test-arm64").exists());
    assert!(!place.tree.dir.join("work/layers/0123456789ab").exists());
}
