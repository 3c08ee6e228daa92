//! `inspect --size`, `report`, and the page that a build leaves: what is in them, and that nothing
//! of an image becomes markup. `tests/report_browser.rs` opens the page in a browser.

#[path = "common/card.rs"]
mod card;
#[path = "common/need.rs"]
mod need;
#[path = "common/report.rs"]
mod page;

use card::{code, image, run, said, text, tree, westwork};
use need::need;
use page::{HOSTILE, Html, hostile, report};
use serde_json::Value;
use std::fs;
use std::path::Path;

const TOOLS: [&str; 5] = ["mke2fs", "mkfs.fat", "mcopy", "debugfs", "du"];

fn json(args: &[&str]) -> Value {
    let out = westwork(args);
    assert_eq!(code(&out), 0, "{args:?}: {}", said(&out));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// A tree with two packages that have files, and some of nobody.
fn with_packages(root: &Path) {
    tree(root);
    let file = |path: &str, bytes: &[u8]| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    file("usr/bin/bash", &[1; 300_000]);
    file("usr/share/doc/bash/README", &[2; 100]);
    file("usr/bin/dpkg", &[3; 70_000]);
    file("opt/own/blob", &[4; 900_000]);
    file(
        "var/lib/dpkg/info/bash.list",
        b"/.\n/bin/bash\n/usr/share/doc/bash/README\n",
    );
    file("var/lib/dpkg/info/dpkg.list", b"/.\n/usr/bin/dpkg\n");
    std::os::unix::fs::symlink("usr/bin", root.join("bin")).unwrap();
}

#[test]
fn sizes_are_those_of_the_usual_tools_and_changes_are_found() {
    need!(need::tools(&TOOLS));
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    with_packages(&root);
    let raw = image(&root, dir.path(), "a");
    let found = json(&["inspect", "--size", "--json", text(&raw)]);
    let sizes = &found["sizes"];
    let of = |list: &str, key: &str, name: &str| {
        let list = sizes[list].as_array().unwrap().iter();
        list.clone().find(|entry| entry[key] == name).unwrap()["size"].as_u64()
    };
    assert_eq!(of("packages", "name", "bash"), Some(303_104 + 4096));
    assert_eq!(of("packages", "name", "dpkg"), Some(73_728));
    assert_eq!(of("no_package", "path", "/opt/own"), Some(901_120));
    assert_eq!(of("directories", "path", "/usr/share/doc"), Some(4096));
    assert_eq!(sizes["files"][0]["path"], "/opt/own/blob");
    assert_eq!(of("files", "path", "/boot/firmware/vmlinuz-6.1"), Some(6));
    // What debugfs says of one file.
    let part = dir.path().join("part");
    let bytes = fs::read(&raw).unwrap();
    fs::write(&part, &bytes[usize::try_from(card::ROOT_AT).unwrap()..]).unwrap();
    let stat = run("debugfs", &["-R", "stat /usr/bin/bash", text(&part)]);
    let blocks = stat
        .split("Blockcount: ")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next();
    assert_eq!(
        of("files", "path", "/usr/bin/bash"),
        Some(blocks.unwrap().parse::<u64>().unwrap() * 512)
    );

    fs::write(root.join("usr/bin/bash"), [1; 400_000]).unwrap();
    fs::remove_file(root.join("opt/own/blob")).unwrap();
    // What the export moved to a partition of its own.
    card::tree_again(&root);
    let later = image(&root, dir.path(), "b");
    let found = json(&[
        "inspect",
        "--size",
        "--json",
        "--against",
        text(&raw),
        text(&later),
    ]);
    let first = |list: &str| {
        let change = &found["against"][list][0];
        (
            change["name"].clone(),
            change["before"].clone(),
            change["now"].clone(),
        )
    };
    assert_eq!(
        first("packages"),
        ("bash:arm64".into(), 307_200.into(), 405_504.into())
    );
    assert_eq!(
        first("files"),
        ("/opt/own/blob".into(), 901_120.into(), Value::Null)
    );
    let out = westwork(&["inspect", "--size", "--against", text(&raw), text(&later)]);
    let shown = said(&out);
    for line in ["against", "-880 KiB", "+96 KiB", "/opt/own"] {
        assert!(shown.contains(line), "no {line}: {shown}");
    }
    let out = westwork(&["inspect", "--against", text(&raw), text(&later)]);
    assert_eq!(code(&out), 2, "{}", said(&out));
}

#[test]
fn a_page_is_whole_and_the_same_each_time() {
    need!(need::tools(&TOOLS));
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    with_packages(&root);
    let raw = image(&root, dir.path(), "a");
    let beside = dir.path().join("deploy-a/a.html");
    let built = fs::read_to_string(&beside).expect("a build leaves a page");
    Html::read(&built).check();
    for word in [
        "bash",
        "Test OS 13",
        "grow-root.service",
        "testpi",
        "/opt/own",
        "1. bash",
        "SHA-256",
    ] {
        assert!(built.contains(word), "no {word}");
    }
    assert!(
        !built.contains("How long"),
        "a build's own page has no times"
    );

    // With everything that can be shown.
    fs::rename(
        dir.path().join("deploy-a/a.build.json"),
        dir.path().join("a.build.json"),
    )
    .unwrap();
    page::add_timings(&dir.path().join("a.build.json"));
    fs::write(root.join("usr/bin/dpkg"), [3; 90_000]).unwrap();
    card::tree_again(&root);
    let before = image(&root, dir.path(), "old");
    let junit = dir.path().join("junit.xml");
    fs::write(&junit, page::JUNIT).unwrap();
    let more = ["--against", text(&before), "--tests", text(&junit)];
    let first = report(&raw, &dir.path().join("1.html"), &more);
    Html::read(&first).check();
    for word in [
        "old.img",
        "dpkg:arm64",
        "How long the build took",
        "stage2/01-sys",
    ] {
        assert!(first.contains(word), "no {word}");
    }
    assert!(first.contains("1 passed, 1 failed"), "{first}");
    assert_eq!(first, report(&raw, &dir.path().join("2.html"), &more));
    let without = report(&raw, &dir.path().join("3.html"), &["--no-timings"]);
    assert!(!without.contains("How long"));
}

#[test]
fn names_in_an_image_are_text() {
    need!(need::tools(&TOOLS));
    let dir = tempfile::tempdir().unwrap();
    let (raw, more) = hostile(dir.path());
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let page = report(&raw, &dir.path().join("x.html"), &more);
    Html::read(&page).check();
    // The names are there, so they were escaped.
    assert!(page.matches("&lt;script&gt;alert(").count() > 8, "{page}");
    assert!(!page.contains(HOSTILE));
    assert!(!page.contains('\u{202e}') && !page.contains('\u{1b}'));
}

#[test]
fn what_cannot_be_written_is_said_before_an_image_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&dir.path().join(name)).to_owned();
    let (a, b, out) = (at("a/x.img"), at("b/x.img.zst"), at("out.html"));
    let said_of = |args: &[&str]| {
        let found = westwork(args);
        assert_eq!(code(&found), 2, "{}", said(&found));
        said(&found)
    };
    assert!(said_of(&["report", &a, &b, "-o", &out]).contains("mkdir"));
    assert!(said_of(&["report", &a, &b]).contains("would replace that of"));
}

#[test]
fn a_page_of_many_packages_and_files_stays_small() {
    need!(need::tools(&TOOLS));
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    tree(&root);
    let mut status = String::new();
    for n in 0..1300 {
        let name = format!("package-with-a-long-name-{n}");
        status += &format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: arm64\n\
             Maintainer: Debian Something Maintainers <x@example.org>\nSource: source-{n}\n\
             Version: 1:2.3.4+dfsg-{n}+deb13u1\n\n"
        );
        let within = format!("usr/share/{name}");
        fs::create_dir_all(root.join(&within)).unwrap();
        fs::create_dir_all(root.join("var/lib/dpkg/info")).unwrap();
        let mut list = "/.\n".to_owned();
        for file in 0..8 {
            fs::write(root.join(format!("{within}/{file}")), "x").unwrap();
            list += &format!("/{within}/{file}\n");
        }
        fs::write(root.join(format!("var/lib/dpkg/info/{name}.list")), list).unwrap();
    }
    fs::write(root.join("var/lib/dpkg/status"), status).unwrap();
    let raw = image(&root, dir.path(), "a");
    let page = report(&raw, &dir.path().join("x.html"), &[]);
    Html::read(&page).check();
    assert!(page.len() < 1 << 20, "{} bytes", page.len());
}
