//! A tree in pi-gen's shape expects pi-gen's defaults, and is for the architecture and release
//! that its `build.sh` and its first stage say.

use super::setting::{Raw, Setting, assignment, outside};
use super::{pigen_build, tree};
use crate::base::command::Command;
use crate::base::tool::Tool;
use std::fs;
use std::path::Path;

/// Sets what `raw` leaves open as the tree at `base` has it, if that is in pi-gen's shape.
pub(super) fn fill(raw: &mut Raw, base: &Path) {
    if !tree::is_pigen(base) {
        return;
    }
    raw.is_pigen = true;
    let build = base.join("build.sh");
    let prerun = base.join("stage0/prerun.sh");
    for key in ["ARCH", "RELEASE"] {
        set(raw, key, said_by(&build, key));
    }
    let first = fs::read_to_string(&prerun).unwrap_or_default();
    set(raw, "RELEASE", bootstrapped(&first, &prerun));
    if first.contains("raspbian") {
        set(raw, "ARCH", Some(at("armhf", &prerun, None)));
        set(raw, "DISTRO", Some(at("raspios", &prerun, None)));
    }
    for (key, setting) in pigen_build::exports(&build, &raw.settings) {
        set(raw, &key, Some(setting));
    }
    hand_on(raw, &build);
    for (key, value) in [
        ("FIRST_USER_NAME", "pi"),
        ("TARGET_HOSTNAME", "raspberrypi"),
        ("ENABLE_CLOUD_INIT", "1"),
        ("PI_GEN", "pi-gen"),
        ("PI_GEN_REPO", "https://github.com/RPi-Distro/pi-gen"),
        ("PI_GEN_RELEASE", "Raspberry Pi reference"),
    ] {
        set(raw, key, Some(at(value, &build, None)));
    }
    let of = |raw: &Raw, key: &str, default: &str| {
        let set = raw.settings.get(key).map(|setting| setting.value.clone());
        set.filter(|value| !value.is_empty())
            .unwrap_or_else(|| default.to_owned())
    };
    let name = format!(
        "raspios-{}-{}",
        of(raw, "RELEASE", "trixie"),
        of(raw, "ARCH", "arm64")
    );
    set(raw, "IMG_NAME", Some(outside(&name)));
    let epoch = of(raw, "SOURCE_DATE_EPOCH", "").parse().unwrap_or(raw.now);
    let day = jiff::Timestamp::from_second(epoch).unwrap_or_default();
    let day = of(raw, "IMG_DATE", &day.strftime("%Y-%m-%d").to_string());
    let archive = format!("image_{day}-{}", of(raw, "IMG_NAME", &name));
    set(raw, "ARCHIVE_FILENAME", Some(outside(&archive)));
    if !raw.settings.contains_key("GIT_HASH") {
        let head = Command::new(Tool::Git)
            .args(["rev-parse", "HEAD"])
            .env([("PATH", crate::base::command::PATH)])
            .dir(base)
            .read();
        let head = head.ok().map(|text| outside(text.trim()));
        set(raw, "GIT_HASH", head);
    }
}

/// What `build` exports after it has read the config is exported with the config's own value.
fn hand_on(raw: &mut Raw, build: &Path) {
    let text = fs::read_to_string(build).unwrap_or_default();
    for name in pigen_build::named(&text) {
        if let Some(setting) = raw.settings.get_mut(name) {
            setting.exported = true;
        }
    }
}

/// Sets `key`, if it is not set yet.
fn set(raw: &mut Raw, key: &str, setting: Option<Setting>) {
    let is_set = raw
        .settings
        .get(key)
        .is_some_and(|setting| !setting.value.is_empty());
    if let Some(setting) = setting.filter(|_| !is_set) {
        raw.settings.insert(key.to_owned(), setting);
    }
}

fn at(value: &str, file: &Path, line: Option<usize>) -> Setting {
    Setting {
        file: Some(file.to_owned()),
        line,
        ..outside(value)
    }
}

/// `export KEY=value`, or `KEY=${KEY:-value}`, of a shell script.
fn said_by(file: &Path, key: &str) -> Option<Setting> {
    let text = fs::read_to_string(file).ok()?;
    let line = assignment(&text, key)?;
    let (_, value) = text.lines().nth(line - 1)?.split_once('=')?;
    let value = value.trim().trim_matches(['"', '\'']);
    let value = match value.strip_prefix("${") {
        Some(rest) => rest.split_once(":-")?.1.split('}').next()?,
        None => value,
    };
    word(value).map(|value| at(value, file, Some(line)))
}

/// The suite that `bootstrap` is called for by name.
fn bootstrapped(text: &str, file: &Path) -> Option<Setting> {
    let (index, rest) = text
        .lines()
        .enumerate()
        .find_map(|(index, line)| Some((index, line.trim().strip_prefix("bootstrap ")?)))?;
    let suite = rest
        .split_whitespace()
        .find(|word| !word.starts_with('-'))?;
    word(suite).map(|value| at(value, file, Some(index + 1)))
}

/// `text`, if it is a plain word.
fn word(text: &str) -> Option<&str> {
    let text = text.trim_matches(['"', '\'']);
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then_some(text)
}

#[cfg(test)]
mod tests {
    use crate::config::{Arch, Config, ConfigRequest, Distro};
    use std::fs;
    use tempfile::TempDir;

    fn tree(at: &str, build: &str, prerun: &str) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join(at);
        fs::create_dir_all(base.join("stage0")).unwrap();
        fs::create_dir_all(base.join("export-image")).unwrap();
        fs::write(base.join("build.sh"), build).unwrap();
        fs::write(base.join("stage0/prerun.sh"), prerun).unwrap();
        dir
    }

    fn load(dir: &TempDir) -> Config {
        let loaded = Config::load(&ConfigRequest {
            cwd: dir.path().to_owned(),
            ..ConfigRequest::default()
        });
        assert_eq!(loaded.problems, []);
        loaded.config.unwrap()
    }

    #[test]
    fn a_tree_of_pigen_has_pigens_defaults() {
        let build = "#!/bin/bash -e\nexport ARCH=arm64\nexport RELEASE=${RELEASE:-trixie} # x\n";
        let prerun = "bootstrap ${RELEASE} \"${ROOTFS_DIR}\" http://mirror.example/debian/\n";
        let dir = tree("", build, prerun);
        fs::write(dir.path().join("config"), "IMG_DATE=2026-01-02\n").unwrap();
        let config = load(&dir);
        assert_eq!(config.first_user_name, "pi");
        assert_eq!(config.target_hostname, "raspberrypi");
        assert!(config.enable_cloud_init);
        assert_eq!(config.img_name, "raspios-trixie-arm64");
        assert_eq!(
            config.archive_filename,
            "image_2026-01-02-raspios-trixie-arm64"
        );
        assert_eq!(config.distro, Distro::Debian);
        fs::write(
            dir.path().join("config"),
            "IMG_NAME=mine\nFIRST_USER_NAME=anna\nENABLE_CLOUD_INIT=0\nRELEASE=forky\n",
        )
        .unwrap();
        let config = load(&dir);
        assert_eq!(config.first_user_name, "anna");
        assert!(!config.enable_cloud_init);
        assert_eq!(config.release, "forky");
        assert!(config.archive_filename.ends_with("-mine"));
    }

    #[test]
    fn architecture_and_release_are_the_trees() {
        let prerun = "#!/bin/bash -e\nbootstrap trixie \"${ROOTFS_DIR}\" http://raspbian.raspberrypi.com/raspbian/\n";
        let dir = tree("", "export ARCH=armhf\n", prerun);
        let config = load(&dir);
        assert_eq!((config.arch, config.distro), (Arch::Armhf, Distro::Raspios));
        let dir = tree("", "export RELEASE=${RELEASE:-buster}\n", prerun);
        let loaded = Config::load(&ConfigRequest {
            cwd: dir.path().to_owned(),
            ..ConfigRequest::default()
        });
        let [problem] = &loaded.problems[..] else {
            panic!("{:?}", loaded.problems);
        };
        assert_eq!(problem.path, Some(dir.path().join("build.sh")));
        assert_eq!(problem.line, Some(1));
        assert!(problem.what.contains("buster"), "{problem}");
    }

    #[test]
    fn what_a_fork_sets_in_its_build_sh_counts() {
        let build = "#!/bin/bash -e\nBASE_DIR=/nowhere\nVERSION=\"1.$(echo 2)\"\n\
                     export TARGET_HOSTNAME=${TARGET_HOSTNAME:-box}\nexport NEW_VERSION=\"v${VERSION}-${BASE_DIR##*/}\"\n\
                     export FIRST_USER_NAME=${FIRST_USER_NAME:-sam}\nexport TEXT=\"two\nlines\"\n\
                     export LOG_FILE=/x\nexport APT_PROXY\n\texport APP_VERSION OTHER\nif true; then\n\texport INSIDE=1\nfi\n";
        let dir = tree("", build, "bootstrap trixie x\n");
        // A config's own value is exported as well; what build.sh does not export is seen by nobody.
        fs::write(
            dir.path().join("config"),
            "FIRST_USER_NAME=anna\nAPP_VERSION=0.5\nNEVER_SEEN=x\n",
        )
        .unwrap();
        let config = load(&dir);
        assert_eq!(config.exports["APP_VERSION"], "0.5");
        assert!(!config.exports.contains_key("NEVER_SEEN"));
        let told = |note: &String| note.contains("NEVER_SEEN is no key");
        assert!(config.notes.iter().any(told), "{:?}", config.notes);
        assert_eq!(config.target_hostname, "box");
        assert_eq!(config.first_user_name, "anna");
        let name = dir
            .path()
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        assert_eq!(config.exports["NEW_VERSION"], format!("v1.2-{name}"));
        assert_eq!(config.exports["PI_GEN_RELEASE"], "Raspberry Pi reference");
        for name in ["TEXT", "INSIDE", "LOG_FILE", "VERSION"] {
            assert!(!config.exports.contains_key(name), "{name}");
        }
    }

    #[test]
    fn pigen_may_be_in_a_folder_of_the_tree() {
        let dir = tree("pi-gen", "", "bootstrap trixie x\n");
        fs::create_dir(dir.path().join("mine")).unwrap();
        fs::write(
            dir.path().join("config"),
            "IMG_NAME=x\nSTAGE_LIST=\"pi-gen/stage[0-2]\n  mine\"\nWORK_DIR=\"${BASE_DIR}/work\"\n\
             [ \"$SCRIPT_DIR\" = \"$BASE_DIR/scripts\" ]\n",
        )
        .unwrap();
        let config = load(&dir);
        let base = dir.path().join("pi-gen");
        assert_eq!(config.base_dir, base);
        assert_eq!(config.work_dir, base.join("work"));
        assert_eq!(config.export_config_dir, base.join("export-image"));
        assert_eq!(
            config.stage_list,
            [base.join("stage0"), dir.path().join("mine")]
        );
        assert_eq!(config.first_user_name, "pi");
    }
}
