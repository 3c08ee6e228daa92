//! Secrets among the settings: they reach the scripts, and nothing that the program writes.

use crate::fixture::Fixture;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Read;
use std::path::Path;
use walkdir::WalkDir;

/// Ten names of secrets: a key of the config, and words of a user's own.
const NAMES: [&str; 10] = [
    "FIRST_USER_PASS",
    "WIFI_PSK",
    "API_KEY",
    "SSH_PRIVATE_KEY",
    "X_CREDENTIALS",
    "DB_PASSWORD",
    "GITHUB_TOKEN",
    "APP_SECRET",
    "BASIC_AUTH",
    "DEPLOY_KEYS",
];

fn value(name: &str) -> String {
    format!("hidden.{}.word", name.to_lowercase())
}

/// A secret in clear, and as any hash that could be tried without a key.
fn traces() -> Vec<(String, Vec<u8>)> {
    let mut traces = Vec::new();
    for name in NAMES {
        let value = value(name);
        let hash = Sha256::digest(&value);
        traces.push((name.to_owned(), value.into_bytes()));
        traces.push((format!("{name}, hashed"), hex::encode(hash).into_bytes()));
        traces.push((format!("{name}, hashed, as bytes"), hash.to_vec()));
    }
    traces
}

fn find(text: &[u8], place: &str, found: &mut Vec<String>) {
    // Most of an image is nothing.
    let text: Vec<u8> = text
        .chunks(4096)
        .filter(|block| *block != &[0; 4096][..block.len()])
        .flatten()
        .copied()
        .collect();
    for (what, trace) in traces() {
        if has(&text, &trace) {
            found.push(format!("{what}: {place}"));
        }
    }
}

fn has(text: &[u8], part: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == part[0]) {
        if rest[at..].starts_with(part) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

/// Searches every file below `dir`; of a shared cache's archives also what is packed in them.
/// Their number.
fn search(dir: &Path, found: &mut Vec<String>) -> usize {
    let mut count = 0;
    for entry in WalkDir::new(dir) {
        let entry = entry.unwrap();
        if !entry.file_type().is_file() {
            continue;
        }
        let bytes = fs::read(entry.path()).unwrap();
        let place = entry.path().display().to_string();
        find(&bytes, &place, found);
        if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            let mut text = Vec::new();
            zstd::Decoder::new(&bytes[..])
                .unwrap()
                .read_to_end(&mut text)
                .unwrap();
            find(&text, &place, found);
        }
        count += 1;
    }
    count
}

/// What an image must have to be exported, without a package in it.
pub(crate) const ROOT: &str = "#!/bin/bash -e
cd \"$(dirname \"$ROOTFS_DIR\")\"
mkdir -p rootfs/{boot/firmware,etc,usr/bin,var/lib/dpkg}
touch rootfs/var/lib/dpkg/status rootfs/boot/firmware/config.txt
echo 'console=tty1 root=ROOTDEV' >rootfs/boot/firmware/cmdline.txt
printf 'BOOTDEV /boot/firmware vfat defaults 0 2\\nROOTDEV / ext4 defaults 0 1\\n' >rootfs/etc/fstab
";

/// A tree whose second step uses all of the secrets and keeps none.
fn tree() -> Fixture {
    let fixture = Fixture::new("arm64");
    fixture.config("STAGE_LIST='stage0 stage1'\nBOOT_SIZE=64M\nROOT_MARGIN=16M");
    fixture.config(&format!("FIRST_USER_PASS={}", value("FIRST_USER_PASS")));
    for name in &NAMES[1..] {
        fixture.config(&format!("export {name}={}", value(name)));
    }
    fixture.script("stage0/prerun.sh", ROOT);
    let uses: String = NAMES.map(|name| format!("test -n \"${name}\"\n")).concat();
    fixture.script(
        "stage1/00-a/00-run.sh",
        &format!("#!/bin/bash -e\n{uses}echo done >\"$ROOTFS_DIR/etc/used\"\n"),
    );
    let above = "#!/bin/bash -e\necho above >\"$ROOTFS_DIR/etc/above\"\n";
    fixture.script("stage1/00-a/01-run.sh", above);
    fixture.file("stage1/EXPORT_IMAGE", "");
    fixture
}

#[test]
fn nothing_that_is_written_or_said_has_a_secret() {
    let fixture = tree();
    let shared = fixture.root.join("shared");
    let to = shared.to_str().unwrap();
    let mut said = fixture
        .run(&["build", "--emulate", "--cache-to", to])
        .good()
        .text;
    let plan = fixture.run(&["plan"]).good();
    assert_eq!(plan.text.matches("cached").count(), 3, "{}", plan.text);
    said += &plan.text;
    said += &fixture.run(&["check"]).good().text;
    said += &fixture.run(&["build", "--emulate"]).good().text;
    let used = fs::read_to_string(fixture.root.join("work/progress.json"));
    said += &used.unwrap_or_default();

    fixture.config("export API_KEY=another");
    let why = fixture.run(&["why", "stage1"]).good();
    why.says("secret API_KEY has changed");
    why.says("stage1/00-a/01-run.sh runs: because stage1/00-a/00-run.sh runs again");
    why.says_not("another");
    said += &why.text;

    let mut found = Vec::new();
    find(said.as_bytes(), "what the program said", &mut found);
    for dir in ["work", "deploy", "shared"] {
        let files = search(&fixture.root.join(dir), &mut found);
        assert!(files > 1, "{dir} has {files} files");
    }
    assert_eq!(found, [""; 0]);

    // The key of the hashes is here, and nowhere else.
    let key = fs::read(fixture.root.join("work/secret.key")).unwrap();
    for dir in ["deploy", "shared"] {
        for entry in WalkDir::new(fixture.root.join(dir)) {
            let entry = entry.unwrap();
            let is_key = entry.file_type().is_file() && has(&fs::read(entry.path()).unwrap(), &key);
            assert!(!is_key, "{}", entry.path().display());
        }
    }
    // Of three layers one depends on no secret, and is for others.
    let layers = fs::read_dir(shared.join("layers")).unwrap().count();
    assert_eq!(layers, 1);
}

#[test]
fn other_machines_make_their_own_of_what_depends_on_a_secret() {
    let fixture = tree();
    let shared = fixture.root.join("shared");
    let to = shared.to_str().unwrap();
    fixture
        .run(&["build", "--emulate", "--cache-to", to])
        .good();
    let other = [
        "build",
        "--emulate",
        "--cache-from",
        to,
        "--set",
        "WORK_DIR=work2",
        "--set",
        "DEPLOY_DIR=deploy2",
    ];
    let said = fixture.run(&other).good();
    said.says("fetched 1 of 3 layers");
    said.says("cached  stage0/prerun.sh");
    said.says_not("cached  stage1/00-a/00-run.sh");
}
