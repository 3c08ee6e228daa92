//! Messages that people look up: why they come, and what helps. Each is known by words of its own,
//! and a test finds these words in the code that says them, so none can outlive its message.

/// What is known of a message.
pub(super) struct Message {
    /// Parts of its text, in the order in which they stand in it.
    pub(super) words: &'static [&'static str],
    /// Why it comes.
    pub(super) cause: &'static str,
    /// What helps.
    pub(super) remedy: &'static str,
}

const fn message(
    words: &'static [&'static str],
    cause: &'static str,
    remedy: &'static str,
) -> Message {
    Message {
        words,
        cause,
        remedy,
    }
}

/// What is known of `text`: the message with the most words of it.
pub(super) fn find(text: &str) -> Option<&'static Message> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let known = MESSAGES.iter().filter(|known| has(&text, known.words));
    known.max_by_key(|known| known.words.iter().map(|word| word.len()).sum::<usize>())
}

fn has(text: &str, words: &[&str]) -> bool {
    let mut rest = text;
    words.iter().all(|word| match rest.find(word) {
        Some(at) => {
            rest = &rest[at + word.len()..];
            true
        }
        None => false,
    })
}

static MESSAGES: &[Message] = &[
    message(
        &["unknown key "],
        "A config may only set keys that the program knows, so that a slip of the pen is found. What \
         is for the scripts of stages must be exported, or declared by a stage.",
        "Correct the name; or write `export NAME=…`; or declare it in the variables.toml of the stage \
         that reads it (docs/stages.md).",
    ),
    message(
        &["IMG_NAME is not set"],
        "Every image needs a name, and no config gives one. `westwork-gen` reads `config` and \
         `config.toml` where it is started, and the files after -c.",
        "Write IMG_NAME='MyImage' into `config`, or start it where your config is.",
    ),
    message(
        &["there is no stage directory"],
        "A word of STAGE_LIST is neither a directory of the tree nor one of the program's own stages.",
        "Correct the path, which begins at the tree; the program's own are base, minimal, lite and westwork.",
    ),
    message(
        &["the program's own stage", "is not on this machine"],
        "The package puts the stages into share/westwork-gen. A program that was copied alone does \
         not find them.",
        "Install the package, or set WESTWORK_GEN_SHARE to a directory with stages/ in it.",
    ),
    message(
        &["the script is not executable"],
        "Only executable scripts are run. pi-gen passes over others without a word.",
        "chmod +x the file; a git repository keeps the mode (git update-index --chmod=+x FILE).",
    ),
    message(
        &["is not what a step can be called"],
        "Names of steps are two digits, a hyphen, and one of a few words; this one is nearly so, and \
         would be left out.",
        "Rename it as the message says; docs/stages.md has all names.",
    ),
    message(
        &["a step's number has two digits"],
        "Steps run in the order of their numbers, 00 to 99.",
        "Rename it as the message says.",
    ),
    message(
        &["another stage,", "has the same name"],
        "A stage is known by the last part of its path: its layers and work directory are called so.",
        "Rename one of the two directories.",
    ),
    message(
        &["has Windows line ends (CRLF)"],
        "bash takes the carriage return for a part of each value.",
        "Convert the file as the message says, and have your editor save it with LF.",
    ),
    message(
        &["user namespaces are forbidden here by"],
        "A build without root lives in a user namespace, which this machine does not allow.",
        "Allow them by the sysctl that the message names; in a container, see docs/containers.md.",
    ),
    message(
        &["has no range of", " ids for "],
        "Files of an image belong to many users. Without root, a build needs a range of ids for them.",
        "Give yourself one as the message says (usermod --add-subuids, --add-subgids), and log in again.",
    ),
    message(
        &["is not installed, but needed to"],
        "A program of the build machine is missing.",
        "Install the package that the message names, or use `westwork-gen build --install-deps`.",
    ),
    message(
        &["this Linux has no overlayfs"],
        "Each step works on an overlay, which the kernel must know.",
        "sudo modprobe overlay, or use a kernel with CONFIG_OVERLAY_FS.",
    ),
    message(
        &["extended attributes user.* cannot be set here"],
        "Layers need extended attributes, which this file system does not have (tmpfs before Linux \
         6.6, NFS, shared folders of virtual machines).",
        "Set WORK_DIR to a directory on ext4, xfs or btrfs.",
    ),
    message(
        &["nothing can be written here"],
        "The work directory belongs to somebody else, or is on a read-only file system.",
        "Set WORK_DIR to a directory of yours.",
    ),
    message(
        &["steps stand one on the other, and a build can have"],
        "Each step is a layer, and the kernel mounts a limited number of them at once.",
        "Join steps: several packages in one list, several commands in one script.",
    ),
    message(
        &["is in use by", "set another WORK_DIR"],
        "Another command of this program works there.",
        "Wait for it, end it, or set another WORK_DIR.",
    ),
    message(
        &["the package archive", "cannot be reached"],
        "Nothing answers at the address of MIRROR, or a proxy is in between.",
        "Try the address in a browser; set MIRROR, or APT_PROXY where a proxy is needed.",
    ),
    message(
        &["there is no key to verify"],
        "Every archive is verified by the key that signs it, and the build machine does not have \
         this one.",
        "Install the keyring package that the message names, or name a file of the key.",
    ),
    message(
        &["is not to be trusted"],
        "An archive's release file is not signed by the key that it must be signed by, or too old.",
        "Do what the message says after the semicolon; do not switch verification off.",
    ),
    message(
        &["the image has traces of the build"],
        "Paths, passwords, proxies or names of the build machine are in the image, where they are of \
         no use and tell others about you.",
        "Take them out in the step that puts them there: the message names file and trace.",
    ),
    message(
        &["there is no stage or step"],
        "Stages and steps are named as `westwork-gen plan` prints them.",
        "westwork-gen plan",
    ),
    message(
        &["the inputs name", "which is not there"],
        "A line `# inputs:` of a host script names a path, relative to the script's directory.",
        "Correct the path or take it out.",
    ),
    message(
        &["is too small"],
        "A partition or file system has less room than what goes into it.",
        "Raise the size that the message names, or leave it out to have it worked out.",
    ),
    message(
        &["--offline needs"],
        "A build without a network takes all packages from CACHE_DIR, and one is not there.",
        "Build once with --locked and the network, with the same CACHE_DIR.",
    ),
    message(
        &["is gone since the package index was read"],
        "The archive has moved on between reading its index and fetching the package.",
        "Build again without --continue; for the same packages each time, use westwork.lock (--locked).",
    ),
    message(
        &["asks for an interactive shell, and there is no terminal"],
        "A directory of patches has a file EDIT, which asks for a shell.",
        "Remove EDIT, or start the build in a terminal.",
    ),
    message(
        &["is required and has a default"],
        "A variable of a stage is either required, and the user sets it, or it has a default.",
        "Leave out one of the two in variables.toml.",
    ),
    message(
        &["is out of bounds"],
        "The stage that declares the variable says which numbers there are.",
        "Write a number within the bounds; `westwork-gen explain NAME` has them.",
    ),
    message(
        &["is not of the right form"],
        "The stage that declares the variable has a pattern for its value.",
        "`westwork-gen explain NAME` says what it is for and what may be written.",
    ),
    message(
        &["losetup: "],
        "A build has no loop devices: it runs without root's rights over the machine.",
        "Write into ROOTFS_DIR, and leave the image's partitions to the exporter.",
    ),
    message(
        &["mknod: "],
        "The kernel lets nobody but root of the whole machine make device nodes.",
        "Take the line out: /dev of a running image is a devtmpfs; for more nodes a stage adds a file \
         to /usr/lib/tmpfiles.d.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn sources(dir: &Path, all: &mut String) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, all);
            } else if path.extension().is_some_and(|ending| ending == "rs")
                && !path.ends_with("explain/messages.rs")
            {
                let text = fs::read_to_string(&path).unwrap();
                // A text that goes over lines has a backslash at their ends.
                let text = text.replace("\\\n", " ");
                *all += &text.split_whitespace().collect::<Vec<_>>().join(" ");
            }
        }
    }

    #[test]
    fn every_message_is_one_that_the_program_says() {
        let mut all = String::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
        let words = MESSAGES.iter().flat_map(|known| known.words);
        let gone: Vec<_> = words.filter(|word| !all.contains(word.trim())).collect();
        assert_eq!(gone, [&""; 0], "said nowhere in src/");
    }

    #[test]
    fn a_message_is_known_with_its_place_and_values() {
        let text = "config:7: unknown key FLAVOR; did you mean FLAVOUR?";
        assert!(
            find(text)
                .unwrap()
                .cause
                .contains("keys that the program knows")
        );
        let text = "sudo: /etc/subuid has no range of 65535 ids for anna; sudo usermod …";
        assert!(find(text).unwrap().remedy.contains("subuids"));
        assert!(find("segmentation fault").is_none());
    }
}
