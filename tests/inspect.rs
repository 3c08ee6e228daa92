//! `westwork-gen inspect` and `diff`, compared with the usual tools.

#[path = "common/card.rs"]
mod card;
#[path = "common/need.rs"]
mod need;

use card::{BOOT_AT, ROOT_AT, code, image, image_of, run, said, text, tree, westwork, with_imager};
use need::need;
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use westwork_gen::config::RootKind;

const TOOLS: [&str; 5] = ["mke2fs", "mkfs.fat", "mcopy", "sfdisk", "dumpe2fs"];

/// What `--json` prints; the exit code must be `wanted`.
fn json(args: &[&str], wanted: i32) -> Value {
    let out = westwork(args);
    assert_eq!(code(&out), wanted, "{args:?}: {}", said(&out));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// The value of a `Name: value` line.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let of = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':');
    text.lines()
        .find_map(of)
        .unwrap_or_else(|| panic!("no {name}"))
        .trim()
}

#[test]
fn an_image_is_described_as_the_usual_tools_do() {
    need!(need::tools(&TOOLS));
    need!(need::tools(&["dpkg-query", "minfo", "xz"]));
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    tree(&root);
    let raw = image(&root, dir.path(), "a");
    run("xz", &["-k", "-0", text(&raw)]);
    let sum = run("sha256sum", &[text(&raw)]);
    let sum = sum.split_whitespace().next().unwrap();
    fs::write(dir.path().join("SHA256SUMS"), format!("{sum}  a.img\n")).unwrap();
    let report = json(&["inspect", "--json", "--packages", text(&raw)], 0);
    assert_eq!(report["recorded_sums"][0]["sha256"], sum);

    // The compressed form says the same, but for the file.
    let packed = json(
        &[
            "inspect",
            "--json",
            "--packages",
            &format!("{}.xz", text(&raw)),
        ],
        0,
    );
    assert_eq!(packed["form"], "xz");
    for part in ["table", "boot", "system", "first_boot", "raw_size"] {
        assert_eq!(report[part], packed[part], "{part}");
    }

    let table: Value = serde_json::from_str(&run("sfdisk", &["-J", text(&raw)])).unwrap();
    let table = &table["partitiontable"];
    assert_eq!(
        format!("0x{}", report["table"]["id"].as_str().unwrap()),
        table["id"]
    );
    for (n, wanted) in table["partitions"].as_array().unwrap().iter().enumerate() {
        let found = &report["table"]["partitions"][n];
        assert_eq!(
            found["start"].as_u64().unwrap(),
            wanted["start"].as_u64().unwrap() * 512
        );
        assert_eq!(
            found["size"].as_u64().unwrap(),
            wanted["size"].as_u64().unwrap() * 512
        );
        assert_eq!(
            found["type_id"].as_str().unwrap().trim_start_matches('0'),
            wanted["type"]
        );
    }
    let part = dir.path().join("part");
    let bytes = fs::read(&raw).unwrap();
    fs::write(&part, &bytes[usize::try_from(ROOT_AT).unwrap()..]).unwrap();
    let facts = run("dumpe2fs", &["-h", text(&part)]);
    let fs2 = &report["table"]["partitions"][1]["file_system"];
    assert_eq!(fs2["uuid"], field(&facts, "Filesystem UUID"));
    assert_eq!(fs2["label"], field(&facts, "Filesystem volume name"));
    let number = |name| field(&facts, name).parse::<u64>().unwrap();
    assert_eq!(
        fs2["free"].as_u64().unwrap(),
        number("Free blocks") * number("Block size")
    );
    assert_eq!(
        fs2["size"].as_u64().unwrap(),
        number("Block count") * number("Block size")
    );
    let facts = run(
        "minfo",
        &["-i", &format!("{}@@{BOOT_AT}", text(&raw)), "::"],
    );
    let serial = facts
        .lines()
        .find_map(|line| line.strip_prefix("serial number: "))
        .unwrap();
    let uuid = report["table"]["partitions"][0]["file_system"]["uuid"]
        .as_str()
        .unwrap();
    assert_eq!(uuid.replace('-', ""), serial);

    let admin = root.join("var/lib/dpkg");
    let format = "-f=${db:Status-Status} ${Package} ${Version} ${Installed-Size}\n";
    let list = run(
        "dpkg-query",
        &[&format!("--admindir={}", text(&admin)), "-W", format],
    );
    let mut wanted: Vec<&str> = list
        .lines()
        .filter_map(|line| line.strip_prefix("installed "))
        .collect();
    wanted.sort_unstable();
    let packages = &report["system"]["packages"];
    let found: Vec<String> = packages["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| {
            let kib = p["installed_size"].as_u64().unwrap() / 1024;
            format!(
                "{} {} {kib}",
                p["name"].as_str().unwrap(),
                p["version"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(found, wanted);
    assert_eq!(packages["installed_size"], 120 * 1024);

    let system = &report["system"];
    assert_eq!(system["os_release"]["PRETTY_NAME"], "Test OS 13");
    assert_eq!(
        (
            &system["architecture"],
            &system["hostname"],
            &system["kernels"][0]
        ),
        (&"arm64".into(), &"testpi".into(), &"6.1-arm64".into())
    );
    assert_eq!(report["boot"]["kernels"][0]["path"], "vmlinuz-6.1");
    assert_eq!(report["boot"]["overlays"], 1);
    assert!(
        report["boot"]["cmdline_txt"]
            .as_str()
            .unwrap()
            .contains("-02 rootwait")
    );
}

#[test]
fn the_first_boots_state_is_shown() {
    need!(need::tools(&TOOLS));
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    tree(&root);
    let fresh = json(
        &["inspect", "--json", text(&image(&root, dir.path(), "a"))],
        0,
    );
    let state = &fresh["first_boot"];
    assert_eq!(state["machine_id"], "empty");
    assert_eq!(state["ssh_host_keys"].as_array().unwrap().len(), 0);
    assert_eq!(state["growing"][0], "grow-root.service");
    assert_eq!(
        (&state["imager_customisation"], &state["asks_for_user"]),
        (&false.into(), &false.into())
    );
    let users: Vec<String> = state["users"]
        .as_array()
        .unwrap()
        .iter()
        .map(|user| {
            format!(
                "{} {} {}",
                user["name"], user["password"], user["authorized_keys"]
            )
        })
        .collect();
    assert_eq!(users, ["\"root\" \"locked\" false", "\"pi\" \"set\" true"]);

    // One that has been started before, made by someone else.
    tree_again(&root);
    let used = json(
        &["inspect", "--json", text(&image(&root, dir.path(), "b"))],
        0,
    );
    let state = &used["first_boot"];
    assert_eq!(state["machine_id"], "set");
    assert_eq!(state["ssh_host_keys"][0], "ssh_host_rsa_key");
    assert_eq!(
        (&state["imager_customisation"], &state["asks_for_user"]),
        (&true.into(), &true.into())
    );
    let text = said(&westwork(&[
        "inspect",
        "--packages",
        card::text(&dir.path().join("b.img")),
    ]));
    for words in ["ssh_host_rsa_key", "Test OS 13", "bash", "FAT32", "rootfs"] {
        assert!(text.contains(words), "{words} in {text}");
    }
}

fn tree_again(root: &Path) {
    // The export empties the boot directory.
    let old = root.with_extension("old");
    fs::rename(root, &old).unwrap();
    tree(root);
    with_imager(root);
    fs::write(
        root.join("etc/machine-id"),
        "0123456789abcdef0123456789abcdef\n",
    )
    .unwrap();
    fs::write(root.join("etc/ssh/ssh_host_rsa_key"), "").unwrap();
    let asking = root.join("etc/systemd/system/getty@tty1.service.d");
    fs::create_dir_all(&asking).unwrap();
    fs::write(asking.join("first-user.conf"), "").unwrap();
}

#[test]
fn gpt_and_file_systems_that_cannot_be_read_are_named() {
    need!(need::tools(&TOOLS));
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk.img");
    let file = File::create(&disk).unwrap();
    file.set_len(24 << 20).unwrap();
    let script = "label: gpt\nsize=8MiB, type=U, name=boot\nsize=8MiB, type=L, name=\"root a\"\n";
    let mut child = Command::new("sfdisk")
        .args(["-q", text(&disk)])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    // As much of xfs as tells it.
    file.write_all_at(b"XFSB", 9 << 20).unwrap();
    let report = json(&["inspect", "--json", text(&disk)], 0);
    let wanted: Value = serde_json::from_str(&run("sfdisk", &["-J", text(&disk)])).unwrap();
    let wanted = &wanted["partitiontable"];
    assert_eq!(report["table"]["kind"], "gpt");
    assert_eq!(
        report["table"]["id"].as_str().unwrap().to_uppercase(),
        wanted["id"]
    );
    for n in 0..2 {
        let (found, wanted) = (&report["table"]["partitions"][n], &wanted["partitions"][n]);
        assert_eq!(
            found["partuuid"].as_str().unwrap().to_uppercase(),
            wanted["uuid"]
        );
        assert_eq!(
            found["type_id"].as_str().unwrap().to_uppercase(),
            wanted["type"]
        );
        assert_eq!(found["name"], wanted["name"]);
        assert_eq!(
            found["start"].as_u64().unwrap(),
            wanted["start"].as_u64().unwrap() * 512
        );
    }
    assert_eq!(
        report["table"]["partitions"][1]["file_system"]["kind"],
        "xfs"
    );
    assert!(
        report["notes"][0].as_str().unwrap().contains("xfs"),
        "{}",
        report["notes"]
    );
    assert_eq!(report["system"], Value::Null);
    // Equal bytes are equal; what differs and cannot be read is said to.
    let out = westwork(&["diff", text(&disk), text(&disk)]);
    assert_eq!((code(&out), said(&out).as_str()), (0, ""));
    let other = dir.path().join("other.img");
    fs::copy(&disk, &other).unwrap();
    let changed = File::options().write(true).open(&other).unwrap();
    changed.write_all_at(b"x", (9 << 20) + 4096).unwrap();
    let out = westwork(&["diff", text(&disk), text(&other)]);
    assert_eq!(code(&out), 1, "{}", said(&out));
    assert!(said(&out).contains("  ~ 2  content"), "{}", said(&out));
    assert!(said(&out).contains("cannot read xfs"), "{}", said(&out));
    let sizes = westwork(&["inspect", "--size", text(&disk)]);
    let sizes = said(&sizes);
    assert!(sizes.contains("partition 2 is xfs, whose files"), "{sizes}");
}

#[test]
fn roots_that_can_only_be_read_are_described_and_compared() {
    need!(need::tools(&TOOLS));
    need!(need::tools(&["mksquashfs", "mkfs.erofs"]));
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    for root in [&a, &b] {
        tree(root);
        fs::write(root.join("usr/text"), "a line\n".repeat(100_000)).unwrap();
        fs::set_permissions(root.join("etc/hostname"), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let status = b.join("var/lib/dpkg/status");
    let changed = fs::read_to_string(&status).unwrap().replace("5.2", "5.3");
    fs::write(&status, changed).unwrap();
    fs::write(b.join("usr/text"), "a Line\n".repeat(100_000)).unwrap();
    fs::write(b.join("new"), "").unwrap();
    fs::set_permissions(b.join("etc/hostname"), fs::Permissions::from_mode(0o600)).unwrap();
    // The export empties the boot directory.
    for root in [&a, &b] {
        run("cp", &["-a", text(root), text(&root.with_extension("2"))]);
    }
    for (kind, again) in [(RootKind::Squashfs, ""), (RootKind::Erofs, "2")] {
        let images = [&a, &b].map(|root| {
            let root = root.with_extension(again);
            // Of the same name, from which identifiers are made.
            let place = root.with_extension(kind.name());
            fs::create_dir(&place).unwrap();
            image_of(kind, &root, &place, "x")
        });
        let report = json(&["inspect", "--json", "--packages", text(&images[0])], 0);
        let facts = &report["table"]["partitions"][1]["file_system"];
        assert_eq!(facts["kind"], kind.name());
        assert_eq!(report["notes"].as_array().unwrap().len(), 0, "{report}");
        assert_eq!(report["system"]["os_release"]["PRETTY_NAME"], "Test OS 13");
        assert_eq!(report["system"]["packages"]["count"], 2, "{report}");
        assert_eq!(report["first_boot"]["users"].as_array().unwrap().len(), 2);

        let out = westwork(&["diff", text(&images[0]), text(&images[0])]);
        assert_eq!((code(&out), said(&out).as_str()), (0, ""));
        let report = json(&["diff", "--json", text(&images[0]), text(&images[1])], 1);
        assert_eq!(report["files"]["added"][0]["path"], "/new", "{report}");
        let changed = report["files"]["changed"].as_array().unwrap();
        let changed: Vec<_> = changed.iter().map(|change| &change["path"]).collect();
        assert_eq!(
            changed,
            ["/etc/hostname", "/usr/text", "/var/lib/dpkg/status"],
            "{report}"
        );
        assert_eq!(report["packages"]["changed"][0]["b"], "5.3", "{report}");
        assert_eq!(report["notes"].as_array().unwrap().len(), 0, "{report}");
    }
}

#[test]
fn damaged_and_missing_images_are_errors_of_one_line() {
    need!(need::tools(&TOOLS));
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    tree(&root);
    let raw = image(&root, dir.path(), "a");
    let cut = dir.path().join("cut.img");
    fs::write(&cut, &fs::read(&raw).unwrap()[..50 << 20]).unwrap();
    let (none, empty) = (dir.path().join("none.img"), dir.path().join("empty.img"));
    fs::write(&empty, "").unwrap();
    let torn = dir.path().join("torn.img.zst");
    fs::write(&torn, b"\x28\xb5\x2f\xfd torn").unwrap();
    for (image, words, wanted) in [
        (&none, "none.img", 1),
        (&empty, "empty", 2),
        (&torn, "torn.img.zst", 1),
    ] {
        let out = westwork(&["inspect", text(image)]);
        assert_eq!(code(&out), wanted, "{}", said(&out));
        assert!(said(&out).contains(words), "{}", said(&out));
        assert_eq!(said(&out).trim().lines().count(), 1, "{}", said(&out));
        let out = westwork(&["diff", text(&raw), text(image)]);
        assert_eq!(code(&out), 2, "{}", said(&out));
    }
    // Half of one is shown as far as it goes.
    let report = json(&["inspect", "--json", text(&cut)], 0);
    assert!(report["notes"][0].as_str().unwrap().contains("cut short"));
    assert_eq!(report["boot"]["partition"], 1);
    let out = westwork(&["diff", text(&raw), text(&cut)]);
    assert_eq!(code(&out), 1, "{}", said(&out));
    assert!(
        said(&out).contains("note: the files of partition 2"),
        "{}",
        said(&out)
    );
}

#[test]
fn every_difference_is_found_and_nothing_else() {
    need!(need::tools(&TOOLS));
    need!(need::tools(&["setfattr", "debugfs"]));
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    for root in [&a, &b] {
        tree(root);
        let odd = root.join("odd");
        fs::create_dir(&odd).unwrap();
        for name in ["same", "mode", "owner", "xattr", "size", "content", "type"] {
            fs::write(odd.join(name), "0123456789").unwrap();
            // Whatever the umask.
            fs::set_permissions(odd.join(name), fs::Permissions::from_mode(0o644)).unwrap();
        }
        fs::write(odd.join("n".repeat(255)), "").unwrap();
        fs::write(odd.join(std::ffi::OsStr::from_bytes(b"\xff\xfe")), "").unwrap();
        std::os::unix::fs::symlink("same", odd.join("link")).unwrap();
        fs::hard_link(odd.join("content"), odd.join("hard")).unwrap();
        let hole = File::create(odd.join("hole")).unwrap();
        hole.set_len(6 << 30).unwrap();
        hole.write_all_at(b"end", (6 << 30) - 3).unwrap();
    }
    let odd = b.join("odd");
    fs::set_permissions(odd.join("mode"), fs::Permissions::from_mode(0o4755)).unwrap();
    let mut root_only = vec![];
    if std::os::unix::fs::chown(odd.join("owner"), Some(7), Some(70_000)).is_ok() {
        root_only.push("/odd/owner: owner 0:0 -> 7:70000");
    }
    let attribute = Command::new("setfattr")
        .args(["-n", "user.x", "-v", "1"])
        .arg(odd.join("xattr"))
        .output()
        .unwrap();
    if attribute.status.success() {
        root_only.push("/odd/xattr: attribute user.x null -> 31");
    }
    fs::write(odd.join("size"), "01234567890").unwrap();
    // Through one of its names, so that both differ.
    let file = File::options()
        .write(true)
        .open(odd.join("content"))
        .unwrap();
    file.write_all_at(b"X", 5).unwrap();
    fs::remove_file(odd.join("type")).unwrap();
    fs::create_dir(odd.join("type")).unwrap();
    fs::set_permissions(odd.join("type"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(odd.join("link")).unwrap();
    std::os::unix::fs::symlink("mode", odd.join("link")).unwrap();
    fs::write(b.join("new"), "").unwrap();
    fs::remove_file(b.join("etc/hostname")).unwrap();
    let status = fs::read_to_string(b.join("var/lib/dpkg/status")).unwrap();
    fs::write(
        b.join("var/lib/dpkg/status"),
        status
            .replace("5.2", "5.3")
            .replace("Package: dpkg", "Package: fork"),
    )
    .unwrap();
    fs::write(
        b.join("boot/firmware/config.txt"),
        "# comment\narm_64bit=1\nkernel=vmlinuz-6.1\n",
    )
    .unwrap();
    fs::write(
        b.join("boot/firmware/cmdline.txt"),
        "root=ROOTDEV quiet rootwait\n",
    )
    .unwrap();
    fs::write(b.join("boot/firmware/vmlinuz-6.1"), "KERNEL").unwrap();
    fs::write(b.join("boot/firmware/extra"), "").unwrap();
    let same = dir.path().join("same");
    run("cp", &["-a", text(&a), text(&same)]);
    // The same name gives the same identifiers.
    let (one, two) = (dir.path().join("1"), dir.path().join("2"));
    fs::create_dir(&one).unwrap();
    fs::create_dir(&two).unwrap();
    let (image_same, image_a) = (image(&same, &one, "x"), image(&a, dir.path(), "x"));
    let image_b = image(&b, &two, "x");

    let out = westwork(&["diff", text(&image_a), text(&image_same)]);
    assert_eq!((code(&out), said(&out).as_str()), (0, ""));

    let report = json(&["diff", "--json", text(&image_a), text(&image_b)], 1);
    assert_eq!(report["same"], false);
    let mut found: Vec<String> = Vec::new();
    for change in report["files"]["changed"].as_array().unwrap() {
        for what in change["what"].as_array().unwrap() {
            let value = |side: &str| what[side].as_str().unwrap_or("null").to_owned();
            let path = change["path"].as_str().unwrap();
            found.push(format!(
                "{path}: {} {} -> {}",
                what["property"].as_str().unwrap(),
                value("a"),
                value("b")
            ));
        }
    }
    let mut wanted = vec![
        "/odd/content: content null -> null",
        "/odd/hard: content null -> null",
        "/odd/link: target same -> mode",
        "/odd/mode: mode 0644 -> 4755",
        "/odd/size: content null -> null",
        "/odd/size: size 10 -> 11",
        "/odd/type: mode 0644 -> 0755",
        "/odd/type: type file -> directory",
        "/var/lib/dpkg/status: content null -> null",
    ];
    wanted.extend(root_only);
    wanted.sort_unstable();
    found.sort();
    assert_eq!(found, wanted);
    let names = |part: &Value| -> Vec<String> {
        let name = |entry: &Value| {
            entry
                .get("path")
                .or(entry.get("name"))
                .unwrap_or(entry)
                .as_str()
                .unwrap()
                .to_owned()
        };
        part.as_array().unwrap().iter().map(name).collect()
    };
    assert_eq!(names(&report["files"]["added"]), ["/new"]);
    assert_eq!(names(&report["files"]["removed"]), ["/etc/hostname"]);
    assert_eq!(names(&report["packages"]["added"]), ["fork"]);
    assert_eq!(names(&report["packages"]["removed"]), ["dpkg"]);
    assert_eq!(report["packages"]["changed"][0]["b"], "5.3");
    assert_eq!(names(&report["boot"]["added"]), ["extra"]);
    assert_eq!(
        names(&report["boot"]["changed"]),
        ["cmdline.txt", "config.txt", "vmlinuz-6.1"]
    );
    assert_eq!(
        report["boot"]["configuration"][0]["lines"][0]["text"],
        "quiet"
    );
    assert_eq!(
        report["boot"]["configuration"][1]["lines"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        report["partitions"].as_array().unwrap().len(),
        0,
        "{}",
        report["partitions"]
    );
    let text = said(&westwork(&["diff", text(&image_a), card::text(&image_b)]));
    for line in [
        "  ~ bash 5.2 -> 5.3",
        "      +arm_64bit=1",
        "  ~ /odd/mode  mode 0644 -> 4755",
        "  + /new  0 B",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
}
