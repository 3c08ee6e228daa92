//! What a failed step's own words mean: what a package archive did wrong, by apt's messages, and
//! what a build does not have, by those of mount and losetup.

use crate::config::Config;
use std::collections::BTreeSet;

/// How a message of apt shows, and what is to be said of it.
struct Known {
    /// One of these is in the line.
    words: &'static [&'static str],
    /// `{}` stands for the address in the line, `{seconds}` for `APT_TIMEOUT`.
    advice: &'static str,
}

/// In the order in which they are tried: the first that fits a line counts.
const ALL: &[Known] = &[
    Known {
        words: &["EXPKEYSIG", "Expired on", "key has expired", "is expired"],
        advice: "the key that signs {} has expired; name a newer key file (RASPBERRYPI_KEY, RASPBIAN_KEY), or install the newer keyring package of that archive",
    },
    Known {
        words: &[
            "SHA1 is not considered secure",
            "weak digest",
            "Weak-Digest",
            "signature uses weak",
        ],
        advice: "{}, or the key that signs it, is signed with SHA-1 only, which apt no longer accepts; name a newer key file (RASPBERRYPI_KEY, RASPBIAN_KEY), or use another copy of the archive",
    },
    Known {
        words: &["NO_PUBKEY", "Missing key ", "No good signature"],
        advice: "{} is signed by another key than the one it must be signed by; set the address to the real archive, or name the key that is right (RASPBERRYPI_KEY, RASPBIAN_KEY, with its FINGERPRINT)",
    },
    Known {
        words: &["BADSIG", "Bad signature", "is not signed"],
        advice: "the signature of {} does not hold; try again later, or use another copy of the archive",
    },
    Known {
        words: &["Hash Sum mismatch", "File has unexpected size"],
        advice: "{} has other contents than the signed index says; the archive may be in the middle of an update: try again later, or use another copy of it",
    },
    Known {
        words: &["404  Not Found", "410  Gone"],
        advice: "{} is gone since the package index was read; `westwork-gen build` without --continue reads the index again",
    },
    Known {
        words: &[
            "Connection timed out",
            "Connection failed",
            "Could not connect",
            "Unable to connect",
        ],
        advice: "{} did not answer for {seconds} s, four times over; try again later, use another copy of the archive, or raise APT_TIMEOUT",
    },
];

/// What is not there is an index, and the archive may be there all the same.
const INDEX: Known = Known {
    words: &["404  Not Found", "410  Gone"],
    advice: "{} lacks a package index; the archive may be in the middle of an update: try again later, use another copy of it, or name the suites that it has in EXTRA_SUITES",
};

/// How the programs begin their messages that want devices, and what is to be said then.
const DEVICES: &[(&str, &str)] = &[
    (
        "mknod: ",
        "the kernel lets nobody but root of the whole machine make device nodes, and a build is not that, not even with sudo; take the line out: /dev of the running image is a devtmpfs with every device in it, /dev of a build has null, zero, full, random, urandom and tty, and for more a stage adds a line to /usr/lib/tmpfiles.d of the image, such as `c /dev/name 0660 root root - 10:200`; FIFOs can be made",
    ),
    (
        "losetup: ",
        "a build has no loop devices: write into ROOTFS_DIR, and leave the image's partitions to the exporter",
    ),
    (
        "mount: ",
        "a build mounts ordinary directories (--bind), proc and tmpfs, but no devices, no /dev or sysfs, and no files with file systems in them; debugfs and mtools read those without a mount",
    ),
];

/// What is to be said when these were the last lines of a step.
pub fn explain(lines: &[String], config: &Config) -> Vec<String> {
    let mut all = archives(lines, config);
    all.extend(devices(lines));
    all
}

fn devices(lines: &[String]) -> impl Iterator<Item = String> {
    DEVICES
        .iter()
        .filter(|(start, _)| lines.iter().any(|line| line.starts_with(start)))
        .map(|(_, advice)| (*advice).to_owned())
}

/// What is to be said of the archives.
fn archives(lines: &[String], config: &Config) -> Vec<String> {
    let mut said = BTreeSet::new();
    let mut all = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        // The words may also be a package's or a script's.
        let apt = ["E: ", "W: ", "Err:", "  "];
        if !apt.iter().any(|start| line.starts_with(start)) {
            continue;
        }
        let before = at.checked_sub(1).and_then(|at| lines.get(at));
        let fits = |known: &&Known| known.words.iter().any(|word| line.contains(word));
        let index = Some(&INDEX).filter(|known| fits(known) && is_of_index(line, before));
        let Some(known) = index.or_else(|| ALL.iter().find(fits)) else {
            continue;
        };
        // `Err:1 ADDRESS …` is the line before the one with its reason.
        let address = address(line).or_else(|| address(before?));
        let what = address.unwrap_or_else(|| "the package archive".to_owned());
        if said.insert((known.advice, what.clone())) {
            let seconds = config.apt_timeout.to_string();
            let text = known.advice.replace("{seconds}", &seconds);
            all.push(text.replace("{}", &what));
        }
    }
    // One line tells of a file with its whole address, another of its archive alone.
    let texts = all.clone();
    all.retain(|text| {
        let whole = |other: &String| other != text && is_part(text, other);
        !texts.iter().any(whole)
    });
    all
}

/// Whether apt says `line`, perhaps after `before`, of an index and not of a package.
fn is_of_index(line: &str, before: Option<&String>) -> bool {
    let names_one = |line: &str| {
        let last = line.split_whitespace().last().unwrap_or_default();
        let indexes = ["Packages", "Release", "InRelease", "Sources"];
        line.contains("/dists/") || (line.starts_with("Err:") && indexes.contains(&last))
    };
    names_one(line) || (line.starts_with("  ") && before.is_some_and(|line| names_one(line)))
}

/// The first web address of a line.
fn address(line: &str) -> Option<String> {
    let word = line
        .split_whitespace()
        .find(|word| word.starts_with("http://") || word.starts_with("https://"))?;
    Some(word.trim_end_matches([':', ',', ';']).to_owned())
}

/// Whether `text` says of an archive, or of "the package archive", what `other` says of a file.
fn is_part(text: &str, other: &str) -> bool {
    let shape = |text: &str| -> (String, String) {
        match address(text) {
            Some(found) => (text.replace(&found, "{}"), found),
            None => (text.replace("the package archive", "{}"), String::new()),
        }
    };
    let (said, place) = shape(text);
    let (other_said, file) = shape(other);
    said == other_said && file.starts_with(&place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn said(lines: &[&str]) -> Vec<String> {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        explain(
            &lines,
            &crate::plan::fixture::config(Path::new("/tree"), &[]),
        )
    }

    #[test]
    fn the_file_the_reason_and_the_remedy_are_named() {
        let gone = said(&[
            "Err:1 http://a.example/debian trixie/main arm64 x arm64 1",
            "  404  Not Found [IP: 192.0.2.1 80]",
            "E: Failed to fetch http://a.example/debian/pool/x.deb  404  Not Found [IP: 192.0.2.1 80]",
        ]);
        assert_eq!(gone.len(), 1, "{gone:?}");
        assert!(gone[0].starts_with("http://a.example/debian/pool/x.deb is gone"));
        let index = said(&[
            "Err:1 http://a.example/debian-security trixie-security/main armhf Packages",
            "  404  Not Found [IP: 192.0.2.1 80]",
            "E: Failed to fetch http://a.example/debian-security/dists/trixie-security/main/binary-armhf/by-hash/SHA256/00  404  Not Found [IP: 192.0.2.1 80]",
        ]);
        assert_eq!(index.len(), 1, "{index:?}");
        assert!(index[0].contains("lacks a package index"), "{index:?}");
        let slow = said(&["E: Failed to fetch http://a.example/x.deb  Connection timed out"]);
        assert!(slow[0].contains("for 30 s, four times over"), "{slow:?}");
        let key = said(&[
            "W: OpenPGP signature verification failed: http://a.example/debian trixie InRelease: Sub-process /usr/bin/sqv returned an error code (1), error message is: Missing key 0123, which is needed to verify signature.",
        ]);
        assert!(key[0].contains("another key"), "{key:?}");
        assert_eq!(said(&["404  Not Found in a log"]), [""; 0]);
    }

    #[test]
    fn device_nodes_are_explained_and_what_is_to_be_done() {
        let said = said(&["mknod: /opt/null: Operation not permitted"]);
        assert!(said[0].contains("tmpfiles.d") && said[0].contains("take the line out"));
    }
}
