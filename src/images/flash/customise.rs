//! Settings for the first boot, on a card's boot partition.

use super::accounts;
use super::firstrun::{Settings, command_line};
use super::sink::Sink;
use super::write::HEAD;
use crate::base::problem::{Problem, Problems};
use crate::images::image::disk::Slice;
use crate::images::image::fat::Fat;
use crate::images::image::probe::Files;
use crate::images::image::table::Partition;
use crate::images::image::tree::Tree;
use crate::images::image::{IMAGER_COMMANDS, Image, stem};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;

/// Bytes of a command line or a script.
const LARGEST: u64 = 1 << 20;

/// Where an image takes settings.
pub(super) struct BootSettings {
    /// The partition with `cmdline.txt`.
    pub(super) boot: Partition,
    pub(super) notes: Vec<String>,
}

/// Judges whether an image takes the settings at its first boot.
///
/// # Errors
/// [`Problems`] with everything that it does not take.
pub(super) fn place(
    image: &Image,
    path: &Path,
    settings: &Settings,
    by_key: bool,
) -> Result<BootSettings> {
    let mut found = Found::default();
    let (mut boot, mut takes) = (None, manifest_says_systemd(path));
    let (mut sudo, mut unread) = (None, None);
    for partition in &image.table.partitions {
        let (facts, files) = image.probe(partition);
        // Settings need a root that can be changed.
        let writable = facts.kind.starts_with("ext");
        if let Some(note) = facts.note.filter(|_| writable) {
            let number = partition.number;
            unread = Some(format!("partition {number} cannot be read: {note}"));
        }
        match files {
            Files::Fat(fat) if boot.is_none() && has_command_line(&fat) => {
                boot = Some(partition.clone());
            }
            Files::Tree(root)
                if writable && root.lookup(IMAGER_COMMANDS).is_ok_and(|it| it.is_some()) =>
            {
                takes = true;
                found.root(&root, settings)?;
                sudo = Some(accounts::has_sudo_without_password(&root)?);
            }
            _ => {}
        }
    }
    found.boot(takes, boot.as_ref(), unread);
    let problems = found
        .0
        .into_iter()
        .map(|problem| problem.at(path))
        .collect();
    Problems(problems).into_result()?;
    let mut notes = Vec::new();
    if let (Some((name, _)), true, Some(false)) = (&settings.user, by_key, sudo) {
        notes.push(format!(
            "{name} can log in with the key, and has no password for sudo; add --password or --password-file if that is needed"
        ));
    }
    Ok(BootSettings {
        boot: boot.context("finding the boot partition")?,
        notes,
    })
}

fn has_command_line(fat: &Fat) -> bool {
    let line = fat.read("cmdline.txt", LARGEST);
    line.is_ok_and(|line| line.is_some())
}

#[derive(Default)]
struct Found(Vec<Problem>);

impl Found {
    fn say(&mut self, what: impl Into<String>, remedy: &str) {
        self.0.push(Problem::new(what, remedy));
    }

    /// The script must be there, and a place for it.
    fn boot(&mut self, takes: bool, boot: Option<&Partition>, unread: Option<String>) {
        if !takes {
            let why = unread.unwrap_or_else(|| {
                "it has no firstrun.sh mechanism of Raspberry Pi Imager".to_owned()
            });
            self.say(
                format!("the image does not take settings at its first boot: {why}"),
                "build it with one, or leave out the settings for the first boot",
            );
        }
        match boot {
            None => self.say(
                "the image has no boot partition with a cmdline.txt, which starts the settings' script",
                "leave out the settings for the first boot",
            ),
            Some(boot) if boot.start < HEAD as u64 => self.say(
                "the image's boot partition begins in its first mebibyte, where settings cannot be put",
                "leave out the settings for the first boot",
            ),
            Some(_) => {}
        }
    }

    /// What the root file system has to have.
    fn root(&mut self, root: &Tree, settings: &Settings) -> Result<()> {
        if let Some(zone) = &settings.timezone {
            let file = format!("/usr/share/zoneinfo/{zone}");
            if root.lookup(&file)?.is_none() {
                self.say(
                    format!("the image has no time zone {zone}"),
                    "use a name such as Europe/London",
                );
            }
        }
        if let Some((name, _)) = &settings.user {
            if accounts::is_taken(root, name)? {
                self.say(
                    format!("the image has an account or a group {name} already"),
                    "give the user another name",
                );
            }
        }
        if let Some(wifi) = settings
            .wifi
            .as_ref()
            .filter(|wifi| wifi.is_like_an_option())
        {
            let commands = root.file(IMAGER_COMMANDS, LARGEST)?.unwrap_or_default();
            let commands = String::from_utf8_lossy(&commands);
            if !commands
                .lines()
                .any(|line| line.trim_start().starts_with("--)"))
            {
                self.say(
                    format!(
                        "the image's first boot takes the network's name {} for an option",
                        wifi.name
                    ),
                    "set up this network later, on the device",
                );
            }
        }
        Ok(())
    }
}

/// For a root whose files cannot be read here.
fn manifest_says_systemd(image: &Path) -> bool {
    let manifest = image.with_file_name(format!("{}.rpi-imager-manifest", stem(image)));
    let json = fs::read(manifest).ok();
    let json = json.and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
    json.is_some_and(|json| json["os_list"][0]["init_format"] == "systemd")
}

/// Puts the settings onto the target's boot partition, and reads them back.
pub(super) fn apply(settings: &Settings, boot: &Partition, sink: &Sink) -> Result<()> {
    let open = || Fat::open(Slice::new(&sink.file, boot.start, boot.size)?);
    let fat = open()?;
    let old = fat
        .read("cmdline.txt", LARGEST)?
        .context("looking for cmdline.txt on the boot partition")?;
    let line = command_line(&String::from_utf8_lossy(&old));
    let script = settings.script();
    let files = [
        ("firstrun.sh", script.as_bytes()),
        ("cmdline.txt", line.as_bytes()),
    ];
    for (name, bytes) in files {
        fat.write(name, bytes)?;
    }
    fat.close()?;
    sink.flush()?;
    let fat = open()?;
    for (name, bytes) in files {
        ensure!(
            fat.read(name, LARGEST)?.as_deref() == Some(bytes),
            "the target did not keep {name}; it is worn out or a fake, use another one"
        );
    }
    Ok(())
}
