//! `westwork-gen test` on small images: each planted fault is found by the test that is for it, and
//! by no other. What a running system is asked is tested with the default image (`tests/image.rs`).

#[path = "common/card.rs"]
mod card;
#[path = "common/need.rs"]
mod need;
#[path = "common/schemas.rs"]
mod schemas;

use card::{code, image_of, said, text, tree, westwork};
use need::need;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use westwork_gen::config::RootKind;

const TOOLS: [&str; 4] = ["mke2fs", "mkfs.fat", "mcopy", "sfdisk"];

/// What is expected of the good image.
const TESTS: &str = r#"
[[file]]
path = "/etc/motd"
type = "file"
mode = "0644"
contains = ["Welcome", "home"]
lacks = "TODO"
matches = "^Welcome .*$"
sha256 = "5b80ec9e9e0f7b5cd0e8fd1ec6fd2a2ea90ba1b4bb0d16bd6a1b6ad5bbd7e6b2"

[[file]]
name = "the program's place"
path = "/opt/app"
type = "directory"
owner = "pi:0"

[[file]]
path = "/etc/build-date"
not-before = "2023-11-01"

[[file]]
path = "/etc/os-release"
target = "../usr/lib/os-release"

[[file]]
path = "/etc/forbidden"
exists = false

[[file]]
on = "boot"
path = "config.txt"
contains = "kernel="

[[package]]
package = "bash"
version = ">= 5.2"

[[package]]
package = "gone"
installed = false

[[unit]]
unit = "grow-root"
enabled = true

[[unit]]
unit = "noisy.timer"
masked = true
enabled = false

[[user]]
user = "pi"
uid = 1000
password = "set"
keys = true
groups = ["pi", "sudo"]

[[user]]
user = "mallory"
exists = false

[[config-txt]]
key = "kernel"
value = "vmlinuz-6.1"

[cmdline]
has = ["rootwait"]
lacks = ["init="]

[forbid]
host-keys = true
machine-id = true
empty-passwords = true
secrets = true
writable-path = true
allow = ["/etc/wanted/*"]

[size]
image = "1G"
root = "ROOT"
growth = "20 %"
"#;

/// A way to spoil the good tree.
type Fault = fn(&Path);

/// The kind of the test that must find it, the fault, and words of the finding.
const FAULTS: [(&str, Fault, &str); 16] = [
    (
        "file",
        |root| mode(&root.join("etc/motd"), 0o600),
        "its mode is 0600, not 0644",
    ),
    (
        "file",
        |root| chown(root.join("opt/app"), Some(0), Some(0)).unwrap(),
        "its owner is root, not pi",
    ),
    (
        "file",
        |root| put(root, "etc/forbidden", ""),
        "it is there, a file",
    ),
    (
        "file",
        |root| old(&root.join("etc/build-date")),
        "it was changed at 2020-01-01T00:00:00Z, before 2023-11-01T00:00:00Z",
    ),
    (
        "host-keys",
        |root| put(root, "etc/ssh/ssh_host_rsa_key", KEY),
        "/etc/ssh/ssh_host_rsa_key is shipped",
    ),
    (
        "secrets",
        |root| put(root, "home/pi/.ssh/id_ed25519", KEY),
        "a private key in /home/pi/.ssh/id_ed25519",
    ),
    (
        "secrets",
        |root| edit(root, "opt/app/lib/site-packages/a/key.py", "b3Blb", "b3BlY"),
        "a private key in /opt/app/lib/site-packages/a/key.py",
    ),
    (
        "unit",
        |root| {
            let link = "etc/systemd/system/multi-user.target.wants/grow-root.service";
            fs::remove_file(root.join(link)).unwrap();
        },
        "nothing starts it",
    ),
    (
        "package",
        |root| edit(root, "var/lib/dpkg/status", "5.2", "5.2~rc1"),
        "its version is 5.2~rc1",
    ),
    (
        "user",
        |root| edit(root, "etc/group", "27:pi", "27:"),
        "the user is not in the group sudo",
    ),
    (
        "empty-passwords",
        |root| edit(root, "etc/shadow", "daemon:*", "daemon:"),
        "daemon needs no password",
    ),
    (
        "machine-id",
        |root| put(root, "etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
        "is made already",
    ),
    (
        "size",
        // A mebibyte more than the budget.
        |root| card::noise(&root.join("opt/app/blob"), 2),
        "more than",
    ),
    (
        "cmdline",
        |root| edit(root, "boot/firmware/cmdline.txt", " rootwait", ""),
        "it lacks rootwait",
    ),
    (
        "config-txt",
        |root| {
            put(
                root,
                "boot/firmware/config.txt",
                "kernel=vmlinuz-6.1\n[all]\nkernel=other\n",
            )
        },
        "it is other",
    ),
    (
        "writable-path",
        |root| mode(&root.join("usr/local/bin"), 0o777),
        "everybody may write in /usr/local/bin, mode 0777",
    ),
];

const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU\n";

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn edit(root: &Path, path: &str, from: &str, to: &str) {
    let text = fs::read_to_string(root.join(path)).unwrap();
    assert!(text.contains(from), "{path}: {text}");
    fs::write(root.join(path), text.replace(from, to)).unwrap();
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn old(path: &Path) {
    card::run("touch", &["-d", "2020-01-01T00:00:00Z", text(path)]);
}

/// A tree in which nothing is wrong.
fn good(root: &Path) {
    tree(root);
    put(root, "etc/motd", "Welcome home\n");
    put(root, "etc/build-date", "");
    card::run(
        "touch",
        &["-d", "2023-11-14", text(&root.join("etc/build-date"))],
    );
    put(root, "etc/wanted/key", KEY);
    put(root, "etc/group", "root:x:0:\nsudo:x:27:pi\npi:x:1000:\n");
    // In a package, and public.
    put(root, "usr/share/doc/bash/example.pem", KEY);
    put(
        root,
        "var/lib/dpkg/info/bash.list",
        "/.\n/usr/share/doc/bash/example.pem\n",
    );
    put(
        root,
        "usr/lib/systemd/system/grow-root.service",
        "[Service]\n",
    );
    std::os::unix::fs::symlink("/dev/null", root.join("etc/systemd/system/noisy.timer")).unwrap();
    // Of a package of Python's, and as public.
    let pipe = format!("printf %s '{KEY}' | openssl dgst -sha256 -binary | basenc --base64url");
    let sum = card::run("sh", &["-c", &format!("{pipe} | tr -d =")]);
    let dir = "opt/app/lib/site-packages";
    put(root, &format!("{dir}/a/key.py"), KEY);
    put(
        root,
        &format!("{dir}/a/__pycache__/key.cpython-313.pyc"),
        KEY,
    );
    let record = format!("a/key.py,sha256={},{}\n", sum.trim(), KEY.len());
    put(root, &format!("{dir}/a-1.dist-info/RECORD"), &record);
    fs::create_dir_all(root.join("usr/local/bin")).unwrap();
    fs::create_dir_all(root.join("opt/app")).unwrap();
    chown(root.join("opt/app"), Some(1000), Some(0)).unwrap();
}

/// A copy of the good tree with `fault`, as an image.
fn with(dir: &Path, name: &str, fault: impl Fn(&Path)) -> PathBuf {
    with_root(RootKind::Ext4, dir, name, fault)
}

/// The same with a root file system of any kind.
fn with_root(kind: RootKind, dir: &Path, name: &str, fault: impl Fn(&Path)) -> PathBuf {
    let root = dir.join(format!("root-{name}"));
    good(&root);
    fault(&root);
    let image = image_of(kind, &root, dir, name);
    fs::remove_dir_all(root).unwrap();
    image
}

/// The outcomes of `test --json`, with its exit code.
fn outcomes(args: &[&str]) -> (i32, Vec<Value>) {
    let out = westwork(&[&["test", "--json", "--static"], args].concat());
    let all: Value =
        serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", said(&out)));
    schemas::assert_valid(&schemas::printed("test"), &all);
    (code(&out), all[0]["outcomes"].as_array().unwrap().clone())
}

/// The tests, with the sums and sizes of the good image in them.
fn tests(dir: &Path, good: &Path) -> PathBuf {
    let inspected = westwork(&["inspect", "--json", text(good)]);
    let inspected: Value = serde_json::from_slice(&inspected.stdout).unwrap();
    let used = inspected["table"]["partitions"][1]["file_system"]["used"]
        .as_u64()
        .unwrap();
    let sum = card::run("sh", &["-c", "printf 'Welcome home\\n' | sha256sum"]);
    let sum = sum.split(' ').next().unwrap();
    let place = TESTS.find("sha256 = ").unwrap() + "sha256 = \"".len();
    let tests = format!("{}{sum}{}", &TESTS[..place], &TESTS[place + 64..]);
    // One mebibyte of room.
    let tests = tests.replace("\"ROOT\"", &format!("\"{}\"", used + (1 << 20)));
    let file = dir.join("tests.toml");
    fs::write(&file, tests).unwrap();
    file
}

#[test]
fn each_fault_is_found_by_its_own_test_alone() {
    need!(need::tools(&TOOLS));
    need!(need::root());
    each_fault(RootKind::Ext4);
}

#[test]
fn the_same_faults_in_squashfs_and_erofs() {
    need!(need::tools(&TOOLS));
    need!(need::tools(&["mksquashfs", "mkfs.erofs"]));
    need!(need::root());
    std::thread::scope(|scope| {
        scope.spawn(|| each_fault(RootKind::Squashfs));
        each_fault(RootKind::Erofs);
    });
}

fn each_fault(root: RootKind) {
    let dir = tempfile::tempdir().unwrap();
    let sound = with_root(root, dir.path(), "good", |_| {});
    let file = tests(dir.path(), &sound);
    let against = ["--against", text(&sound)];
    let (code, found) = outcomes(&[&against[..], &[text(&sound), text(&file)]].concat());
    assert_eq!(code, 0, "{found:#?}");
    assert!(
        found.iter().all(|outcome| outcome["verdict"] == "passed"),
        "{found:#?}"
    );
    assert_eq!(found.len(), 20, "{found:#?}");
    for (number, (kind, fault, words)) in FAULTS.into_iter().enumerate() {
        // In erofs, all files have the time of the build.
        if root == RootKind::Erofs && words.contains("it was changed at") {
            continue;
        }
        let image = with_root(root, dir.path(), &format!("fault{number}"), fault);
        let (code, found) = outcomes(&[&against[..], &[text(&image), text(&file)]].concat());
        assert_eq!(code, 1, "{words}: {found:#?}");
        let failed: Vec<&Value> = found
            .iter()
            .filter(|outcome| outcome["verdict"] != "passed")
            .collect();
        assert_eq!(failed.len(), 1, "{words}: {failed:#?}");
        assert_eq!(failed[0]["verdict"], "failed", "{words}: {failed:#?}");
        assert_eq!(failed[0]["kind"], kind, "{words}");
        let why = failed[0]["why"].as_str().unwrap();
        assert!(why.contains(words), "{why}");
        let place = failed[0]["place"].as_str().unwrap();
        assert!(
            place.starts_with(&format!("{}:", file.display())),
            "{place}"
        );
        fs::remove_file(image).unwrap();
    }
}

#[test]
fn growth_alone_is_told_with_both_sizes() {
    need!(need::tools(&TOOLS));
    let dir = tempfile::tempdir().unwrap();
    let before = with(dir.path(), "before", |_| {});
    let after = with(dir.path(), "after", |root| {
        card::noise(&root.join("opt/app/blob"), 8);
    });
    let file = dir.path().join("growth.toml");
    fs::write(&file, "[size]\ngrowth = \"20 %\"\n").unwrap();
    let grown = ["--against", text(&before), text(&after), text(&file)];
    let (code, found) = outcomes(&grown);
    assert_eq!(code, 1);
    let why = found[0]["why"].as_str().unwrap();
    assert!(
        why.starts_with("what the root file system uses grew from "),
        "{why}"
    );
    let (code, _) = outcomes(&["--against", text(&after), text(&after), text(&file)]);
    assert_eq!(code, 0);
    // Without the earlier image nothing can be said.
    let (code, found) = outcomes(&[text(&after), text(&file)]);
    assert_eq!((code, &found[0]["verdict"]), (2, &Value::from("unclear")));
}

#[test]
fn several_images_and_their_results_in_each_form() {
    need!(need::tools(&TOOLS));
    need!(need::tools(&["xmllint", "zstd"]));
    let dir = tempfile::tempdir().unwrap();
    let sound = with(dir.path(), "good", |_| {});
    let bad = with(dir.path(), "bad", |root| {
        put(root, "etc/ssh/ssh_host_\u{1b}[31m_key", "x");
    });
    card::run("zstd", &["-q", text(&bad)]);
    let packed = format!("{}.zst", text(&bad));
    let nothing = dir.path().join("nothing.img");
    fs::write(&nothing, "no image").unwrap();
    let junit = dir.path().join("junit.xml");
    let file = dir.path().join("t.toml");
    fs::write(&file, "[forbid]\nhost-keys = true\nfailed-units = true\n").unwrap();
    let args = ["test", "--static", "--junit", text(&junit), text(&file)];
    let images = [text(&sound), &packed, text(&nothing)];
    let out = westwork(&[&args[..], &images].concat());
    assert_eq!(code(&out), 1, "{}", said(&out));
    let said = said(&out);
    assert!(
        said.contains("1 passed, 1 failed, 1 unclear, 3 left out"),
        "{said}"
    );
    assert!(
        said.contains("ssh_host_\\u{1b}[31m_key is shipped"),
        "{said}"
    );
    assert!(!said.contains('\u{1b}'), "{said:?}");
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas/junit.xsd");
    card::run(
        "xmllint",
        &["--noout", "--schema", text(&schema), text(&junit)],
    );
    let xml = fs::read_to_string(&junit).unwrap();
    for words in [
        "tests=\"6\"",
        "failures=\"1\"",
        "errors=\"1\"",
        "t.toml:1: --static: the image is not started",
    ] {
        assert!(xml.contains(words), "{words}: {xml}");
    }
}

#[test]
fn an_editor_knows_what_can_be_written() {
    let schema = schemas::printed("tests");
    let value = |text: &str| serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap();
    schemas::assert_valid(&schema, &value(TESTS));
    for name in ["stages/stage2/tests.toml", "stages/stage3/tests.toml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        schemas::assert_valid(&schema, &value(&fs::read_to_string(path).unwrap()));
    }
    // What docs/testing.md shows is understood as well.
    let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/testing.md"));
    let docs = docs.unwrap();
    let examples: Vec<&str> = docs.split("```toml\n").skip(1).collect();
    assert_eq!(examples.len(), 2);
    let dir = tempfile::tempdir().unwrap();
    for example in examples {
        let example = example.split("```").next().unwrap();
        schemas::assert_valid(&schema, &value(example));
        let file = dir.path().join("t.toml");
        fs::write(&file, example).unwrap();
        let out = westwork(&["test", "--static", "nowhere.img", text(&file)]);
        assert!(said(&out).contains("nowhere.img"), "{}", said(&out));
    }
    for wrong in [
        "[[file]]\npth = \"/a\"\n",
        "[forbid]\nhost_keys = true\n",
        "[[port]]\nport = \"22\"\n",
        "[[user]]\nuser = \"a\"\npassword = \"none\"\n",
        "[[unit]]\nname = \"no unit\"\n",
    ] {
        assert!(!schema.is_valid(&value(wrong)), "{wrong}");
    }
}

#[test]
fn a_test_that_says_nothing_is_refused_before_an_image_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.toml");
    fs::write(&file, "[[file]]\npath = \"/a\"\nmode = \"rwx\"\n").unwrap();
    let out = westwork(&["test", "nowhere.img", text(&file), "other.toml"]);
    let words = said(&out);
    assert_eq!(code(&out), 2, "{words}");
    assert!(words.contains("t.toml:3: \"rwx\" is no mode"), "{words}");
    assert!(words.contains("other.toml: cannot be read"), "{words}");
    // What cannot be said is no test that failed.
    fs::write(&file, "[size]\ngrowth = \"1M\"\n").unwrap();
    for args in [
        ["--against", "nowhere.img", "other.img"],
        ["--junit", "nowhere/j.xml", "other.img"],
    ] {
        let out = westwork(&[&["test", text(&file)], &args[..]].concat());
        assert_eq!(code(&out), 2, "{args:?}: {}", said(&out));
    }
    let out = westwork(&["test", text(&file)]);
    assert_eq!(code(&out), 2);
    assert!(said(&out).contains("no image is named"), "{}", said(&out));
}
