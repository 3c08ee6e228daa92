//! Packages of one tree that another one must not get.

use crate::common::{Tree, both};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where what a step was told lies, if it left a file of its own for a package.
const LEFT: &str = "/srv/left";

/// A step that puts a file of its own in place of `less`, of the right name and size, and writes
/// into every package file that it sees.
const POISON: &str = "\
set -- $(apt-get install --print-uris --yes less | sed -n \"s/^'[^']*' \\(less_[^ ]*\\) \\([0-9]*\\) .*/\\1 \\2/p\")
test -n \"$2\"
head -c \"$2\" /dev/zero >/var/cache/apt/archives/$1
echo $1 >/srv/left
for file in /var/cache/apt/archives/*.deb /run/westwork-gen/locked/pool/*; do
	echo evil >>$file || true
done
";

fn build(tree: &Tree, cache: &Path, args: &[&str]) -> String {
    let output = tree
        .command(&[&["build"], args].concat())
        .env("CACHE_DIR", cache)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", both(&output));
    both(&output)
}

/// The package files of the pool, each of which must have the checksum in its name.
fn pool(cache: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(cache.join("packages/arm64"))
        .unwrap()
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((_, sum)) = name.rsplit_once(".deb.") else {
            continue;
        };
        let said = Command::new("sha256sum")
            .arg(entry.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.starts_with(sum), "{name} is not what it was: {said}");
        found.push(entry.path());
    }
    found
}

#[test]
fn a_trees_package_reaches_no_other_tree() {
    let one = Tree::new("arm64").with_bootstrap();
    let cache = one.dir.join("cache");
    one.file("stages/stage0/00-a/00-run-chroot.sh", POISON);
    build(&one, &cache, &[]);
    let layers = one.dir.join("work/layers");
    let left = walkdir::WalkDir::new(&layers).into_iter().flatten();
    let left: Vec<_> = left
        .filter(|entry| entry.path().to_string_lossy().ends_with(LEFT))
        .map(|entry| fs::read_to_string(entry.path()).unwrap())
        .collect();
    assert_eq!(left.len(), 1, "the step did not do what it was to");
    let less = left[0].trim();
    let before = pool(&cache);
    assert!(before.len() > 20, "{before:?}");
    let has = |files: &[PathBuf]| {
        let start = format!("{less}.");
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        files.iter().any(|path| name(path).starts_with(&start))
    };
    assert!(!has(&before), "{less} is in the pool");

    let other = Tree::new("arm64").with_bootstrap();
    other.file("stages/stage0/00-a/00-packages-nr", "less\n");
    other.file("stages/stage0/00-a/01-run-chroot.sh", "less --version\n");
    build(&other, &cache, &[]);
    assert!(has(&pool(&cache)), "{less} is not in the pool");

    // Nor by way of the index of a locked build.
    let mut scripts = POISON.lines().skip_while(|line| !line.starts_with("for "));
    let mut script = String::from("ls /run/westwork-gen/locked/pool/less_*\n");
    scripts
        .by_ref()
        .for_each(|line| script += &format!("{line}\n"));
    other.file("stages/stage0/00-a/02-run-chroot.sh", &script);
    build(&other, &cache, &["--locked"]);
    pool(&cache);
}
