//! The variables of the stage contract: the one place where a script's environment is made.

use crate::archives::keyring::Signed;
use crate::archives::mirror::Mirrors;
use crate::base::command::{Env, PATH};
use crate::base::digest;
use crate::config::row::Bearing;
use crate::config::{Arch, Config};
use crate::layers::own_variables::{bearing, is_plumbing};
use crate::plan::Stage;
use std::path::{Path, PathBuf};

/// Where a script is in the build.
pub struct Place<'a> {
    /// The stage that the step is in.
    pub stage: &'a Stage,
    /// The stage before it.
    pub previous: Option<&'a Stage>,
    /// The directory of the sub-stage; none for `prerun.sh`.
    pub sub_stage: Option<&'a Path>,
    /// The stage whose image an export step is for.
    pub exported: Option<&'a Stage>,
    /// Directory of this image's build, with the log.
    pub work: &'a Path,
    /// `IMG_SUFFIX` of the exported stage.
    pub img_suffix: &'a str,
}

impl Place<'_> {
    /// Where the stage's root file system is mounted.
    pub fn rootfs(&self) -> PathBuf {
        stage_work_dir(self.work, self.stage).join("rootfs")
    }
}

/// Mount point of a stage: its layers are seen there while a step runs.
pub fn stage_work_dir(work: &Path, stage: &Stage) -> PathBuf {
    work.join(&stage.name)
}

/// `DEPLOY_DIR` of export steps, in the stage's work directory: what they leave there is published
/// with the image.
pub const EXPORT_DEPLOY: &str = "export-deploy";

/// The environment of programs that are not scripts of the tree: so that a variable cannot
/// change what they do without being in their layer's key.
pub fn without_settings(env: &Env) -> Env {
    env.iter()
        .filter(|(name, _)| bearing(name) == Bearing::Core || is_plumbing(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Everything exported to a script at `place`.
pub fn of(config: &Config, mirrors: &Mirrors, place: &Place) -> Env {
    let mut env = Env::new();
    let mut set = |name: &str, value: &str| {
        env.insert(name.to_owned(), value.to_owned());
    };
    settings(config, mirrors, &mut set);
    places(config, place, &mut set);
    // Not as exported: Raspbian has none of Debian's.
    set("EXTRA_SUITES", &config.extra_suites().join(" "));
    set("PATH", PATH);
    set("HOME", "/root");
    set("LC_ALL", "C.UTF-8");
    set("TERM", "dumb");
    set("DEBIAN_FRONTEND", "noninteractive");
    set("DEBCONF_NONINTERACTIVE_SEEN", "true");
    set(crate::sandbox::rootfs::QEMU_CPU_VAR, config.qemu_cpu());
    env
}

/// What the table says scripts find, and what of it depends on the archive.
fn settings(config: &Config, mirrors: &Mirrors, set: &mut dyn FnMut(&str, &str)) {
    for (name, value) in config.for_scripts() {
        set(&name, &value);
    }
    if config.is_pigen() {
        set("BOOTSTRAP_OPTIONS", &bootstrap_options(config.arch));
    }
    set("MIRROR", &mirrors.build);
    set("SECURITY_MIRROR", &mirrors.security);
    set("COMPONENTS", config.components());
    set("RASPBERRYPI_MIRROR", &mirrors.raspberrypi);
    let debian = mirrors.debian();
    set("DEBIAN_MIRROR", &debian.build);
    set("DEBIAN_SECURITY_MIRROR", &debian.security);
    set("DEBIAN_SUITES", &config.debian_suites().join(" "));
    keyrings(config, set);
}

/// What pi-gen's `bootstrap` says to debootstrap on its own, for `arch`: the one suite alone, no
/// second network manager, and what fetching from other archives needs.
fn bootstrap_options(arch: Arch) -> String {
    let include = match arch {
        Arch::Arm64 => "ca-certificates,gnupg",
        Arch::Armhf => "ca-certificates",
    };
    format!(
        "--components=main,contrib,non-free --extra-suites= --exclude=info,ifupdown --include={include}"
    )
}

/// Files with the keys of archives other than Debian's. What is in them counts in a layer's key,
/// not where they lie.
fn keyrings(config: &Config, set: &mut dyn FnMut(&str, &str)) {
    let mut sums = Vec::new();
    for signed in Signed::of(config) {
        let Some(path) = signed.known(config) else {
            continue;
        };
        sums.push(digest::of_file(&path).unwrap_or_default());
        let name = match signed {
            Signed::RaspberryPi => "RASPBERRYPI_KEYRING",
            Signed::Raspbian => "RASPBIAN_KEYRING",
        };
        set(name, &path.to_string_lossy());
    }
    set("ARCHIVE_KEYS", &sums.join(" "));
}

fn places(config: &Config, place: &Place, set: &mut dyn FnMut(&str, &str)) {
    let mut path = |name: &str, path: &Path| set(name, &path.to_string_lossy());
    let stage_work = stage_work_dir(place.work, place.stage);
    path("BASE_DIR", &config.base_dir);
    path("CACHE_DIR", &config.cache_dir);
    if let Some(program) = &config.westwork_bin {
        path("WESTWORK_BIN", program);
    }
    path("SCRIPT_DIR", &config.base_dir.join("scripts"));
    path("WORK_DIR", place.work);
    path("LOG_FILE", &place.work.join("build.log"));
    path("EXPORT_CONFIG_DIR", &config.export_config_dir);
    path("STAGE_DIR", &place.stage.dir);
    path("STAGE_WORK_DIR", &stage_work);
    path("ROOTFS_DIR", &stage_work.join("rootfs"));
    match place.exported {
        Some(exported) => {
            path("EXPORT_DIR", &exported.dir);
            let work = stage_work_dir(place.work, exported);
            path("EXPORT_ROOTFS_DIR", &work.join("rootfs"));
            path("DEPLOY_DIR", &stage_work.join(EXPORT_DEPLOY));
        }
        None => path("DEPLOY_DIR", &config.deploy_dir),
    }
    if let Some(dir) = place.sub_stage {
        path("SUB_STAGE_DIR", dir);
    }
    if let Some(previous) = place.previous {
        path("PREV_STAGE_DIR", &previous.dir);
        let work = stage_work_dir(place.work, previous);
        path("PREV_ROOTFS_DIR", &work.join("rootfs"));
    }
    if let Ok(own) = crate::base::command::own_program() {
        path("WESTWORK_GEN", &own);
    }
    // What the program is counts in a layer's key, not where it lies.
    let sum = config.westwork_bin.as_ref();
    let sum = sum.and_then(|path| digest::of_file(path).ok());
    if let Some(sum) = sum {
        set("WESTWORK_BIN_SUM", &sum);
    }
    set("STAGE", &place.stage.name);
    if let Some(previous) = place.previous {
        set("PREV_STAGE", &previous.name);
    }
    if !place.img_suffix.is_empty() {
        set("IMG_SUFFIX", place.img_suffix);
    }
    let list: Vec<_> = config
        .stage_list
        .iter()
        .map(|dir| dir.to_string_lossy())
        .collect();
    set("STAGE_LIST", &list.join(" "));
    set("QUILT_PATCHES", "");
    set("QUILT_NO_DIFF_INDEX", "1");
    set("QUILT_NO_DIFF_TIMESTAMPS", "1");
    set("QUILT_REFRESH_ARGS", "-p ab");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::own_variables::is_known;
    use crate::plan::Plan;
    use crate::plan::fixture;

    /// A variable without a row would count by accident, or not at all.
    #[test]
    fn every_variable_has_a_row_that_says_how_it_bears_on_layers() {
        let dir = fixture::tree(&[("stage0/EXPORT_IMAGE", ""), ("stage1/EXPORT_IMAGE", "")]);
        let config = fixture::config(dir.path(), &["stage0", "stage1"]);
        let (plan, _) = Plan::discover(&config);
        let work = config.work();
        let place = Place {
            stage: &plan.stages[1],
            previous: Some(&plan.stages[0]),
            sub_stage: Some(dir.path()),
            exported: Some(&plan.stages[0]),
            work: &work,
            img_suffix: "-x",
        };
        let env = of(&config, &Mirrors::resolve(&config), &place);
        assert!(env.len() > 55, "{env:?}");
        let own: Vec<_> = env.keys().filter(|name| !is_known(name)).collect();
        assert_eq!(own, ["FLAVOUR"]);
        assert_eq!(bearing("FLAVOUR"), Bearing::Visible);
    }

    #[test]
    fn what_the_table_promises_scripts_is_in_their_environment() {
        let dir = fixture::tree(&[("stage0/EXPORT_IMAGE", "")]);
        let config = fixture::config(dir.path(), &["stage0"]);
        let (plan, _) = Plan::discover(&config);
        let place = Place {
            stage: &plan.stages[0],
            previous: None,
            sub_stage: None,
            exported: None,
            work: &config.work(),
            img_suffix: "",
        };
        let env = of(&config, &Mirrors::resolve(&config), &place);
        // The epoch is the job's, and no program was named.
        let placed = crate::config::rows()
            .filter(|row| row.facts.scripts == crate::config::row::Scripts::Placed)
            .map(|row| row.name)
            .filter(|name| *name != "SOURCE_DATE_EPOCH" && *name != "WESTWORK_BIN");
        let missing: Vec<_> = placed.filter(|name| !env.contains_key(*name)).collect();
        assert_eq!(missing, [""; 0]);
    }
    #[test]
    fn what_is_not_set_is_not_there() {
        let dir = fixture::tree(&[("stage0/EXPORT_IMAGE", "")]);
        let config = fixture::config(dir.path(), &["stage0"]);
        let (plan, _) = Plan::discover(&config);
        let place = Place {
            stage: &plan.stages[0],
            previous: None,
            sub_stage: None,
            exported: None,
            work: &config.work(),
            img_suffix: "",
        };
        let env = of(&config, &Mirrors::resolve(&config), &place);
        for name in [
            "WPA_COUNTRY",
            "FIRST_USER_PASS",
            "PUBKEY_SSH_FIRST_USER",
            "APT_PROXY",
            "TEMP_REPO",
            "IMG_SUFFIX",
            "EXPORT_DIR",
            "EXPORT_ROOTFS_DIR",
            "PREV_STAGE",
            "PREV_STAGE_DIR",
            "PREV_ROOTFS_DIR",
            "COMPRESSION_LEVEL",
            "WESTWORK_BIN",
            "GIT_HASH",
        ] {
            assert!(!env.contains_key(name), "{name} is {:?}", env[name]);
        }
        assert_eq!(env["ENABLE_SSH"], "0");
    }
}
