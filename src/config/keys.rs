//! Every key there is, with its default: the one list that the loader, the search for the
//! nearest right name and the test of config.example read.

/// Name and default of each key. An empty default means unset, or decided from other keys
/// (see `judge.rs`).
pub(super) const KEYS: &[(&str, &str)] = &[
    ("IMG_NAME", ""),
    ("IMG_DATE", ""),
    ("IMG_FILENAME", ""),
    ("ARCHIVE_FILENAME", ""),
    ("SOURCE_DATE_EPOCH", ""),
    ("ARCH", "arm64"),
    ("DISTRO", "debian"),
    ("RELEASE", "trixie"),
    ("MIRROR", ""),
    (
        "RASPBERRYPI_MIRROR",
        "http://archive.raspberrypi.com/debian",
    ),
    ("RASPBERRYPI_KEY", ""),
    (
        "RASPBERRYPI_FINGERPRINT",
        "CF8A1AF502A2AA2D763BAE7E82B129927FA3303E",
    ),
    ("RASPBIAN_KEY", ""),
    (
        "RASPBIAN_FINGERPRINT",
        "A0DA38D0D76E8B5D638872819165938D90FDDD2E",
    ),
    ("IMAGE_MIRROR", ""),
    ("APT_PROXY", ""),
    ("APT_TIMEOUT", "30"),
    ("TEMP_REPO", ""),
    ("BOOTSTRAP", "mmdebstrap"),
    ("QEMU_CPU", ""),
    ("TARGET_HOSTNAME", "westwork"),
    ("FIRST_USER_NAME", "westwork"),
    ("FIRST_USER_PASS", ""),
    ("PUBKEY_SSH_FIRST_USER", ""),
    ("DISABLE_FIRST_BOOT_USER_RENAME", "0"),
    ("PASSWORDLESS_SUDO", "0"),
    ("ENABLE_SSH", "0"),
    ("PUBKEY_ONLY_SSH", "0"),
    ("ENABLE_CLOUD_INIT", "0"),
    ("LOCALE_DEFAULT", "en_GB.UTF-8"),
    ("KEYBOARD_KEYMAP", "gb"),
    ("KEYBOARD_LAYOUT", "English (UK)"),
    ("TIMEZONE_DEFAULT", "Europe/London"),
    ("WPA_COUNTRY", ""),
    ("WESTWORK_BIN", ""),
    ("STAGE_LIST", ""),
    ("BASE_DIR", ""),
    ("WORK_DIR", "work"),
    ("CACHE_DIR", ""),
    ("CACHE_FROM", ""),
    ("CACHE_TO", ""),
    ("MIN_FREE", "3G"),
    ("DEPLOY_DIR", "deploy"),
    ("EXPORT_CONFIG_DIR", "export-image"),
    ("DEPLOY_COMPRESSION", "zst"),
    ("DEPLOY_ZIP", ""),
    ("COMPRESSION_LEVEL", ""),
    ("DEPLOY_URL", ""),
    ("SIGN_WITH", ""),
    ("BOOT_SIZE", "512M"),
    ("ROOT_MARGIN", "64M"),
    ("PARTITION_TABLE", "mbr"),
    ("ROOT_FILESYSTEM", "ext4"),
    ("DATA_SIZE", ""),
    ("EXTRA_PARTITIONS", ""),
    ("CLEAN", "0"),
    ("CONTINUE", "0"),
];

/// Keys of pi-gen that change nothing here; scripts may read them.
pub(super) const PASSED_ON: &[&str] = &[
    "EXTRA_SUITES",
    "GIT_HASH",
    "PI_GEN",
    "PI_GEN_RELEASE",
    "PI_GEN_REPO",
    "PRESERVE_CONTAINER",
    "SETFCAP",
    "USE_QCOW2",
    "USE_QEMU",
];

/// Whether a value of `name` means something to this program or its stages.
pub(super) fn is_known(name: &str) -> bool {
    known_keys().any(|key| key == name) || PASSED_ON.contains(&name)
}

/// The names of all keys.
pub fn known_keys() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|(name, _)| *name)
}

/// The default of a key.
pub(super) fn default(name: &str) -> &'static str {
    KEYS.iter()
        .find(|(key, _)| *key == name)
        .map_or("", |(_, default)| default)
}

/// The known key that `name` was probably meant to be.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    nearest_of(name, known_keys().chain(PASSED_ON.iter().copied()))
}

/// The candidate nearest to `word`, if one is near enough to be a slip of the pen.
pub(super) fn nearest_of<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 2.max(candidate.len() / 4))
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        assert_eq!(nearest("DEPLOY_COMPRESION"), Some("DEPLOY_COMPRESSION"));
        assert_eq!(nearest("IMGNAME"), Some("IMG_NAME"));
        assert_eq!(nearest("MY_OWN_SETTING"), None);
    }

    #[test]
    fn the_example_shows_every_key_with_its_default() {
        let text = include_str!("../../config.example");
        let without = ["BASE_DIR", "DEPLOY_ZIP"];
        for (name, default) in KEYS.iter().filter(|(name, _)| !without.contains(name)) {
            let line = text.lines().find(|line| {
                line.trim_start_matches('#')
                    .starts_with(&format!("{name}="))
            });
            let line = line.unwrap_or_else(|| panic!("config.example does not show {name}"));
            if !default.is_empty() {
                let value = line.split_once('=').unwrap().1.trim_matches('\'');
                assert_eq!(value, *default, "config.example's {name}");
            }
        }
    }
}
