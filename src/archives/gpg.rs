//! What gpg says of a key file and of a signature, judged: keys are told by their fingerprints, and
//! what is weak, expired or revoked does not count.

use crate::base::command::Command;
use crate::base::tool::Tool;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// What helps against a signature that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// A newer file with the key.
    NewerKey,
    /// Another copy of the archive.
    OtherMirror,
    /// The real archive, or the key of this one.
    OtherKey,
}

/// gpg with a directory of its own: the user's keys have no say.
struct Home(TempDir);

impl Home {
    fn new() -> Result<Self> {
        tempfile::tempdir()
            .map(Self)
            .context("making a directory for gpg")
    }

    fn with(key: &Path) -> Result<Self> {
        let home = Self::new()?;
        home.gpg().arg("--import").arg(key).read()?;
        Ok(home)
    }

    fn gpg(&self) -> Command {
        Command::new(Tool::ArchiveKeys)
            .arg("--homedir")
            .arg(self.0.path())
            .args(["--batch", "--quiet", "--no-tty"])
    }
}

/// The key with `fingerprint` out of `file`, alone; or why not.
pub(super) fn key_of(file: &Path, fingerprint: &str) -> Result<Vec<u8>, String> {
    let all = |error: anyhow::Error| format!("{error:#}");
    let home = Home::new().map_err(all)?;
    let listing = home
        .gpg()
        .args(["--with-colons", "--with-sig-list", "--show-keys"])
        .arg(file)
        .read()
        .map_err(|_| "there is no OpenPGP key in it".to_owned())?;
    judge_listing(&listing, fingerprint)?;
    let key = home.0.path().join("key.pgp");
    home.gpg().arg("--import").arg(file).read().map_err(all)?;
    home.gpg()
        .args(["--export-options", "export-minimal", "--output"])
        .arg(&key)
        .args(["--export", fingerprint])
        .read()
        .map_err(all)?;
    fs::read(&key).map_err(|error| format!("exporting the key: {error}"))
}

/// Judges what `gpg --show-keys --with-colons --with-sig-list` prints.
fn judge_listing(listing: &str, fingerprint: &str) -> Result<(), String> {
    let mut others = Vec::new();
    let mut lines = listing
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let field = |line: &[&str], at: usize| line.get(at).map_or("", |field| *field).to_owned();
    while let Some(line) = lines.next() {
        if field(&line, 0) != "pub" {
            continue;
        }
        let (validity, expires) = (field(&line, 1), field(&line, 6));
        let found = lines
            .next()
            .map_or_else(String::new, |line| field(&line, 9));
        if found != fingerprint {
            others.push(found);
            continue;
        }
        match validity.as_str() {
            "e" => {
                return Err(format!(
                    "the key {fingerprint} expired on {}",
                    day(&expires)
                ));
            }
            "r" => return Err(format!("the key {fingerprint} was revoked by its owner")),
            _ => {}
        }
        // The newest of the key's signatures on itself decides.
        let own = lines
            .by_ref()
            .take_while(|line| field(line, 0) != "pub")
            .filter(|line| field(line, 0) == "sig" && fingerprint.ends_with(&field(line, 4)))
            .max_by_key(|line| field(line, 5).parse::<i64>().unwrap_or(0));
        return match own.map(|line| field(&line, 15)) {
            Some(hash) if is_weak(&hash) => Err(format!(
                "the key {fingerprint} is signed with {} only, which apt no longer accepts",
                hash_name(&hash)
            )),
            _ => Ok(()),
        };
    }
    match others.as_slice() {
        [] => Err("there is no OpenPGP key in it".to_owned()),
        [one] => Err(format!("it has the key {one} and not {fingerprint}")),
        several => Err(format!(
            "it has {} keys, none of them {fingerprint}",
            several.len()
        )),
    }
}

/// gpg's status lines about the signature of the release file `text`, by the key in `key`.
pub(super) fn status_of(key: &Path, text: &str) -> Result<String> {
    let home = Home::with(key)?;
    let file = home.0.path().join("InRelease");
    fs::write(&file, text).context("writing a release file")?;
    home.gpg()
        .args(["--status-fd", "1", "--verify"])
        .arg(&file)
        // The status lines say more than the exit code.
        .read_any()
}

/// Judges gpg's status lines (its doc/DETAILS) about a signed file.
pub(super) fn verdict(status: &str, fingerprint: &str) -> Result<(), (String, Remedy)> {
    let lines: Vec<Vec<&str>> = status
        .lines()
        .filter_map(|line| line.strip_prefix("[GNUPG:] "))
        .map(|line| line.split(' ').collect())
        .collect();
    let find = |word: &str| lines.iter().find(|line| line[0] == word);
    let word = |line: &[&str], at: usize| line.get(at).map_or("", |word| *word).to_owned();
    // A file may have several signatures; one that holds is enough.
    let valid = lines.iter().filter(|line| line[0] == "VALIDSIG");
    let ours = || {
        valid
            .clone()
            .filter(|line| line.last() == Some(&fingerprint))
    };
    if find("BADSIG").is_none() {
        if find("EXPKEYSIG").is_some() {
            let when = find("KEYEXPIRED").map_or_else(String::new, |line| word(line, 1));
            let what = format!("its key {fingerprint} expired on {}", day(&when));
            return Err((what, Remedy::NewerKey));
        }
        if find("REVKEYSIG").is_some() {
            let what = format!("its key {fingerprint} was revoked by its owner");
            return Err((what, Remedy::NewerKey));
        }
        if find("EXPSIG").is_some() {
            let what = format!("the signature of {fingerprint} on its release file has expired");
            return Err((what, Remedy::OtherMirror));
        }
        if ours().any(|line| !is_weak(&word(line, 8))) && find("GOODSIG").is_some() {
            return Ok(());
        }
        if let Some(line) = ours().next() {
            let what = format!(
                "the signature of {fingerprint} on its release file is made with {} only",
                hash_name(&word(line, 8))
            );
            return Err((what, Remedy::OtherMirror));
        }
        if let Some(line) = find("ERRSIG") {
            let signer = line.get(7).filter(|word| word.len() == 40);
            let what = format!(
                "its release file is signed by the key {}, not by {fingerprint}",
                signer.map_or_else(|| word(line, 1), |word| (*word).to_owned())
            );
            return Err((what, Remedy::OtherKey));
        }
        let what = format!("its release file has no signature, and {fingerprint} should sign it");
        return Err((what, Remedy::OtherMirror));
    }
    let what = format!(
        "its release file has been changed since {fingerprint} signed it, so the signature is bad"
    );
    Err((what, Remedy::OtherMirror))
}

/// Digests for which two texts with the same one can be made: RFC 4880's numbers of MD5, SHA-1
/// and RIPE-MD/160.
fn is_weak(hash: &str) -> bool {
    matches!(hash, "1" | "2" | "3")
}

fn hash_name(hash: &str) -> &'static str {
    match hash {
        "1" => "MD5",
        "3" => "RIPE-MD/160",
        _ => "SHA-1",
    }
}

/// The day of a number of seconds since 1970.
fn day(seconds: &str) -> String {
    let time = seconds
        .parse()
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(
        || "an unknown day".to_owned(),
        |time| time.strftime("%Y-%m-%d").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAABBBBCCCCDDDDEEEEFFFF0000111122223333";

    fn listing(validity: &str, hash: u8) -> String {
        format!(
            "pub:{validity}:255:22:0000111122223333:1000:86400:::::scSC:::::ed25519:::0:\n\
             fpr:::::::::{KEY}:\n\
             uid:-::::1000::00::Archive::::::::::0:\n\
             sig:?::22:0000111122223333:1000::::[User ID not found]:13x::{KEY}:::2:\n\
             sig:?::22:0000111122223333:2000::::[User ID not found]:13x::{KEY}:::{hash}:\n"
        )
    }

    #[test]
    fn only_a_sound_key_with_the_fingerprint_counts() {
        assert_eq!(judge_listing(&listing("-", 8), KEY), Ok(()));
        let wrong = |listing: &str, key: &str, words: &str| {
            let said = judge_listing(listing, key).unwrap_err();
            assert!(said.contains(words), "{said}");
        };
        wrong(&listing("-", 8), &KEY.replace('A', "B"), "and not BBBB");
        wrong(&listing("e", 8), KEY, "expired on 1970-01-02");
        wrong(&listing("r", 8), KEY, "revoked");
        wrong(&listing("-", 2), KEY, "SHA-1");
        wrong("", KEY, "no OpenPGP key");
    }

    #[test]
    fn signatures_are_refused_for_the_right_reason() {
        let status = |lines: &[&str]| {
            let lines: Vec<String> = lines
                .iter()
                .map(|line| format!("[GNUPG:] {line}"))
                .collect();
            verdict(&lines.join("\n"), KEY)
        };
        let valid = |hash: u8| format!("VALIDSIG {KEY} 2026-01-01 1 0 4 0 22 {hash} 01 {KEY}");
        assert_eq!(status(&["GOODSIG 22223333 Archive", &valid(8)]), Ok(()));
        for (lines, words, remedy) in [
            (
                vec!["EXPKEYSIG 22223333 Archive"],
                "expired",
                Remedy::NewerKey,
            ),
            (
                vec!["BADSIG 22223333 Archive"],
                "changed",
                Remedy::OtherMirror,
            ),
            (
                vec!["GOODSIG 22223333 Archive", &*valid(2)],
                "SHA-1 only",
                Remedy::OtherMirror,
            ),
            (
                vec!["ERRSIG 99 22 8 01 1 9 -"],
                "signed by the key 99",
                Remedy::OtherKey,
            ),
            (vec!["NODATA 1"], "no signature", Remedy::OtherMirror),
        ] {
            let (what, found) = status(&lines).unwrap_err();
            assert!(what.contains(words), "{what}");
            assert_eq!(found, remedy, "{what}");
        }
    }
}
