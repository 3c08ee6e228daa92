//! From raw settings to a [`Config`]: every fault is noted, and a default stands in for it.

use super::keys::{PASSED_ON, default, is_known, nearest};
use super::setting::Setting;
use super::source::Raw;
use super::values::{self, Fault};
use super::{Compression, Config, ConfigRequest, Disk, Distro, disk};
use crate::base::problem::Problem;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Judges all settings. `None` only when there is nothing a build could be called.
pub(super) fn judge(
    request: &ConfigRequest,
    raw: &Raw,
    problems: &mut Vec<Problem>,
) -> Option<Config> {
    let exports = exports(raw, problems);
    let mut judge = Judge { raw, problems };
    let base_dir = base_dir(request, raw, &judge);
    let img_name = judge.required_name();
    let epoch = judge.optional("SOURCE_DATE_EPOCH", |text| {
        text.parse::<i64>().map_err(|_| {
            (
                format!("{text} is not a number of seconds"),
                "write seconds since 1970, such as $(date +%s)".to_owned(),
            )
        })
    });
    let img_date = judge
        .text("IMG_DATE", values::date)
        .unwrap_or_else(|| day(epoch));
    let img_filename = judge
        .text("IMG_FILENAME", values::file_name)
        .unwrap_or_else(|| format!("{img_date}-{img_name}"));
    let config = Config {
        distro: judge.value("DISTRO", values::distro),
        arch: judge.value("ARCH", values::arch),
        release: judge.value("RELEASE", values::release),
        mirror: judge.text("MIRROR", values::url),
        image_mirror: judge.text("IMAGE_MIRROR", values::url),
        apt_proxy: judge.text("APT_PROXY", values::url),
        apt_timeout: judge.value("APT_TIMEOUT", values::timeout),
        raspberrypi_mirror: judge.checked("RASPBERRYPI_MIRROR", values::url),
        raspberrypi_key: judge.optional("RASPBERRYPI_KEY", |text| {
            values::readable(&request.cwd.join(text))
        }),
        raspberrypi_fingerprint: judge.value("RASPBERRYPI_FINGERPRINT", values::fingerprint),
        raspbian_key: judge.optional("RASPBIAN_KEY", |text| {
            values::readable(&request.cwd.join(text))
        }),
        raspbian_fingerprint: judge.value("RASPBIAN_FINGERPRINT", values::fingerprint),
        temp_repo: judge.text("TEMP_REPO", |_| Ok(())),
        bootstrap: judge.value("BOOTSTRAP", values::bootstrap),
        qemu_cpu: judge.text("QEMU_CPU", values::qemu_cpu),
        stage_list: judge.stages(&base_dir),
        westwork_bin: judge.optional("WESTWORK_BIN", |text| {
            values::program(&request.cwd.join(text))
        }),
        work_dir: request.cwd.join(judge.get("WORK_DIR")),
        deploy_dir: request.cwd.join(judge.get("DEPLOY_DIR")),
        cache_dir: cache_dir(request, &judge),
        cache_from: judge.optional("CACHE_FROM", |text| values::cache(text, &request.cwd)),
        cache_to: judge.optional("CACHE_TO", |text| values::cache(text, &request.cwd)),
        min_free: judge.value("MIN_FREE", values::size),
        export_config_dir: base_dir.join(judge.get("EXPORT_CONFIG_DIR")),
        base_dir,
        compression: judge.compression(),
        compression_level: judge.optional("COMPRESSION_LEVEL", values::level),
        deploy_url: judge.text("DEPLOY_URL", values::url),
        sign_with: judge.optional("SIGN_WITH", |text| values::signer(text, &request.cwd)),
        boot_size: judge.value("BOOT_SIZE", values::boot_size),
        root_margin: judge.value("ROOT_MARGIN", values::size),
        disk: Disk {
            table: judge.value("PARTITION_TABLE", disk::table),
            root: judge.value("ROOT_FILESYSTEM", disk::root),
            data_size: judge.optional("DATA_SIZE", disk::data_size),
            extra: judge.value("EXTRA_PARTITIONS", disk::extra),
        },
        target_hostname: judge.checked("TARGET_HOSTNAME", values::host_name),
        first_user_name: judge.checked("FIRST_USER_NAME", values::user_name),
        first_user_pass: judge.text("FIRST_USER_PASS", |_| Ok(())),
        disable_first_boot_user_rename: judge.value("DISABLE_FIRST_BOOT_USER_RENAME", values::flag),
        passwordless_sudo: judge.value("PASSWORDLESS_SUDO", values::flag),
        wpa_country: judge.text("WPA_COUNTRY", values::country),
        enable_ssh: judge.value("ENABLE_SSH", values::flag),
        pubkey_only_ssh: judge.value("PUBKEY_ONLY_SSH", values::flag),
        pubkey_ssh_first_user: judge.text("PUBKEY_SSH_FIRST_USER", values::public_key),
        locale_default: judge.checked("LOCALE_DEFAULT", values::locale),
        keyboard_keymap: judge.get("KEYBOARD_KEYMAP").to_owned(),
        keyboard_layout: judge.get("KEYBOARD_LAYOUT").to_owned(),
        timezone_default: judge.checked("TIMEZONE_DEFAULT", values::time_zone),
        enable_cloud_init: judge.value("ENABLE_CLOUD_INIT", values::flag),
        source_date_epoch: epoch,
        archive_filename: judge
            .text("ARCHIVE_FILENAME", values::file_name)
            .unwrap_or_else(|| img_filename.clone()),
        img_filename,
        img_date,
        img_name,
        clean: judge.value("CLEAN", values::flag),
        resume: judge.value("CONTINUE", values::flag),
        sources: raw.files.clone(),
        exports,
    };
    judge.agreement(&config);
    Some(config)
}

/// Reports unknown names and collects what is passed on to scripts.
fn exports(raw: &Raw, problems: &mut Vec<Problem>) -> BTreeMap<String, String> {
    let mut exports = BTreeMap::new();
    for (name, setting) in &raw.settings {
        if PASSED_ON.contains(&name.as_str()) {
            exports.insert(name.clone(), setting.value.clone());
        }
        if is_known(name) {
            continue;
        }
        let helper = name.starts_with('_') || name.bytes().any(|byte| byte.is_ascii_lowercase());
        match nearest(name) {
            Some(key) if !helper => problems.push(setting.problem(
                format!("unknown key {name}"),
                format!("did you mean {key}?"),
            )),
            _ if setting.exported => {
                exports.insert(name.clone(), setting.value.clone());
            }
            _ if helper => {}
            _ => problems.push(setting.problem(
                format!("unknown key {name}"),
                format!("remove it, or write `export {name}=…` to hand it to the stages' scripts"),
            )),
        }
    }
    exports
}

impl Setting {
    fn problem(&self, what: String, remedy: String) -> Problem {
        let problem = Problem::new(what, remedy);
        match (&self.file, self.line) {
            (Some(file), Some(line)) => problem.at(file).line(line),
            (Some(file), None) => problem.at(file),
            _ => problem,
        }
    }
}

struct Judge<'a> {
    raw: &'a Raw,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Judge<'a> {
    /// The text set for a key, or its default.
    fn get(&self, name: &str) -> &'a str {
        match self.raw.settings.get(name) {
            Some(setting) if !setting.value.is_empty() => &setting.value,
            _ => default(name),
        }
    }

    fn blame(&mut self, name: &str, (what, remedy): Fault) {
        let what = format!("{name}: {what}");
        self.problems.push(match self.raw.settings.get(name) {
            Some(setting) => setting.problem(what, remedy),
            None => Problem::new(what, remedy),
        });
    }

    /// A key that always has a value; its default stands in for a bad one.
    fn value<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, Fault>) -> T {
        match parse(self.get(name)) {
            Ok(value) => value,
            Err(fault) => {
                self.blame(name, fault);
                parse(default(name))
                    .unwrap_or_else(|(what, _)| unreachable!("the default of {name}: {what}"))
            }
        }
    }

    fn checked(&mut self, name: &str, check: impl Fn(&str) -> Result<(), Fault>) -> String {
        self.value(name, |text| check(text).map(|()| text.to_owned()))
    }

    /// A key that may be unset.
    fn optional<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, Fault>) -> Option<T> {
        let text = self.get(name);
        if text.is_empty() {
            return None;
        }
        parse(text).map_err(|fault| self.blame(name, fault)).ok()
    }

    fn text(&mut self, name: &str, check: impl Fn(&str) -> Result<(), Fault>) -> Option<String> {
        self.optional(name, |text| check(text).map(|()| text.to_owned()))
    }

    fn required_name(&mut self) -> String {
        let given = self.raw.settings.get("IMG_NAME");
        if given.is_none_or(|setting| setting.value.is_empty()) {
            let what = if given.is_some() {
                "has no value"
            } else {
                "is not set"
            };
            self.blame(
                "IMG_NAME",
                (
                    what.to_owned(),
                    "write IMG_NAME='MyImage' in the config".to_owned(),
                ),
            );
            return "unnamed".to_owned();
        }
        self.text("IMG_NAME", values::file_name)
            .unwrap_or_else(|| "unnamed".to_owned())
    }

    fn compression(&mut self) -> Vec<Compression> {
        let newer = self.raw.settings.contains_key("DEPLOY_COMPRESSION");
        match self.get("DEPLOY_ZIP") {
            "0" if !newer => return vec![Compression::None],
            "1" if !newer => return vec![Compression::Zip],
            _ => {}
        }
        self.value("DEPLOY_COMPRESSION", values::compression)
    }

    /// The stages: as listed, or all of the tree.
    fn stages(&mut self, base: &Path) -> Vec<PathBuf> {
        let text = self.get("STAGE_LIST");
        if text.is_empty() {
            let own = stages_of(base);
            return match installed_dir() {
                Some(dir) if own.is_empty() => stages_of(&dir),
                _ => own,
            };
        }
        // A path with spaces can be listed in an array, or when it is the only one.
        let whole = base.join(text);
        let words: Vec<&str> = if text.contains('\n') {
            text.lines().filter(|line| !line.is_empty()).collect()
        } else {
            text.split_whitespace().collect()
        };
        let paths = if whole.is_dir() {
            vec![whole]
        } else {
            words
                .into_iter()
                .map(|word| match base.join(word) {
                    path if path.is_dir() => path,
                    path => installed_dir()
                        .map(|dir| dir.join(word))
                        .filter(|installed| installed.is_dir())
                        .unwrap_or(path),
                })
                .collect()
        };
        for path in &paths {
            if !path.is_dir() {
                let what = format!("there is no stage directory {}", path.display());
                self.blame(
                    "STAGE_LIST",
                    (
                        what,
                        "correct the path; it is relative to the tree".to_owned(),
                    ),
                );
            }
        }
        paths.into_iter().filter(|path| path.is_dir()).collect()
    }

    /// Settings that contradict each other.
    fn agreement(&mut self, config: &Config) {
        if let Some(fault) = config.disk.judge(config.boot_size) {
            self.blame("PARTITION_TABLE", fault);
        }
        if config.distro == Distro::Raspios && config.release == "sid" {
            self.blame(
                "RELEASE",
                (
                    "Raspberry Pi OS has no sid".to_owned(),
                    "write RELEASE=trixie, or DISTRO=debian".to_owned(),
                ),
            );
        }
        let has_key = config.pubkey_ssh_first_user.is_some();
        if config.pubkey_only_ssh && !has_key {
            self.blame(
                "PUBKEY_ONLY_SSH",
                (
                    "nobody could log in: there is no key".to_owned(),
                    "set PUBKEY_SSH_FIRST_USER".to_owned(),
                ),
            );
        }
        if config.disable_first_boot_user_rename && config.first_user_pass.is_none() && !has_key {
            let what =
                "nobody could log in: the first user has neither password nor key".to_owned();
            self.blame(
                "DISABLE_FIRST_BOOT_USER_RENAME",
                (
                    what,
                    "set FIRST_USER_PASS or PUBKEY_SSH_FIRST_USER".to_owned(),
                ),
            );
        }
        if config.stage_list.is_empty() && self.get("STAGE_LIST").is_empty() {
            let what = format!("there are no stages in {}", config.base_dir.display());
            let remedy = "start westwork-gen in the directory that has stages/, or set STAGE_LIST"
                .to_owned();
            self.blame("STAGE_LIST", (what, remedy));
        }
        let export = &config.export_config_dir;
        if self.raw.settings.contains_key("EXPORT_CONFIG_DIR") && !export.is_dir() {
            let what = format!("there is no directory {}", export.display());
            let remedy = "correct the path; one that is relative starts where the stages are";
            self.blame("EXPORT_CONFIG_DIR", (what, remedy.to_owned()));
        }
        let paths = [
            &config.work_dir,
            &config.deploy_dir,
            &config.cache_dir,
            &config.base_dir,
        ];
        if let Some(path) = paths.iter().find(|path| path.to_str().is_none()) {
            let what = format!("{} is not UTF-8", path.display());
            self.problems.push(Problem::new(
                what,
                "use another directory; scripts could not name this one",
            ));
        }
    }
}

/// The day of `epoch`, or today, in UTC.
fn day(epoch: Option<i64>) -> String {
    let time = epoch
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .unwrap_or_else(jiff::Timestamp::now);
    time.strftime("%Y-%m-%d").to_string()
}

fn stages_of(base: &Path) -> Vec<PathBuf> {
    let dir = if base.join("stages").is_dir() {
        base.join("stages")
    } else {
        base.to_owned()
    };
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut stages: Vec<PathBuf> = entries
        .filter(|entry| {
            entry.file_name().to_string_lossy().starts_with("stage") && entry.path().is_dir()
        })
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name != "stages"))
        .collect();
    stages.sort();
    stages
}

/// Where a package puts the stages: `share/westwork-gen` beside the `bin` of this program.
fn installed_dir() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let dir = program.parent()?.parent()?.join("share/westwork-gen");
    dir.join("stages").is_dir().then_some(dir)
}

/// The tree: as set, else where the program was started, else where the config file is.
fn base_dir(request: &ConfigRequest, raw: &Raw, judge: &Judge) -> PathBuf {
    let set = judge.get("BASE_DIR");
    if !set.is_empty() {
        return request.cwd.join(set);
    }
    let is_tree = |dir: &Path| dir.join("stages").is_dir() || dir.join("stage0").is_dir();
    let beside = raw
        .files
        .iter()
        .rev()
        .filter_map(|file| file.parent())
        .find(|dir| is_tree(dir));
    match beside {
        Some(dir) if !is_tree(&request.cwd) => dir.to_owned(),
        _ => request.cwd.clone(),
    }
}

fn cache_dir(request: &ConfigRequest, judge: &Judge) -> PathBuf {
    let set = judge.get("CACHE_DIR");
    if !set.is_empty() {
        return request.cwd.join(set);
    }
    let variable = |name: &str| {
        request
            .env
            .get(name)
            .filter(|value| value.starts_with('/'))
            .map(PathBuf::from)
    };
    let base =
        variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    base.unwrap_or_else(|| request.cwd.clone())
        .join("westwork-gen")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Arch, Loaded};

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
            ("WPA_COUNTRY=UK", "GB"),
            ("ARCH=aarch64", "arm64"),
            ("ARCH=amd64", "arm64"),
            ("RELEASE=trixy", "trixie"),
            ("DISTRO=raspian", "did you mean raspios?"),
            ("DISTRO=raspbian", "ARCH=armhf"),
            ("RASPBERRYPI_FINGERPRINT=7FA3303E", "40 hexadecimal"),
            ("RASPBIAN_KEY=nothing.gpg", "correct the path"),
            ("RASPBERRYPI_MIRROR=archive", "http://"),
            ("APT_TIMEOUT=0", "30"),
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
