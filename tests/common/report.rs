//! Pages that `report` writes, and what must be true of every one.
#![allow(dead_code, reason = "each test binary uses its share of it")]

use super::card::{code, image, said, text, tree, tree_again, westwork};
use base64::Engine;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What must not become markup, wherever it stands.
pub(crate) const HOSTILE: &str = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'><b>";

pub(crate) const JUNIT: &str = "<testsuites><testsuite><testcase name=\"boots\"/>\
    <testcase name=\"no &lt;script&gt;alert(3) key\"><failure message=\"&lt;script&gt;alert(4)\"/>\
    </testcase></testsuite></testsuites>";

/// Writes the page of `image` to `to`; what is in it.
pub(crate) fn report(image: &Path, to: &Path, more: &[&str]) -> String {
    let mut args = vec!["report", text(image), "-o", text(to)];
    args.extend(more);
    let out = westwork(&args);
    assert_eq!(code(&out), 0, "{}", said(&out));
    fs::read_to_string(to).unwrap()
}

/// Puts a build's steps into the record of an export without one.
pub(crate) fn add_timings(record: &Path) {
    let text = fs::read_to_string(record).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json["build"] = serde_json::json!({"timings": [
        {"step": "bootstrap", "seconds": 31.5, "processor_seconds": 40.0, "emulated_seconds": 1.0, "bytes_written": 9},
        {"step": "stage2/01-sys-tweaks <script>alert(5)", "seconds": 95.0, "processor_seconds": 90.0, "emulated_seconds": 60.0},
    ]});
    fs::write(record, json.to_string()).unwrap();
}

/// An image that has [`HOSTILE`] wherever it names something, in a file of such a name, and the
/// further arguments with which all of it is shown.
pub(crate) fn hostile(dir: &Path) -> (PathBuf, Vec<String>) {
    let root = dir.join("root");
    tree(&root);
    let name = HOSTILE.replace('/', "%");
    let before = image(&root, dir, "before");
    tree_again(&root);
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(
        "usr/lib/os-release",
        &format!("PRETTY_NAME={HOSTILE}\u{202e}\u{1b}[2J\n"),
    );
    write("etc/hostname", HOSTILE);
    write(
        "etc/passwd",
        &format!("root:x:0:0:root:/root:/bin/bash\n{name}:x:1000:1000::/:/bin/sh\n"),
    );
    write(
        &format!("etc/systemd/system/multi-user.target.wants/{name}.service"),
        "",
    );
    write(&format!("etc/ssh/ssh_host_{name}_key"), "");
    write(&format!("usr/lib/modules/{name}/x"), "");
    write(&format!("opt/{name}/{name}"), &"x".repeat(2_000_000));
    write("boot/firmware/config.txt", &format!("</pre>{HOSTILE}\n"));
    write(
        "boot/firmware/cmdline.txt",
        &format!("root=ROOTDEV rootwait </pre>{HOSTILE}\n"),
    );
    write(
        "var/lib/dpkg/status",
        &format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: {HOSTILE}\nVersion: {HOSTILE}\n\
             Source: {HOSTILE}\nMaintainer: {HOSTILE}\nOrigin: {HOSTILE}\n\n"
        ),
    );
    write(
        &format!("var/lib/dpkg/info/{name}.list"),
        &format!("/opt/{name}/{name}\n"),
    );
    let made = image(&root, dir, "hostile");
    let raw = dir.join(format!("{name}.img"));
    fs::rename(made, &raw).unwrap();
    let record = dir.join(format!("{name}.build.json"));
    fs::rename(dir.join("deploy-hostile/hostile.build.json"), &record).unwrap();
    add_timings(&record);
    let junit = dir.join("junit.xml");
    fs::write(&junit, JUNIT).unwrap();
    let more = ["--against", text(&before), "--tests", text(&junit)];
    (raw, more.map(str::to_owned).to_vec())
}

/// A tag of a page.
#[derive(Debug)]
struct Tag {
    name: String,
    attributes: BTreeMap<String, String>,
}

/// A page, read as strictly as it was written: every attribute in quotes, every tag closed.
pub(crate) struct Html {
    tags: Vec<Tag>,
    /// Texts of the elements that hold no markup: `style` and `script`.
    raw: Vec<(String, String)>,
}

const VOID: [&str; 3] = ["meta", "link", "br"];

impl Html {
    /// Reads a page.
    ///
    /// # Panics
    /// When it is not well formed.
    pub(crate) fn read(text: &str) -> Self {
        let mut html = Self {
            tags: Vec::new(),
            raw: Vec::new(),
        };
        let mut open: Vec<String> = Vec::new();
        let mut rest = text.strip_prefix("<!DOCTYPE html>").expect("a doctype");
        while let Some(at) = rest.find('<') {
            rest = &rest[at + 1..];
            if let Some(closing) = rest.strip_prefix('/') {
                let end = closing.find('>').expect("a tag ends");
                assert_eq!(open.pop().as_deref(), Some(&closing[..end]));
                rest = &closing[end + 1..];
                continue;
            }
            let (tag, after) = Self::tag(rest);
            rest = after;
            if ["style", "script"].contains(&tag.name.as_str()) {
                let end = rest.find(&format!("</{}>", tag.name)).expect("it ends");
                html.raw.push((tag.name.clone(), rest[..end].to_owned()));
                rest = &rest[end..];
            }
            if !VOID.contains(&tag.name.as_str()) {
                open.push(tag.name.clone());
            }
            html.tags.push(tag);
        }
        assert!(open.is_empty(), "{open:?} are not closed");
        html
    }

    /// The tag at the beginning of `text`, behind its `<`, and what follows it.
    fn tag(text: &str) -> (Tag, &str) {
        let end = text.find([' ', '>']).expect("a tag's name ends");
        let name = text[..end].to_owned();
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "<{name}");
        let mut attributes = BTreeMap::new();
        let mut rest = &text[end..];
        while let Some(after) = rest.strip_prefix(' ') {
            let end = after.find(['=', ' ', '>']).expect("an attribute ends");
            let key = after[..end].to_owned();
            let mut value = "";
            rest = &after[end..];
            if let Some(quoted) = rest.strip_prefix("=\"") {
                let end = quoted.find('"').expect("quotes end");
                value = &quoted[..end];
                rest = &quoted[end + 1..];
            }
            assert!(
                attributes.insert(key.clone(), value.to_owned()).is_none(),
                "{key} twice"
            );
        }
        let rest = rest
            .strip_prefix('>')
            .expect("nothing but attributes in a tag");
        (Tag { name, attributes }, rest)
    }

    /// What must be true of every page.
    ///
    /// # Panics
    /// When it is not.
    pub(crate) fn check(&self) {
        self.is_closed_to_others();
        self.is_accessible();
    }

    /// No script, style or resource but the page's own.
    fn is_closed_to_others(&self) {
        let known = "a article body button caption code dd details div dl dt figcaption figure footer g h1 h2 h3 head header html \
            li link main meta nav ol p pre rect script section small span strong style summary svg table tbody td text th thead title tr ul";
        let known: BTreeSet<&str> = known.split_whitespace().collect();
        for tag in &self.tags {
            assert!(known.contains(tag.name.as_str()), "{tag:?}");
            for (key, value) in &tag.attributes {
                assert!(
                    !key.starts_with("on") && !["style", "src", "srcset"].contains(&key.as_str()),
                    "{tag:?}"
                );
                let link = key.ends_with("href");
                assert!(
                    !link || value.starts_with('#') || value == "data:,",
                    "{tag:?}"
                );
            }
        }
        let policy = self.tags.iter().find(|tag| {
            let policy = tag.attributes.get("http-equiv");
            policy.is_some_and(|key| key == "Content-Security-Policy")
        });
        let policy = &policy.expect("a policy").attributes["content"];
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert_eq!(
            self.raw
                .iter()
                .map(|(name, _)| name.as_str())
                .collect::<Vec<_>>(),
            ["style", "script"]
        );
        for (name, text) in &self.raw {
            let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text));
            assert!(
                policy.contains(&format!("{name}-src 'sha256-{hash}'")),
                "{name}: {policy}"
            );
            assert!(!text.contains("http"), "{name} names an address");
        }
    }

    /// Language, landmarks, headings in order, names of what is no text, links that lead somewhere.
    fn is_accessible(&self) {
        let all = |name: &str| {
            self.tags
                .iter()
                .filter(move |tag| tag.name == name)
                .collect::<Vec<_>>()
        };
        assert_eq!(all("html")[0].attributes["lang"], "en");
        for landmark in ["header", "nav", "main", "footer", "h1"] {
            assert_eq!(all(landmark).len(), 1, "{landmark}");
        }
        let mut level = 0;
        for tag in &self.tags {
            if let Some(next) = tag
                .name
                .strip_prefix('h')
                .and_then(|n| n.parse::<u32>().ok())
            {
                assert!(next <= level + 1, "h{next} after h{level}");
                level = next;
            }
        }
        assert_eq!(all("table").len(), all("caption").len());
        for head in all("th") {
            assert!(head.attributes.contains_key("scope"), "{head:?}");
        }
        for picture in all("svg") {
            let named = ["aria-label", "aria-hidden"]
                .iter()
                .any(|key| picture.attributes.contains_key(*key));
            assert!(named, "{picture:?}");
        }
        let mut ids = BTreeSet::new();
        for id in self.tags.iter().filter_map(|tag| tag.attributes.get("id")) {
            assert!(ids.insert(id.as_str()), "{id} is there twice");
        }
        for tag in &self.tags {
            let to = tag
                .attributes
                .get("href")
                .and_then(|href| href.strip_prefix('#'));
            assert!(
                to.is_none_or(|to| ids.contains(to)),
                "{tag:?} leads nowhere"
            );
            let by = tag.attributes.get("aria-labelledby");
            assert!(by.is_none_or(|by| ids.contains(by.as_str())), "{tag:?}");
        }
    }
}
