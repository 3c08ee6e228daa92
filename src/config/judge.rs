//! From raw settings to a [`Config`]: every fault is noted, and a default stands in for it.

use super::agreement;
use super::lists;
use super::nearest::nearest_of;
use super::pigen_past;
use super::reader::Reader;
use super::row::Scripts;
use super::setting::Raw;
use super::table;
use super::variables::{self, Variable};
use super::{Config, ConfigRequest, tree};
use crate::base::problem::Problem;
use std::collections::BTreeMap;

/// Judges all settings.
pub(super) fn typed(request: &ConfigRequest, raw: &Raw, problems: &mut Vec<Problem>) -> Config {
    let mut notes = Vec::new();
    // What is wrong with the list of stages is said when the table is read.
    let mut unsaid = Vec::new();
    let named = tree::named(Reader::new(request, raw, &mut unsaid, table::row).at("STAGE_LIST"));
    let mut variables = variables::of_stages(&named.stages, table::is_known, problems);
    let mut exports = exports(raw, &variables, problems, &mut notes);
    variables::judge(request, raw, &mut variables, &mut exports, problems);
    let mut reader = Reader::new(request, raw, problems, table::row);
    let mut config = table::read(&mut reader, raw.files.clone(), exports, notes);
    config.variables = variables;
    config.only_below = named.only_below;
    let names = lists::names(&reader);
    config
        .notes
        .extend(lists::unknown_words(names, &config.keyboard_layout));
    let country = config.wpa_country.as_deref();
    config
        .notes
        .extend(country.and_then(|country| lists::without_radio_rules(names, country)));
    agreement::contradictions(&mut reader, &config);
    config.notes.extend(agreement::notes(&config));
    config
}

/// Reports unknown names and collects what is passed on to scripts.
fn exports(
    raw: &Raw,
    variables: &[Variable],
    problems: &mut Vec<Problem>,
    notes: &mut Vec<String>,
) -> BTreeMap<String, String> {
    let mut exports = BTreeMap::new();
    let nearest = |name: &str| {
        let own = variables.iter().map(|variable| variable.name.as_str());
        table::nearest(name).or_else(|| nearest_of(name, own))
    };
    for (name, setting) in &raw.settings {
        if variables.iter().any(|variable| variable.name == *name) {
            continue;
        }
        if let Some(row) = table::row(name) {
            let alone = row.field.is_none() && row.facts.scripts != Scripts::No;
            if alone {
                exports.insert(name.clone(), setting.value.clone());
            }
            continue;
        }
        let helper = is_helper(name);
        if pigen_past::is_past_without_effect(name) {
            notes.push(format!(
                "{name}: no effect, for every step is a layer already"
            ));
            continue;
        }
        if let Some(remedy) = pigen_past::replacement(name) {
            let what = format!("{name} is a key of earlier versions of pi-gen");
            problems.push(setting.problem(what, remedy.to_owned()));
            continue;
        }
        match nearest(name) {
            Some(key) if setting.exported && !helper => {
                notes.push(format!(
                    "{name} is not {key}; it is handed on to scripts as it is"
                ));
                exports.insert(name.clone(), setting.value.clone());
            }
            Some(key) if !helper => problems.push(setting.problem(
                format!("unknown key {name}"),
                format!("did you mean {key}?"),
            )),
            _ if setting.exported => {
                exports.insert(name.clone(), setting.value.clone());
            }
            _ if helper => {}
            _ if raw.is_pigen => notes.push(format!(
                "{name} is no key, and neither the config nor build.sh exports it, so scripts do not see it, as with pi-gen"
            )),
            _ => problems.push(setting.problem(
                format!("unknown key {name}"),
                format!("remove it, or write `export {name}=…` to hand it to the stages' scripts"),
            )),
        }
    }
    exports
}

/// Whether a name is one that a config uses for itself.
fn is_helper(name: &str) -> bool {
    name.starts_with('_') || name.bytes().any(|byte| byte.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Arch, Compression, Loaded};
    use std::path::Path;

    fn load(set: &[&str]) -> Loaded {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("stages/stage0")).unwrap();
        std::fs::create_dir_all(dir.path().join("stages/stage1")).unwrap();
        Config::load(&ConfigRequest {
            cwd: dir.path().to_owned(),
            files: Vec::new(),
            set: set.iter().map(|text| (*text).to_owned()).collect(),
            env: BTreeMap::from([("HOME".to_owned(), "/home/x".to_owned())]),
        })
    }

    #[test]
    fn a_name_is_enough() {
        let loaded = load(&["IMG_NAME=Mine", "SOURCE_DATE_EPOCH=86400"]);
        assert_eq!(loaded.problems, []);
        let config = loaded.config.unwrap();
        assert_eq!(config.img_filename, "1970-01-02-Mine");
        assert_eq!(config.cache_dir, Path::new("/home/x/.cache/westwork-gen"));
        assert_eq!(config.stage_list.len(), 2);
        assert_eq!((config.arch, config.boot_size), (Arch::Arm64, 512 << 20));
    }

    #[test]
    fn every_bad_value_is_named_with_its_remedy() {
        for (set, remedy) in [
            ("DEPLOY_COMPRESSION=zstd", "zst"),
            ("DEPLOY_COMPRESSION=xz,zstd", "zst"),
            ("SIGN_WITH=mykey", "minisign:FILE"),
            ("DEPLOY_URL=ftp://x", "http://"),
            ("COMPRESSION_LEVEL=10", "0 to 9"),
            ("COMPRESSION_THREADS=0", "1 to 1024"),
            ("WPA_COUNTRY=UK", "GB"),
            ("ARCH=aarch64", "arm64"),
            ("ARCH=amd64", "arm64"),
            ("RELEASE=trixy", "trixie"),
            (
                "RELEASE=bullseye",
                "move the tree to one of bookworm, trixie",
            ),
            ("RELEASE=duke", "write one of bookworm, trixie"),
            ("DISTRO=raspian", "did you mean raspios?"),
            ("DISTRO=raspbian", "ARCH=armhf"),
            ("RASPBERRYPI_FINGERPRINT=7FA3303E", "40 hexadecimal"),
            ("RASPBIAN_KEY=nothing.gpg", "correct the path"),
            ("RASPBERRYPI_MIRROR=archive", "http://"),
            ("APT_TIMEOUT=0", "1 to 600"),
            ("BOOTSTRAP=debstrap", "debootstrap"),
            ("BOOT_SIZE=1M", "64M"),
            ("PARTITION_TABLE=GPT", "gpt"),
            ("ROOT_FILESYSTEM=squashf", "did you mean squashfs?"),
            ("ROOT_FILESYSTEM=btrfs", "write ext4, squashfs or erofs"),
            ("DATA_SIZE=1M", "16M"),
            ("DATA_SIZE=3000G", "PARTITION_TABLE=gpt"),
            ("EXTRA_PARTITIONS=a:16M:ext4:/etc", "/srv"),
            ("ENABLE_SSH=maybe", "0 or 1"),
            ("PUBKEY_ONLY_SSH=1", "PUBKEY_SSH_FIRST_USER"),
            ("DISABLE_FIRST_BOOT_USER_RENAME=1", "FIRST_USER_PASS"),
            ("STAGE_LIST=stages/stage9", "correct the path"),
            ("FISRT_USER_NAME=x", "FIRST_USER_NAME"),
            ("SOMETHING_ELSE=x", "export"),
            ("IMG_NAME=", "IMG_NAME='MyImage'"),
            ("IMG_NAME=a/b", "letters"),
        ] {
            let loaded = load(&["IMG_NAME=Mine", set]);
            assert_eq!(loaded.problems.len(), 1, "{set}: {:?}", loaded.problems);
            assert!(
                loaded.problems[0].remedy.contains(remedy),
                "{set}: {}",
                loaded.problems[0]
            );
            assert!(loaded.config.is_some(), "{set}");
        }
    }

    #[test]
    fn an_exported_name_is_handed_on_though_it_resembles_a_key() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("stage0")).unwrap();
        let text =
            "IMG_NAME=a\nexport ENABLE_SSL=1\nNO_PRERUN_QCOW2=1\nWPA_ESSID=home\nENABLE_SSI=1\n";
        std::fs::write(dir.path().join("config"), text).unwrap();
        let loaded = Config::load(&ConfigRequest {
            cwd: dir.path().to_owned(),
            ..ConfigRequest::default()
        });
        let config = loaded.config.unwrap();
        assert_eq!(config.exports["ENABLE_SSL"], "1");
        assert_eq!(config.notes.len(), 2, "{:?}", config.notes);
        assert!(config.notes[0].contains("ENABLE_SSL is not ENABLE_SSH"));
        let lines: Vec<_> = loaded.problems.iter().map(|one| one.line).collect();
        assert_eq!(lines, [Some(5), Some(4)], "{:?}", loaded.problems);
        assert!(loaded.problems[1].remedy.contains("flash"));
    }

    #[test]
    fn all_faults_are_found_at_once() {
        let loaded = load(&["ARCH=x86", "WPA_COUNTRY=UK", "DEPLOY_COMPRESION=xz"]);
        assert_eq!(loaded.problems.len(), 4, "{:?}", loaded.problems);
    }

    #[test]
    fn the_old_zip_switch_still_counts() {
        let formats = |set: &[&str]| load(set).config.unwrap().compression;
        use Compression::{None, Xz, Zip, Zst};
        assert_eq!(formats(&["IMG_NAME=a", "DEPLOY_ZIP=0"]), [None]);
        assert_eq!(formats(&["IMG_NAME=a", "DEPLOY_ZIP=1"]), [Zip]);
        let newer = [
            "IMG_NAME=a",
            "DEPLOY_ZIP=1",
            "DEPLOY_COMPRESSION=xz, zst xz",
        ];
        assert_eq!(formats(&newer), [Xz, Zst]);
    }
}
