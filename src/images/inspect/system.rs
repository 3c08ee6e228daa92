//! What the root file system says about the system, and what its first boot will do.

use crate::images::image::accounts::Passwords;
use crate::images::image::packages::{self, Package};
use crate::images::image::tree::Tree;
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Serialize)]
pub(crate) struct System {
    /// Number of its partition.
    pub(crate) partition: u32,
    /// The keys of os-release.
    pub(crate) os_release: BTreeMap<String, String>,
    /// dpkg's name, by the package dpkg itself.
    pub(crate) architecture: Option<String>,
    pub(crate) hostname: Option<String>,
    /// Kernel versions that have modules.
    pub(crate) kernels: Vec<String>,
    /// Units that are enabled in /etc.
    pub(crate) enabled_units: Vec<String>,
    pub(crate) packages: Option<Packages>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Packages {
    pub(crate) count: usize,
    /// Bytes, as the packages estimate it.
    pub(crate) installed_size: u64,
    /// With `--packages`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) list: Option<Vec<Package>>,
}

/// What is left for the first boot to do.
#[derive(Debug, Serialize)]
pub(crate) struct FirstBoot {
    /// `absent`, `empty`, `uninitialized` (all made at boot) or `set`.
    pub(crate) machine_id: &'static str,
    /// Host keys that every copy of the image would share.
    pub(crate) ssh_host_keys: Vec<String>,
    /// root, and the users from 1000 to 59999.
    pub(crate) users: Vec<User>,
    /// Whether the first boot asks for a user on the console.
    pub(crate) asks_for_user: bool,
    /// What will grow a file system: units, or an `init=` on the kernel's command line.
    pub(crate) growing: Vec<String>,
    /// Whether the image has the commands that Raspberry Pi Imager's `firstrun.sh` calls.
    pub(crate) imager_customisation: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    /// `locked` (none will do), `empty` (none is needed) or `set`.
    /// `set` (one is needed), `locked` (none will do) or `empty` (none is needed).
    pub(crate) password: &'static str,
    pub(crate) authorized_keys: bool,
}

/// Users that are listed.
const MOST_USERS: usize = 1000;

/// Facts of the system in partition `number`; `None` if it has no os-release.
pub(super) fn system(root: &Tree, number: u32, with_packages: bool) -> Result<Option<System>> {
    let Some(release) = root.text("/etc/os-release")? else {
        return Ok(None);
    };
    let packages = packages::read(root)?;
    let dpkg = packages
        .iter()
        .flatten()
        .find(|package| package.name == "dpkg");
    Ok(Some(System {
        partition: number,
        os_release: assignments(&release),
        architecture: dpkg.map(|dpkg| dpkg.architecture.clone()),
        hostname: root
            .text("/etc/hostname")?
            .map(|name| name.trim().to_owned()),
        kernels: root.names("/usr/lib/modules")?,
        enabled_units: wanted_units(root)?,
        packages: packages.map(|list| Packages {
            count: list.len(),
            installed_size: list
                .iter()
                .fold(0, |sum, package| sum.saturating_add(package.installed_size)),
            list: with_packages.then_some(list),
        }),
    }))
}

/// The state that the first boot finds. `cmdline` is the kernel's command line.
pub(super) fn first_boot(root: &Tree, cmdline: &str) -> Result<FirstBoot> {
    let machine_id = match root.text("/etc/machine-id")?.as_deref().map(str::trim) {
        None => "absent",
        Some("") => "empty",
        Some("uninitialized") => "uninitialized",
        Some(_) => "set",
    };
    let keys = root.names("/etc/ssh")?;
    let wanted = wanted_units(root)?;
    let grows = |name: &str| {
        ["grow", "resize", "repart"]
            .iter()
            .any(|word| name.contains(word))
    };
    let mut growing: Vec<String> = wanted.iter().filter(|unit| grows(unit)).cloned().collect();
    let init = cmdline.split_whitespace().find(|word| {
        word.starts_with("init=")
            && (grows(word) || word.ends_with("raspberrypi-sys-mods/firstboot"))
    });
    growing.extend(init.map(str::to_owned));
    let question = "/etc/systemd/system/getty@tty1.service.d/first-user.conf";
    let imager = root.lookup(crate::images::image::IMAGER_COMMANDS)?;
    Ok(FirstBoot {
        machine_id,
        ssh_host_keys: keys
            .into_iter()
            .filter(|name| name.starts_with("ssh_host_") && name.ends_with("_key"))
            .collect(),
        users: users(root)?,
        asks_for_user: root.lookup(question)?.is_some()
            || wanted.iter().any(|unit| unit == "userconfig.service"),
        growing,
        imager_customisation: imager.is_some(),
    })
}

fn users(root: &Tree) -> Result<Vec<User>> {
    let shadow = root.text("/etc/shadow")?.unwrap_or_default();
    let passwords = Passwords::of(&shadow);
    let mut users = Vec::new();
    for line in root.text("/etc/passwd")?.unwrap_or_default().lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let &[name, _, uid, _, _, home, ..] = fields.as_slice() else {
            continue;
        };
        let Ok(uid) = uid.parse::<u32>() else {
            continue;
        };
        let ordinary = uid == 0 || (1000..60_000).contains(&uid);
        if !ordinary || users.len() >= MOST_USERS {
            continue;
        }
        users.push(User {
            name: name.to_owned(),
            uid,
            password: passwords.get(name).name(),
            authorized_keys: root
                .lookup(&format!("{home}/.ssh/authorized_keys"))?
                .is_some(),
        });
    }
    Ok(users)
}

/// Names of the units that are enabled in /etc.
fn wanted_units(root: &Tree) -> Result<Vec<String>> {
    let base = "/etc/systemd/system";
    let mut units = Vec::new();
    for dir in root.names(base)? {
        if dir.ends_with(".wants") || dir.ends_with(".requires") {
            units.extend(root.names(&format!("{base}/{dir}"))?);
        }
    }
    units.sort();
    units.dedup();
    Ok(units)
}

/// `KEY=VALUE` lines, values perhaps in quotes: os-release(5).
fn assignments(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| {
            (
                key.to_owned(),
                value.trim().trim_matches(['"', '\'']).to_owned(),
            )
        })
        .collect()
}
