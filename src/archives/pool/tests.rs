use super::*;
use crate::archives::package::tests::package;
use crate::base::command::Command;
use crate::base::digest;
use std::collections::BTreeSet;

/// An archive with a key of its own.
struct Archive {
    home: tempfile::TempDir,
}

impl Archive {
    fn new() -> Self {
        let archive = Self {
            home: tempfile::tempdir().unwrap(),
        };
        let make = [
            "--passphrase",
            "",
            "--quick-generate-key",
            "archive@example.org",
        ];
        archive
            .gpg()
            .args(make)
            .args(["ed25519", "sign", "never"])
            .read()
            .unwrap();
        let export = ["--output", "key.gpg", "--export"];
        archive.gpg().args(export).read().unwrap();
        archive
    }

    fn gpg(&self) -> Command {
        Command::new(crate::base::tool::Tool::ArchiveKeys)
            .args(["--batch", "--quiet", "--homedir"])
            .arg(self.home.path())
            .dir(self.home.path())
    }

    fn keys(&self) -> Keys {
        Keys::only(self.home.path().join("key.gpg"))
    }

    /// Lists in `root` that name these contents of `tool_1_arm64.deb`, signed if `signed`.
    fn publish(&self, root: &Path, contents: &str, signed: bool) {
        let lists = root.join("var/lib/apt/lists");
        fs::create_dir_all(&lists).unwrap();
        let packages = format!(
            "Package: tool\nVersion: 1\nArchitecture: arm64\nSize: {}\nSHA256: {}\n",
            contents.len(),
            sum(contents)
        );
        let release = format!(
            "Suite: trixie\nCodename: trixie\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nArchitectures: arm64\nComponents: main\nSHA256:\n {} {} main/binary-arm64/Packages\n",
            sum(&packages),
            packages.len()
        );
        let start = "a.example_debian_dists_trixie_";
        fs::write(
            lists.join(format!("{start}main_binary-arm64_Packages")),
            packages,
        )
        .unwrap();
        let path = lists.join(format!("{start}InRelease"));
        let signature = self
            .gpg()
            .arg("--clear-sign")
            .input(release.clone())
            .read()
            .unwrap();
        let text = match signed {
            true => signature,
            // The signature of something else.
            false => signature.replace(&release, &format!("{release} {} 1 x\n", sum("x"))),
        };
        fs::write(path, text).unwrap();
    }
}

fn make(dirs: &[&PathBuf]) {
    dirs.iter().for_each(|dir| fs::create_dir(dir).unwrap());
}

fn sum(text: &str) -> String {
    digest::of_reader(&mut text.as_bytes()).unwrap().0
}

fn open(cache: &Path, keys: Keys) -> (Archives, Vec<String>) {
    let mut notes = Vec::new();
    let archives = Archives::open(cache, "arm64", keys, &mut |note| {
        notes.push(note.to_owned())
    })
    .unwrap();
    (archives, notes)
}

/// A step that leaves `contents` as `tool_1_arm64.deb`, if any.
fn step(archives: &mut Archives, work: &Path, root: &Path, contents: Option<&str>) -> Result<()> {
    let staging = archives.stage(work, "").unwrap();
    if let Some(contents) = contents {
        fs::write(staging.upper().join("tool_1_arm64.deb"), contents).unwrap();
    }
    archives.save(staging, root, "").map(|_| ())
}

fn seen(cache: &Path, keys: Keys) -> Option<String> {
    let (archives, _) = open(cache, keys);
    fs::read_to_string(archives.view.path().join("tool_1_arm64.deb")).ok()
}

#[test]
fn what_a_step_downloads_is_counted_and_what_was_there_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let [cache, work, root] = ["cache", "work", "root"].map(|name| dir.path().join(name));
    make(&[&cache, &work, &root]);
    let (mut archives, _) = open(&cache, Archive::new().keys());
    for (files, packages, bytes) in [(&[][..], 0, 0), (&["a_1_all.deb", "b_1_all.deb"], 2, 8)] {
        let staging = archives.stage(&work, "").unwrap();
        for file in files {
            fs::write(staging.upper().join(file), "four").unwrap();
        }
        let downloaded = archives.save(staging, &root, "").unwrap();
        assert_eq!(downloaded, Downloaded { packages, bytes });
    }
}

#[test]
fn only_what_a_signed_index_names_reaches_other_builds() {
    let dir = tempfile::tempdir().unwrap();
    let [cache, work, root] = ["cache", "work", "root"].map(|name| dir.path().join(name));
    make(&[&cache, &work, &root]);
    let archive = Archive::new();
    let (mut one, _) = open(&cache, archive.keys());

    // Without an index, with one that does not name it, with one whose signature is bad.
    step(&mut one, &work, &root, Some("evil")).unwrap();
    assert_eq!(seen(&cache, archive.keys()), None);
    archive.publish(&root, "good", true);
    step(&mut one, &work, &root, Some("evil")).unwrap();
    assert_eq!(seen(&cache, archive.keys()), None);
    archive.publish(&root, "evil", false);
    step(&mut one, &work, &root, Some("evil")).unwrap();
    assert_eq!(seen(&cache, archive.keys()), None);
    // With one that has no signature at all.
    let lists = root.join("var/lib/apt/lists/a.example_debian_dists_trixie_");
    let list = |name: &str| format!("{}{name}", lists.display());
    let text = fs::read_to_string(list("InRelease")).unwrap();
    let release: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.starts_with("Suite"))
        .collect();
    let end = release
        .iter()
        .position(|line| line.starts_with("-----"))
        .unwrap();
    fs::write(list("Release"), release[..end].join("\n") + "\n").unwrap();
    fs::remove_file(list("InRelease")).unwrap();
    step(&mut one, &work, &root, Some("evil")).unwrap();
    assert_eq!(seen(&cache, archive.keys()), None);
    fs::remove_file(list("Release")).unwrap();
    // By a key that this machine does not know.
    archive.publish(&root, "evil", true);
    let other = Archive::new();
    let (mut stranger, _) = open(&cache, other.keys());
    step(&mut stranger, &work, &root, Some("evil")).unwrap();
    assert_eq!(seen(&cache, archive.keys()), None);
    // An index that is not the one of the release file.
    archive.publish(&root, "good", true);
    let index = "var/lib/apt/lists/a.example_debian_dists_trixie_main_binary-arm64_Packages";
    let text = fs::read_to_string(root.join(index)).unwrap();
    fs::write(root.join(index), text.replace(&sum("good"), &sum("evil"))).unwrap();
    step(&mut one, &work, &root, Some("evil")).unwrap();
    assert_eq!(seen(&cache, archive.keys()), None);

    archive.publish(&root, "good", true);
    let (mut one, _) = open(&cache, archive.keys());
    step(&mut one, &work, &root, Some("good")).unwrap();
    assert_eq!(seen(&cache, archive.keys()).as_deref(), Some("good"));
    // What could not be verified can be locked all the same, by its checksum.
    let known = one.known(&work).unwrap();
    let sums: Vec<_> = known["tool_1_arm64.deb"]
        .iter()
        .map(|file| file.sha256.clone())
        .collect();
    assert!(
        sums.contains(&sum("good")) && sums.contains(&sum("evil")),
        "{sums:?}"
    );
}

#[test]
fn a_package_that_is_published_again_replaces_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let [cache, work, root] = ["cache", "work", "root"].map(|name| dir.path().join(name));
    make(&[&cache, &work, &root]);
    let archive = Archive::new();
    let (mut one, _) = open(&cache, archive.keys());
    archive.publish(&root, "first", true);
    step(&mut one, &work, &root, Some("first")).unwrap();
    // Of another size: apt fetches it.
    archive.publish(&root, "second one", true);
    step(&mut one, &work, &root, Some("second one")).unwrap();
    assert_eq!(seen(&cache, archive.keys()).as_deref(), Some("second one"));
    // Of the same size: apt takes what is there, and the step must not count.
    archive.publish(&root, "third one!", true);
    let error = step(&mut one, &work, &root, None).unwrap_err().to_string();
    assert!(
        error.contains("tool_1_arm64.deb") && error.contains("build again"),
        "{error}"
    );
    assert_eq!(seen(&cache, archive.keys()), None);
    step(&mut one, &work, &root, Some("third one!")).unwrap();
    assert_eq!(seen(&cache, archive.keys()).as_deref(), Some("third one!"));
}

#[test]
fn what_a_lock_file_names_is_seen_by_it_alone() {
    let dir = tempfile::tempdir().unwrap();
    let [cache, from] = ["cache", "from"].map(|name| dir.path().join(name));
    make(&[&cache, &from]);
    let mut wanted = package("tool", "1");
    (wanted.architecture, wanted.sha256) = ("arm64".to_owned(), sum("mine"));
    fs::write(from.join("tool_1_arm64.deb"), "mine").unwrap();
    fs::write(from.join("other_1_arm64.deb"), "not asked for").unwrap();
    let (mut one, _) = open(&cache, Keys::none());
    one.adopt(&from, std::slice::from_ref(&wanted)).unwrap();
    assert_eq!(seen(&cache, Keys::none()), None);
    one.show_only(std::slice::from_ref(&wanted)).unwrap();
    assert_eq!(
        packages(one.view.path()).unwrap(),
        BTreeSet::from(["tool_1_arm64.deb".to_owned()])
    );
    // Another lock file has another one of the same name.
    let mut other = wanted.clone();
    other.sha256 = sum("hers");
    assert!(one.find(&wanted).unwrap().is_some() && one.find(&other).unwrap().is_none());
}

#[test]
fn a_damaged_or_unknown_package_is_thrown_out() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, from) = (dir.path().join("cache"), dir.path().join("from"));
    make(&[&cache, &from]);
    for name in ["a_1_arm64.deb", "b_1_arm64.deb"] {
        fs::write(from.join(name), "right").unwrap();
        fs::write(from.join(name), format!("right {name}")).unwrap();
    }
    let (one, _) = open(&cache, Keys::none());
    one.adopt_downloads(&from).unwrap();
    let stored = |name: &str| one.path(name, &sum(&format!("right {name}")));
    fs::write(stored("a_1_arm64.deb"), "wrong").unwrap();
    // Touched, but the same.
    fs::write(stored("b_1_arm64.deb"), "right b_1_arm64.deb").unwrap();
    let (two, notes) = open(&cache, Keys::none());
    assert_eq!(
        packages(two.view.path()).unwrap(),
        BTreeSet::from(["b_1_arm64.deb".to_owned()])
    );
    assert!(!stored("a_1_arm64.deb").exists());
    assert!(
        notes.len() == 1 && notes[0].contains("was damaged"),
        "{notes:?}"
    );

    // Without its index the pool has its packages still, for those who know their checksums.
    fs::write(cache.join("packages/arm64/pool.json"), "{").unwrap();
    let (three, _) = open(&cache, Keys::none());
    assert!(packages(three.view.path()).unwrap().is_empty());
    let mut b = package("b", "1");
    (b.architecture, b.sha256) = ("arm64".to_owned(), sum("right b_1_arm64.deb"));
    assert!(three.find(&b).unwrap().is_some());
}

#[test]
fn what_an_earlier_version_kept_is_taken_over_out_of_sight() {
    let cache = tempfile::tempdir().unwrap();
    let pool = cache.path().join("packages/arm64");
    fs::create_dir_all(&pool).unwrap();
    for name in ["tool_1_arm64.deb", "stray_1_arm64.deb"] {
        fs::write(pool.join(name), "old").unwrap();
    }
    let index = format!(
        "{{\"tool_1_arm64.deb\": {{\"sha256\": \"{}\", \"size\": 3, \"modified\": 0, \"verified\": 0}}}}",
        sum("old")
    );
    fs::write(pool.join("index.json"), index).unwrap();
    assert_eq!(seen(cache.path(), Keys::none()), None);
    let mut wanted = package("tool", "1");
    (wanted.architecture, wanted.sha256) = ("arm64".to_owned(), sum("old"));
    let (archives, _) = open(cache.path(), Keys::none());
    assert!(archives.find(&wanted).unwrap().is_some());
    assert!(!pool.join("stray_1_arm64.deb").exists() && !pool.join("index.json").exists());
}

#[test]
fn apts_caches_are_handed_to_the_next_step_of_a_stack_only() {
    let dir = tempfile::tempdir().unwrap();
    let [cache, work, root] = ["cache", "work", "root"].map(|name| dir.path().join(name));
    make(&[&cache, &work, &root]);
    let (mut one, _) = open(&cache, Keys::none());
    let mut after = |below: &str, own: &str| {
        let staging = one.stage(&work, below).unwrap();
        let cache = staging.upper().join("pkgcache.bin");
        let found = fs::read_to_string(&cache).ok();
        fs::write(&cache, own).unwrap();
        one.save(staging, &root, own).unwrap();
        found
    };
    assert_eq!(after("", "one"), None);
    assert_eq!(after("one", "two").as_deref(), Some("one"));
    assert_eq!(after("one", "beside two"), None);
}
