//! Proof that nothing of the build is in the image: every file, link and name of the finished tree
//! is searched for the values that only the build has a use for.
//!
//! What is packed (an initramfs, documentation in .gz) is not looked into. A value is sought only
//! if it tells this build from any other text: see [`is_distinctive_path`], [`is_distinctive_name`]
//! and [`is_distinctive_password`]. A needless alarm would keep an image from being made.

use super::finalise::temp_repo;
use crate::base::inside::{Dir, DirEntry, Kind, Root};
use crate::base::sparse::{self, CHUNK};
use crate::config::{Address, Config};
use crate::sandbox::stand_ins::{POLICY, TOOLS_DIR};
use aho_corasick::{AhoCorasick, Input, MatchKind};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Traces that an error names.
const SHOWN: usize = 10;

/// Longest file that is looked at for the build machine's name servers, bytes.
const LONGEST_RESOLVER: u64 = 64 << 10;

/// What may stand beside a value for it to be that value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// Anything.
    Any,
    /// Before it anything (`-L/path`), after it nothing that makes it another name.
    Path,
    /// Nothing that makes it another word.
    Word,
}

/// One value that must not be in the image.
#[derive(Debug)]
struct Value {
    /// What a message calls it.
    what: String,
    text: Vec<u8>,
    beside: Beside,
    /// Other files have it as an example.
    only_in_etc: bool,
}

/// The values that only a build has a use for.
pub struct Values {
    values: Vec<Value>,
    search: AhoCorasick,
    /// The lines of the build machine's resolv.conf.
    resolver: Vec<String>,
}

/// An error that names files and values, if anything of the build is in `root`. `host_name` is
/// the build machine's.
///
/// # Errors
/// What was found, and where; or what cannot be read.
pub fn none_left(root: &Root, config: &Config, host_name: &str) -> Result<()> {
    let found = Values::of(root, config, host_name)?.find(root)?;
    if found.is_empty() {
        return Ok(());
    }
    let mut shown: Vec<String> = found
        .iter()
        .take(SHOWN)
        .map(|(path, what)| format!("{path} has {what}"))
        .collect();
    if found.len() > SHOWN {
        shown.push(format!("and {} more", found.len() - SHOWN));
    }
    bail!(
        "the image has traces of the build: {}; take them out in the step that puts them there, or \
         in one of export-image",
        shown.join(", ")
    )
}

/// Whether a directory of the build machine can be told from a path that programs have by
/// themselves: `/work`, `/tmp/build` and `/usr/local/src` cannot. One that is in the image as
/// well is the image's.
fn is_distinctive_path(root: &Root, path: &str) -> bool {
    let parts = path.split('/').filter(|part| !part.is_empty()).count();
    let long = match parts {
        0 | 1 => false,
        2 => path.len() >= 16,
        _ => path.len() >= 12,
    };
    long && path.starts_with('/') && matches!(root.kind(path), Ok(None))
}

/// Whether a host name is no word: `localhost`, `debian`, `server2` and `raspberrypi4` stand in
/// files of any system. Those that clouds and container engines give have more digits.
fn is_distinctive_name(name: &str) -> bool {
    name.len() >= 8 && name.bytes().filter(u8::is_ascii_digit).count() >= 3
}

/// Whether a password is no word: `raspberry` stands in many files, so that it is found says
/// nothing.
fn is_distinctive_password(password: &str) -> bool {
    let classes: [fn(&char) -> bool; 4] = [
        char::is_ascii_lowercase,
        char::is_ascii_uppercase,
        char::is_ascii_digit,
        |c| !c.is_ascii_alphanumeric(),
    ];
    let classes = classes.iter().filter(|is| password.chars().any(|c| is(&c)));
    let least = if password.len() >= 10 { 2 } else { 3 };
    password.len() >= 8 && classes.count() >= least
}

/// The password in an address, `http://user:password@host/…`.
fn password_of(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once("://")?;
    let host = rest.split('/').next()?;
    let (user, _) = host.rsplit_once('@')?;
    user.split_once(':').map(|(_, password)| password)
}

/// Whether an address is of the machine itself, as examples of every program have it.
fn is_local(address: &str) -> bool {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    ["localhost", "127.", "[::1]"]
        .iter()
        .any(|host| rest.starts_with(host))
}

impl Values {
    /// Those of a build with `config` on the machine `host_name`, for the image in `root`.
    fn of(root: &Root, config: &Config, host_name: &str) -> Result<Self> {
        let mut values = Vec::new();
        let mut add = |what: String, text: &str, beside| {
            values.push(Value {
                what,
                text: text.into(),
                beside,
                only_in_etc: false,
            });
        };
        let named = |key: &str, text: &str| format!("the value of {key} ({text})");
        for (key, path) in [
            ("WORK_DIR", &config.work_dir),
            ("CACHE_DIR", &config.cache_dir),
            ("DEPLOY_DIR", &config.deploy_dir),
            ("BASE_DIR", &config.base_dir),
        ] {
            let path = path.to_string_lossy();
            let path = path.trim_end_matches('/');
            if is_distinctive_path(root, path) {
                add(named(key, path), path, Beside::Path);
            }
        }
        // Without what would be a secret in a message.
        for line in temp_repo(config).iter().flat_map(|text| text.lines()) {
            add("the archive of TEMP_REPO".into(), line.trim(), Beside::Any);
        }
        let proxy = config.apt_proxy.as_deref().unwrap_or_default();
        for (key, password) in passwords(config) {
            if is_distinctive_password(&password) {
                add(format!("the password of {key}"), &password, Beside::Word);
            }
        }
        if is_distinctive_name(host_name) && host_name != config.target_hostname {
            let what = format!("the build machine's name ({host_name})");
            add(what, host_name, Beside::Word);
        }
        // A program that has the name alone, such as this one, is no trace.
        for below in ["usr/", "renamed/"] {
            let text = format!("/{TOOLS_DIR}/{below}");
            let what = "a path of the build's native programs".to_owned();
            add(what, &text, Beside::Any);
        }
        values.push(Value {
            what: "the address of APT_PROXY".into(),
            text: proxy.trim_end_matches('/').into(),
            beside: Beside::Word,
            only_in_etc: is_local(proxy),
        });
        let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        Self::new(values, resolver_lines(&host))
    }

    fn new(values: Vec<Value>, resolver: Vec<String>) -> Result<Self> {
        let values: Vec<Value> = values.into_iter().filter(|v| !v.text.is_empty()).collect();
        let search = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostFirst)
            .build(values.iter().map(|value| &value.text))
            .context("preparing the search for traces of the build")?;
        Ok(Self {
            values,
            search,
            resolver,
        })
    }

    /// Paths in `root`, each with what of the build is there.
    fn find(&self, root: &Root) -> Result<BTreeSet<(String, String)>> {
        let found = Mutex::new(BTreeSet::new());
        root.top().walk(|path, dir, entries| {
            let mut buffer = Vec::new();
            for entry in entries {
                let here = self
                    .of_entry(path, dir, entry, &mut buffer)
                    .with_context(|| format!("reading /{}", path.join(&entry.name).display()))?;
                if !here.is_empty() {
                    let path = format!("/{}", path.join(&entry.name).display());
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    found.extend(here.into_iter().map(|what| (path.clone(), what)));
                }
            }
            Ok(true)
        })?;
        Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// What of the build is in one name, and in the file or link that has it.
    fn of_entry(
        &self,
        path: &Path,
        dir: &Dir,
        entry: &DirEntry,
        buffer: &mut Vec<u8>,
    ) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        let in_etc = path.starts_with("etc");
        let mut add = |value: &Value| {
            if in_etc || !value.only_in_etc {
                found.insert(value.what.clone());
            }
        };
        let parent = path.as_os_str().as_bytes();
        let own = [b"/", parent, b"/", entry.name.as_bytes(), b"/"].concat();
        // What the directory's path has was found there.
        let before = if parent.is_empty() {
            0
        } else {
            parent.len() + 1
        };
        let own = if parent.is_empty() { &own[1..] } else { &own };
        self.search(own, before + 2, true, &mut add);
        match entry.kind {
            Kind::Link => self.search(dir.link(&entry.name)?.as_bytes(), 0, true, &mut add),
            Kind::File => {
                let file = dir.file(&entry.name)?;
                let meta = file.metadata()?;
                self.of_file(&file, &meta, buffer, &mut add)?;
                // All of a short file is in the buffer.
                if meta.len() == POLICY.len() as u64 && buffer == POLICY.as_bytes() {
                    found.insert("the build's policy-rc.d, which forbids all services".into());
                }
                if in_etc && meta.len() <= LONGEST_RESOLVER && self.is_resolver(buffer) {
                    found.insert("the build machine's name servers".into());
                }
            }
            Kind::Directory if path.as_os_str().is_empty() && entry.name == TOOLS_DIR => {
                found.insert("the mount point of the build's native programs".into());
            }
            Kind::Directory | Kind::Other => {}
        }
        Ok(found)
    }

    /// Searches the data of `file` piece by piece; holes are not read.
    fn of_file(
        &self,
        file: &File,
        meta: &std::fs::Metadata,
        buffer: &mut Vec<u8>,
        add: &mut impl FnMut(&Value),
    ) -> Result<()> {
        let longest = self.values.iter().map(|value| value.text.len()).max();
        // Enough of the last piece for a value that goes on in the next, and what is beside it.
        let overlap = longest.unwrap_or(0) + 2;
        buffer.clear();
        let holes = meta.blocks() * 512 < meta.len();
        let parts = match holes {
            true => sparse::data(file, meta.len())?,
            false => std::iter::once(0..meta.len()).collect(),
        };
        for part in parts {
            let (mut at, mut kept) = (part.start, 0);
            while at < part.end {
                let length = usize::try_from((part.end - at).min(CHUNK as u64))?;
                buffer.resize(kept + length, 0);
                file.read_exact_at(&mut buffer[kept..], at)?;
                at += length as u64;
                let is_last = at == part.end;
                self.search(buffer, kept, is_last, add);
                if !is_last {
                    kept = overlap.min(buffer.len());
                    let rest = buffer.len() - kept;
                    buffer.copy_within(rest.., 0);
                }
            }
        }
        Ok(())
    }

    /// Calls `add` for each value in `text` that ends at `from` or behind it. Unless `is_last`,
    /// what ends with `text` is left for the next piece, which shows what is beside it.
    fn search(&self, text: &[u8], from: usize, is_last: bool, add: &mut impl FnMut(&Value)) {
        let mut at = 0;
        while let Some(found) = self.search.find(Input::new(text).range(at..)) {
            let start = found.start();
            for value in &self.values {
                let end = start + value.text.len();
                let in_reach = end >= from && (is_last || end < text.len());
                if in_reach && text[start..].starts_with(&value.text) && value.is_at(text, start) {
                    add(value);
                }
            }
            at = start + 1;
        }
    }

    /// Whether `text` has every line of the build machine's resolv.conf. One line alone may be
    /// what a stage wants.
    fn is_resolver(&self, text: &[u8]) -> bool {
        let has = |line: &String| {
            text.split(|byte| *byte == b'\n')
                .any(|own| own.trim_ascii() == line.as_bytes())
        };
        self.resolver.len() > 1 && self.resolver.iter().all(has)
    }
}

impl Value {
    /// Whether what is beside the bytes from `start` leaves them this value.
    fn is_at(&self, text: &[u8], start: usize) -> bool {
        let part = |byte: Option<&u8>| {
            byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte))
        };
        let before = start.checked_sub(1).and_then(|before| text.get(before));
        let after = text.get(start + self.text.len());
        match self.beside {
            Beside::Any => true,
            Beside::Path => !part(after),
            Beside::Word => !part(before) && !part(after),
        }
    }
}

/// Passwords in clear that the config has, each with its key.
fn passwords(config: &Config) -> Vec<(&'static str, String)> {
    let url = |address: &Option<Address>| match address {
        Some(Address::Url(url)) => Some(url.clone()),
        _ => None,
    };
    let addresses = [
        ("TEMP_REPO", config.temp_repo.clone()),
        ("APT_PROXY", config.apt_proxy.clone()),
        ("MIRROR", config.mirror.clone()),
        ("IMAGE_MIRROR", config.image_mirror.clone()),
        (
            "RASPBERRYPI_MIRROR",
            Some(config.raspberrypi_mirror.clone()),
        ),
        ("CACHE_FROM", url(&config.cache_from)),
        ("CACHE_TO", url(&config.cache_to)),
        ("DEPLOY_URL", config.deploy_url.clone()),
    ];
    let mut passwords: Vec<_> = addresses
        .iter()
        .flat_map(|(key, text)| text.iter().map(move |text| (*key, text)))
        .flat_map(|(key, text)| text.split_whitespace().map(move |word| (key, word)))
        .filter_map(|(key, word)| Some((key, password_of(word)?.to_owned())))
        .collect();
    let first_user = config.first_user_pass.clone();
    passwords.extend(first_user.map(|password| ("FIRST_USER_PASS", password)));
    passwords
}

/// What a resolv.conf says, line by line.
fn resolver_lines(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
#[path = "traces_tests.rs"]
mod tests;
