//! What happens after the owner has said yes: steps in a fixed order, each of which can be done
//! again, so that a box whose power was cut goes on, or can be set up again.
//!
//! `state.toml` says how far it is. The very last thing is the file `configured`: without it
//! the box is in set-up mode, whatever else there is.

use crate::announce;
use crate::certificate;
use crate::directory;
use crate::render::render_locked;
use crate::root::{Root, make_directory, write_file};
use crate::secrets::{Secret, Secrets, password_hash};
use crate::settings::Settings;
use anyhow::{Context, Result};
use rustix::fs::syncfs;
use serde::{Deserialize, Serialize};
use std::fs::File;

/// How far the set-up is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum State {
    /// Nobody has said yes.
    #[default]
    Fresh,
    /// Steps are being done, or will be after the next start.
    Running {
        /// So many of [`Step::ALL`] are over.
        done: usize,
    },
    /// A step has failed; the owner decides what next.
    Failed {
        /// So many of [`Step::ALL`] are over.
        done: usize,
        /// Why, for the owner.
        message: String,
    },
    /// In normal use.
    Configured,
}

impl State {
    /// A state that cannot be read is none: the owner begins again.
    pub fn load(root: &Root) -> Self {
        if root.is_configured() {
            return Self::Configured;
        }
        let text = std::fs::read_to_string(root.own().join("state.toml")).unwrap_or_default();
        match toml::from_str(&text) {
            Ok(Self::Configured) | Err(_) => Self::Fresh,
            Ok(state) => state,
        }
    }

    /// Writes `state.toml`, whole or not at all.
    pub fn save(&self, root: &Root) -> Result<()> {
        let text = toml::to_string(self).context("writing the state as TOML")?;
        write_file(&root.own().join("state.toml"), 0o644, text.as_bytes())
    }
}

/// A home network to join.
#[derive(Debug, Clone)]
pub struct HomeWifi {
    /// The network's name.
    pub ssid: String,
    /// Empty for an open network.
    pub passphrase: Secret,
}

/// Everything the owner has decided, the password already hashed.
#[derive(Debug, Clone)]
pub struct Choices {
    /// What goes to `settings.toml`.
    pub settings: Settings,
    /// Of the owner's password.
    pub password_hash: Secret,
    /// None if the box stays on its cable.
    pub home_wifi: Option<HomeWifi>,
}

impl Choices {
    /// Hashes the password, which takes a moment.
    pub fn new(settings: Settings, password: &Secret, home_wifi: Option<HomeWifi>) -> Result<Self> {
        Ok(Self {
            settings,
            password_hash: password_hash(password.reveal())?,
            home_wifi,
        })
    }
}

/// The steps, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Passwords among the services.
    Secrets,
    /// A self-signed one, to begin with.
    Certificate,
    /// All templates, judged by the services.
    Configuration,
    /// The directory with the owner in it.
    Directory,
    /// The radio's country and the home's network.
    Network,
    /// The code goes; the box is configured.
    Finish,
}

impl Step {
    /// In the order in which they are done.
    pub const ALL: [Step; 6] = [
        Step::Secrets,
        Step::Certificate,
        Step::Configuration,
        Step::Directory,
        Step::Network,
        Step::Finish,
    ];

    /// What the owner reads.
    pub fn title(self) -> &'static str {
        match self {
            Step::Secrets => "Make this box’s own keys",
            Step::Certificate => "Make a first certificate",
            Step::Configuration => "Write and check the configuration of all services",
            Step::Directory => "Create the directory and your account",
            Step::Network => "Set up the network",
            Step::Finish => "Switch from set-up to normal use",
        }
    }

    fn carry_out(self, root: &Root) -> Result<()> {
        let _lock = root.lock()?;
        match self {
            Step::Secrets => Secrets::ensure(root).map(drop),
            Step::Certificate => certificate::self_signed(root, &Settings::load(root)?),
            Step::Configuration => render_locked(root, false).map(drop),
            Step::Directory => {
                directory::create(root, &Settings::load(root)?, &Secrets::load(root)?)
            }
            Step::Network => network(root, &Settings::load(root)?, &Secrets::load(root)?),
            Step::Finish => finish(root),
        }
    }
}

/// Writes down what has been decided. After this, [`run`] needs nobody.
pub fn begin(root: &Root, choices: &Choices) -> Result<()> {
    let secrets = root.own().join("secrets");
    make_directory(&secrets, 0o700)?;
    choices.settings.save(root)?;
    write_file(
        &secrets.join("owner_password"),
        0o600,
        choices.password_hash.reveal().as_bytes(),
    )?;
    let home = secrets.join("home_wifi");
    match &choices.home_wifi {
        Some(wifi) => write_file(&home, 0o600, keyfile(wifi).as_bytes())?,
        None => remove_file(&home)?,
    }
    State::Running { done: 0 }.save(root)
}

/// Lets [`run`] begin again where it failed.
pub fn retry(root: &Root) -> Result<()> {
    match State::load(root) {
        State::Failed { done, .. } => State::Running { done }.save(root),
        _ => Ok(()),
    }
}

/// Does the steps that are left, until the box is configured or one fails.
pub fn run(root: &Root) -> Result<()> {
    let first = match State::load(root) {
        State::Running { done } | State::Failed { done, .. } => done.min(Step::ALL.len() - 1),
        State::Fresh | State::Configured => return Ok(()),
    };
    for (number, step) in Step::ALL.iter().enumerate().skip(first) {
        State::Running { done: number }.save(root)?;
        eprintln!(
            "westwork: set-up step {} of {}: {step:?}",
            number + 1,
            Step::ALL.len()
        );
        if let Err(error) = step.carry_out(root).and_then(|()| durable(root)) {
            eprintln!("westwork: set-up step {step:?} failed: {error:#}");
            return State::Failed {
                done: number,
                message: format!("{error:#}"),
            }
            .save(root);
        }
    }
    Ok(())
}

/// Brings what a step has written to the disk. Otherwise a cut of the power could leave the state
/// that says a step is done, and empty files in place of what it made.
fn durable(root: &Root) -> Result<()> {
    for path in [root.data(), root.path("/")] {
        let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        syncfs(file).with_context(|| format!("syncing {}", path.display()))?;
    }
    Ok(())
}

fn network(root: &Root, settings: &Settings, secrets: &Secrets) -> Result<()> {
    let country = &settings.wifi.country;
    let modprobe = root.path("/etc/modprobe.d");
    make_directory(&modprobe, 0o755)?;
    let option = format!("options cfg80211 ieee80211_regdom={country}\n");
    write_file(&modprobe.join("cfg80211.conf"), 0o644, option.as_bytes())?;
    if root.has("/usr/sbin/iw") {
        let now = root
            .program("/usr/sbin/iw")
            .args(["reg", "set", country])
            .run();
        if let Err(error) = now {
            // A box without a radio has nothing to set; one with it reads the file above.
            eprintln!("westwork: the Wi-Fi country counts from the next start on: {error:#}");
        }
    }
    let connections = root.path("/etc/NetworkManager/system-connections");
    let file = connections.join("westwork-home.nmconnection");
    match secrets.get("home_wifi") {
        None => remove_file(&file)?,
        Some(keyfile) => {
            make_directory(&connections, 0o700)?;
            write_file(&file, 0o600, format!("{}\n", keyfile.reveal()).as_bytes())?;
        }
    }
    if root.has("/usr/bin/nmcli") {
        root.program("/usr/bin/nmcli")
            .args(["connection", "reload"])
            .run()
            .context("telling NetworkManager")?;
    }
    Ok(())
}

/// A NetworkManager connection. The network's name is written as bytes, so it needs no escaping.
fn keyfile(wifi: &HomeWifi) -> String {
    let ssid: String = wifi.ssid.bytes().map(|byte| format!("{byte};")).collect();
    let mut text = format!(
        "[connection]\nid=westwork-home\ntype=wifi\nautoconnect=true\n\n[wifi]\nmode=infrastructure\nssid={ssid}\n\n[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n"
    );
    if !wifi.passphrase.is_empty() {
        let psk = wifi
            .passphrase
            .reveal()
            .replace('\\', "\\\\")
            .replace(' ', "\\s");
        text += &format!("\n[wifi-security]\nkey-mgmt=wpa-psk\npsk={psk}\n");
    }
    text
}

fn finish(root: &Root) -> Result<()> {
    let secrets = root.own().join("secrets");
    for name in ["owner_password", "home_wifi", "setup_code"] {
        remove_file(&secrets.join(name))?;
    }
    for path in announce::WRITTEN {
        remove_file(&root.path(path))?;
    }
    // Last: from here on it is configured.
    write_file(&root.configured_mark(), 0o644, b"")
}

/// Removes a file that may not be there.
pub(crate) fn remove_file(path: &std::path::Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_name_or_passphrase_is_never_a_second_line() {
        let wifi = HomeWifi {
            ssid: "a\n[b]".into(),
            passphrase: Secret::new(r" pa\ss;word"),
        };
        let text = keyfile(&wifi);
        assert!(text.contains("\nssid=97;10;91;98;93;\n"));
        assert!(text.ends_with("\npsk=\\spa\\\\ss;word\n"));
    }
}
