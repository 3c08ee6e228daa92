//! What lies in the deploy directory, read back with other people's tools and schemas.

#[path = "common/schemas.rs"]
mod schemas;

use schemas::{assert_beside, assert_valid, json, schema};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Runs a program in `dir`; what it printed, if it ended well.
fn run(dir: &Path, program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs it"));
    let text = text(&output);
    assert!(output.status.success(), "{program} {args:?}: {text}");
    text
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

const MACHINE_READABLE: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: somebody
License: GPL-2+ and Own

Files: debian/*
Copyright: somebody
License: Expat

License: Own
 Do what you like.
";

/// A root file system with three packages.
fn tree(root: &Path) {
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("boot/firmware/cmdline.txt", "root=ROOTDEV rootwait\n");
    write("etc/fstab", "ROOTDEV / ext4 defaults 0 1\n");
    // Several of every format's blocks, compressible but not all alike.
    let numbers: String = (0..3_000_000)
        .map(|n: u32| (n ^ n >> 3).to_string())
        .collect();
    write("usr/share/numbers", &numbers);
    write(
        "var/lib/dpkg/status",
        "Package: libone1\nStatus: install ok installed\nMaintainer: Somebody <a@b.example>\n\
         Architecture: arm64\nSource: one (1:1.0-2)\nVersion: 1:1.0+dfsg-2+b1\n\
         Homepage: https://one.example/\nDescription: first\n long\n\n\
         Package: two\nStatus: install ok installed\nArchitecture: all\nVersion: 2\n\
         Depends: libone1 (>= 1) | three\nDescription: second\n\n\
         Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 2\n\n\
         Package: three\nStatus: install ok installed\nArchitecture: all\nVersion: 3~rc1\n\
         Description: third\n",
    );
    write("usr/share/doc/libone1/copyright", MACHINE_READABLE);
    write(
        "usr/share/doc/two/copyright",
        "This was packaged by somebody.\n",
    );
}

/// Exports a fresh tree into `dir/deploy` as `name`.
fn export(dir: &Path, name: &str, set: &[&str]) -> Output {
    let root = tempfile::tempdir_in(dir).unwrap();
    tree(root.path());
    fs::create_dir_all(dir.join("deploy")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_westwork-gen"));
    command
        .args(["internal", "export", "--name", name])
        .args([root.path(), Path::new("deploy")])
        .current_dir(dir)
        .env("GNUPGHOME", dir.join("gnupg"));
    let common = [
        "BOOT_SIZE=64M",
        "ROOT_MARGIN=0",
        "SOURCE_DATE_EPOCH=1700000000",
    ];
    for set in common.iter().chain(set) {
        command.args(["--set", set]);
    }
    command.output().unwrap()
}

/// As [`export`], which must succeed.
fn exported(dir: &Path, name: &str, set: &[&str]) {
    let output = export(dir, name, set);
    assert!(output.status.success(), "{}", text(&output));
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

const ALL: &str = "DEPLOY_COMPRESSION=none,zip,gz,xz,zst";

#[test]
fn every_format_holds_the_same_image() {
    let dir = tempfile::tempdir().unwrap();
    let deploy = dir.path().join("deploy");
    exported(dir.path(), "a", &[ALL]);
    assert_eq!(
        names(&deploy),
        [
            "SHA256SUMS",
            "a.bmap",
            "a.build.json",
            "a.cdx.json",
            "a.html",
            "a.img",
            "a.img.gz",
            "a.img.xz",
            "a.img.zst",
            "a.info",
            "a.provenance.json",
            "a.rpi-imager-manifest",
            "a.spdx.json",
            "a.zip"
        ]
    );
    let sums = run(&deploy, "sha256sum", &["--check", "--strict", "SHA256SUMS"]);
    assert_eq!(sums.lines().count(), 13, "{sums}");

    let raw = run(&deploy, "sha256sum", &["a.img"]);
    let raw = raw.split(' ').next().unwrap();
    assert_eq!(
        json(&deploy.join("a.build.json"))["image"]["raw_sha256"],
        raw
    );
    run(&deploy, "zstd", &["-tq", "a.img.zst"]);
    run(&deploy, "xz", &["-t", "a.img.xz"]);
    run(&deploy, "gzip", &["-t", "a.img.gz"]);
    run(&deploy, "unzip", &["-tq", "a.zip"]);
    for unpack in [
        "zstd -dc a.img.zst",
        "xz -dc a.img.xz",
        "gzip -dc a.img.gz",
        "unzip -p a.zip a.img",
    ] {
        let sum = run(&deploy, "sh", &["-c", &format!("{unpack} | sha256sum")]);
        assert!(sum.starts_with(raw), "{unpack}: {sum}");
    }
    // With the checksum of every range, found by its name beside the image.
    for artefact in ["a.img", "a.img.zst", "a.img.xz", "a.img.gz"] {
        let copied = run(&deploy, "bmaptool", &["copy", artefact, "../copy.img"]);
        assert!(copied.contains("a.bmap"), "{copied}");
        let sum = run(dir.path(), "sha256sum", &["copy.img"]);
        assert!(sum.starts_with(raw), "{artefact}: {sum}");
        fs::remove_file(dir.path().join("copy.img")).unwrap();
    }
    // On a card that is not empty: nothing of what was there may be taken for the journal.
    let size = fs::metadata(deploy.join("a.img")).unwrap().len();
    let used = format!("yes old | head -c {size} > card.img");
    run(dir.path(), "sh", &["-c", &used]);
    let card = dir.path().join("card.img");
    let copy = ["copy", "a.img.zst", card.to_str().unwrap()];
    run(&deploy, "bmaptool", &copy);
    let table = run(dir.path(), "sfdisk", &["--dump", "card.img"]);
    let root = table
        .lines()
        .find(|line| line.contains("card.img2"))
        .unwrap();
    let start = root
        .split("start=")
        .nth(1)
        .unwrap()
        .split(',')
        .next()
        .unwrap();
    let place = format!(
        "card.img?offset={}",
        start.trim().parse::<u64>().unwrap() * 512
    );
    run(dir.path(), "e2fsck", &["-fn", &place]);
    run(dir.path(), "debugfs", &["-R", "dump <8> journal", &place]);
    let journal = fs::read(dir.path().join("journal")).unwrap();
    assert!(journal.len() >= 4 << 20, "{}", journal.len());
    // After its own superblock.
    assert!(journal[4096..].iter().all(|byte| *byte == 0));
    let mut xml = fs::read_to_string(deploy.join("a.bmap")).unwrap();
    let at = xml.find("<Range chksum=\"").unwrap() + 15;
    let digit = if &xml[at..=at] == "0" { "1" } else { "0" };
    xml.replace_range(at..=at, digit);
    fs::write(deploy.join("a.bmap"), xml).unwrap();
    let spoilt = Command::new("bmaptool")
        .args(["copy", "a.img.zst", "../copy.img"])
        .current_dir(&deploy)
        .output()
        .unwrap();
    assert!(!spoilt.status.success(), "a wrong block map was accepted");
}

#[test]
fn the_same_tree_gives_the_same_files() {
    let dir = tempfile::tempdir().unwrap();
    let set = [ALL, "DEPLOY_URL=https://example.org/x"];
    for run in ["one", "two"] {
        fs::create_dir(dir.path().join(run)).unwrap();
        exported(&dir.path().join(run), "a", &set);
    }
    for name in names(&dir.path().join("one/deploy")) {
        // These two tell of the run itself.
        if name != "a.build.json" && name != "SHA256SUMS" {
            let of = |run: &str| fs::read(dir.path().join(run).join("deploy").join(&name)).unwrap();
            assert!(of("one") == of("two"), "{name}");
        }
    }
}

#[test]
fn an_image_gives_way_to_its_successor_and_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    let deploy = dir.path().join("deploy");
    exported(dir.path(), "a", &["DEPLOY_COMPRESSION=gz"]);
    exported(dir.path(), "b", &["DEPLOY_COMPRESSION=gz"]);
    let b = fs::read(deploy.join("b.img.gz")).unwrap();
    exported(dir.path(), "a", &["DEPLOY_COMPRESSION=zst"]);
    assert!(!deploy.join("a.img.gz").exists() && deploy.join("a.img.zst").exists());
    assert!(fs::read(deploy.join("b.img.gz")).unwrap() == b);
    let sums = run(&deploy, "sha256sum", &["--check", "--strict", "SHA256SUMS"]);
    assert_eq!(sums.lines().count(), 18, "{sums}");

    // A failing export leaves everything as it was.
    let before = names(&deploy);
    let sums = fs::read(deploy.join("SHA256SUMS")).unwrap();
    let output = export(
        dir.path(),
        "a",
        &["DEPLOY_COMPRESSION=gz", "SIGN_WITH=minisign:none"],
    );
    assert!(!output.status.success());
    assert_eq!(names(&deploy), before);
    assert_eq!(fs::read(deploy.join("SHA256SUMS")).unwrap(), sums);
}

#[test]
fn bills_of_materials_are_valid_and_complete() {
    let dir = tempfile::tempdir().unwrap();
    exported(dir.path(), "a", &[]);
    let deploy = dir.path().join("deploy");
    assert_beside(&deploy, "a");

    let spdx = json(&deploy.join("a.spdx.json"));
    let official = schema("spdx-2.3.schema.json");
    assert_valid(&official, &spdx);
    let mut wrong = spdx.clone();
    wrong["packages"][0]["downloadLocation"] = Value::Null;
    assert!(!official.is_valid(&wrong));
    let package = |name: &str| {
        let packages = spdx["packages"].as_array().unwrap();
        let found = packages.iter().find(|package| package["name"] == name);
        found.unwrap_or_else(|| panic!("no {name}")).clone()
    };
    let one = package("libone1");
    assert_eq!(
        one["externalRefs"][0]["referenceLocator"],
        "pkg:deb/debian/libone1@1:1.0%2Bdfsg-2%2Bb1?arch=arm64&distro=trixie"
    );
    let own = spdx["hasExtractedLicensingInfos"]
        .as_array()
        .unwrap()
        .iter()
        .find(|licence| licence["name"] == "Own")
        .unwrap();
    assert_eq!(own["extractedText"], "Do what you like.\n");
    assert_eq!(
        one["licenseDeclared"],
        format!(
            "GPL-2.0-or-later AND {} AND MIT",
            own["licenseId"].as_str().unwrap()
        )
    );
    assert_eq!(package("one")["versionInfo"], "1:1.0-2");
    assert_eq!(package("three")["licenseDeclared"], "NOASSERTION");
    let related = |kind: &str| -> Vec<(String, String)> {
        let relations = spdx["relationships"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        relations
            .filter(|relation| relation["relationshipType"] == kind)
            .map(|r| (text(&r["spdxElementId"]), text(&r["relatedSpdxElement"])))
            .collect()
    };
    assert_eq!(related("CONTAINS").len(), 3);
    assert_eq!(related("GENERATED_FROM").len(), 3);
    let needed = (
        "SPDXRef-Package-two-all".into(),
        "SPDXRef-Package-libone1-arm64".into(),
    );
    assert_eq!(related("DEPENDS_ON"), [needed]);

    let cyclonedx = json(&deploy.join("a.cdx.json"));
    let official = schema("bom-1.6.schema.json");
    assert_valid(&official, &cyclonedx);
    let mut wrong = cyclonedx.clone();
    wrong["components"][0]["type"] = "thing".into();
    assert!(!official.is_valid(&wrong));
    let components = cyclonedx["components"].as_array().unwrap();
    assert_eq!(components.len(), 3);
    assert_eq!(
        components[0]["pedigree"]["ancestors"][0]["purl"],
        "pkg:deb/debian/one@1:1.0-2?arch=source&distro=trixie"
    );
}

#[test]
fn the_imager_manifest_names_the_artefact_every_imager_reads() {
    let dir = tempfile::tempdir().unwrap();
    let deploy = dir.path().join("deploy");
    let facts = schema("rpi-imager-manifest.schema.json");
    for (arch, tag, url) in [
        ("ARCH=arm64", "pi4-64bit", ""),
        (
            "ARCH=armhf",
            "pi2-32bit",
            "DEPLOY_URL=https://example.org/images/",
        ),
    ] {
        let set = [arch, url, "DEPLOY_COMPRESSION=zst xz"];
        let set = if url.is_empty() { &set[..1] } else { &set[..] };
        exported(dir.path(), "a", set);
        let manifest = json(&deploy.join("a.rpi-imager-manifest"));
        assert_valid(&facts, &manifest);
        let image = &manifest["os_list"][0];
        assert!(image["devices"].as_array().unwrap().contains(&tag.into()));
        let url = image["url"].as_str().unwrap();
        let name = url.rsplit('/').next().unwrap();
        let wanted = if set.len() == 1 {
            format!("file://{}/a.img.zst", deploy.display())
        } else {
            "https://example.org/images/a.img.xz".to_owned()
        };
        assert_eq!(url, wanted);
        let size = fs::metadata(deploy.join(name)).unwrap().len();
        assert_eq!(image["image_download_size"], size);
        let mut wrong = manifest.clone();
        wrong["imager"]["devices"] = Value::Array(vec![]);
        assert!(!facts.is_valid(&wrong));
    }
}

#[test]
fn checksums_are_signed_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let deploy = dir.path().join("deploy");
    let home = dir.path().join("gnupg");
    fs::create_dir(&home).unwrap();
    run(dir.path(), "chmod", &["700", "gnupg"]);
    run(
        dir.path(),
        "minisign",
        &["-G", "-W", "-p", "key.pub", "-s", "key"],
    );
    exported(dir.path(), "a", &["SIGN_WITH=minisign:key"]);
    let key = dir.path().join("key.pub");
    let verify = ["-V", "-p", key.to_str().unwrap(), "-m", "SHA256SUMS"];
    let said = run(&deploy, "minisign", &verify);
    assert!(said.contains("timestamp:1700000000"), "{said}");

    let gpg = |args: &[&str]| {
        let mut all = vec!["--homedir", home.to_str().unwrap(), "--batch", "--quiet"];
        all.extend(args);
        run(&deploy, "gpg", &all)
    };
    let make = ["--passphrase", "", "--pinentry-mode", "loopback"];
    gpg(&[&make[..], &["--quick-gen-key", "me@example.org"]].concat());
    exported(dir.path(), "a", &["SIGN_WITH=gpg:me@example.org"]);
    gpg(&["--verify", "SHA256SUMS.asc", "SHA256SUMS"]);
    // The other signature was of sums that are no more.
    assert!(!deploy.join("SHA256SUMS.minisig").exists());
    exported(dir.path(), "a", &[]);
    assert!(!deploy.join("SHA256SUMS.asc").exists());
}

#[test]
fn a_key_that_cannot_sign_is_found_before_anything_is_done() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("stages/stage0")).unwrap();
    fs::write(dir.path().join("bad"), "no key\n").unwrap();
    for (with, says) in [
        ("SIGN_WITH=minisign:nowhere", "nowhere"),
        ("SIGN_WITH=minisign:bad", "minisign -G -W"),
        ("SIGN_WITH=gpg:nobody@example.org", "gpg --list-secret-keys"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_westwork-gen"))
            .args(["check", "--set", "IMG_NAME=a", "--set", with])
            .current_dir(dir.path())
            .output()
            .unwrap();
        let text = text(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(says), "{with}: {text}");
    }
}
