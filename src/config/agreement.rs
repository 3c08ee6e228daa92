//! Settings that contradict each other.

use super::reader::Reader;
use super::{Config, Distro};
use crate::base::problem::Problem;
use std::path::{Path, PathBuf};

/// What a user should know of settings that go together.
pub(super) fn notes(config: &Config) -> Option<String> {
    let no_sudo = config.pubkey_ssh_first_user.is_some()
        && config.first_user_pass.is_none()
        && !config.passwordless_sudo;
    no_sudo.then(|| {
        format!(
            "FIRST_USER_NAME: {} can log in with a key, but has no password for sudo; set FIRST_USER_PASS or \
             PASSWORDLESS_SUDO=1 if that is needed",
            config.first_user_name
        )
    })
}

/// Settings that contradict each other.
pub(super) fn contradictions(reader: &mut Reader<'_>, config: &Config) {
    reader.problems.extend(clock(reader.raw.now));
    if let Some(fault) = config.disk.contradiction(config.boot_size) {
        reader.blame_on("PARTITION_TABLE", fault);
    }
    if config.distro == Distro::Raspios && config.release == "sid" {
        reader.blame_on(
            "RELEASE",
            (
                "Raspberry Pi OS has no sid".to_owned(),
                "write RELEASE=trixie, or DISTRO=debian".to_owned(),
            ),
        );
    }
    log_in(reader, config);
    if config.stage_list.is_empty() && reader.get_of("STAGE_LIST").is_empty() {
        let what = format!("there are no stages in {}", config.base_dir.display());
        let remedy =
            "start westwork-gen in the directory that has stages/, or set STAGE_LIST".to_owned();
        reader.blame_on("STAGE_LIST", (what, remedy));
    }
    let export = &config.export_config_dir;
    if reader.raw.settings.contains_key("EXPORT_CONFIG_DIR") && !export.is_dir() {
        let what = format!("there is no directory {}", export.display());
        let remedy = "correct the path; one that is relative starts where the stages are";
        reader.blame_on("EXPORT_CONFIG_DIR", (what, remedy.to_owned()));
    }
    host_paths(reader, config);
    let paths = [
        &config.work_dir,
        &config.deploy_dir,
        &config.cache_dir,
        &config.base_dir,
    ];
    if let Some(path) = paths.iter().find(|path| path.to_str().is_none()) {
        let what = format!("{} is not UTF-8", path.display());
        reader.problems.push(Problem::new(
            what,
            "use another directory; scripts could not name this one",
        ));
    }
}

/// Somebody must be able to log in.
fn log_in(reader: &mut Reader<'_>, config: &Config) {
    let has_key = config.pubkey_ssh_first_user.is_some();
    if config.pubkey_only_ssh && !has_key {
        reader.blame_on(
            "PUBKEY_ONLY_SSH",
            (
                "nobody could log in: there is no key".to_owned(),
                "set PUBKEY_SSH_FIRST_USER".to_owned(),
            ),
        );
    }
    if config.disable_first_boot_user_rename && config.first_user_pass.is_none() && !has_key {
        let what = "nobody could log in: the first user has neither password nor key".to_owned();
        reader.blame_on(
            "DISABLE_FIRST_BOOT_USER_RENAME",
            (
                what,
                "set FIRST_USER_PASS or PUBKEY_SSH_FIRST_USER".to_owned(),
            ),
        );
    }
}

/// What is opened for host scripts may not be where the program keeps its own files.
fn host_paths(reader: &mut Reader<'_>, config: &Config) {
    for host in &config.host_paths {
        for (name, dir) in [
            ("WORK_DIR", &config.work_dir),
            ("CACHE_DIR", &config.cache_dir),
        ] {
            if real(&host.path).starts_with(real(dir)) {
                let what = format!(
                    "{} lies in {name}, whose files are the program's own",
                    host.path.display()
                );
                let remedy = "name a folder elsewhere; scripts may keep files in DEPLOY_DIR";
                reader.blame_on("HOST_PATHS", (what, remedy.to_owned()));
            }
        }
    }
}

/// A path without links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// When this program was written, seconds since 1970: no clock that is right is before it.
const WRITTEN: i64 = 1_767_225_600;

/// Longer than any release is supported, so that no archive of its would still be signed: 15 years.
const LONG: i64 = 15 * 365 * 86400;

/// A clock that cannot be right: archives and their certificates would look expired or unborn, and
/// the image would have the wrong date.
fn clock(now: i64) -> Option<Problem> {
    if (WRITTEN..WRITTEN + LONG).contains(&now) {
        return None;
    }
    let time = jiff::Timestamp::from_second(now).unwrap_or_default();
    Some(Problem::new(
        format!("this machine's clock says {}", time.strftime("%Y-%m-%d")),
        "set it, such as with: sudo timedatectl set-ntp true",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigRequest;

    #[test]
    fn a_user_without_a_way_to_sudo_is_remarked() {
        let key = "PUBKEY_SSH_FIRST_USER=ssh-ed25519 \
                   AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        for (more, remarked) in [
            ("ENABLE_SSH=1", true),
            ("PASSWORDLESS_SUDO=1", false),
            ("FIRST_USER_PASS=secret", false),
        ] {
            let loaded = Config::load(&ConfigRequest {
                set: ["IMG_NAME=a", key, more].map(str::to_owned).into(),
                ..ConfigRequest::default()
            });
            let notes = loaded.config.unwrap().notes.join("\n");
            assert_eq!(
                notes.contains("no password for sudo"),
                remarked,
                "{more}: {notes}"
            );
        }
    }

    #[test]
    fn a_clock_of_another_decade_is_named() {
        assert_eq!(clock(WRITTEN), None);
        let problem = clock(86400).unwrap();
        assert!(problem.what.contains("1970-01-02"), "{problem}");
        assert!(clock(WRITTEN + 2 * LONG).is_some());
    }
}
