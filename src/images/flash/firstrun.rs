//! The script that carries out settings at the first boot: Raspberry Pi Imager's
//! `firstrun.sh`, which calls the same programs with the same arguments
//! (`customization_generator.cpp` of rpi-imager).

use crate::images::image::IMAGER_COMMANDS;
use std::fmt::Write as _;

/// What the first boot is to set; every value has been judged.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) hostname: Option<String>,
    /// Name, and crypt(5) hash; an empty hash leaves the password as it is.
    pub(crate) user: Option<(String, String)>,
    /// Lines of authorized_keys.
    pub(crate) ssh_keys: Vec<String>,
    pub(crate) wifi: Option<Wifi>,
    pub(crate) country: Option<String>,
    pub(crate) timezone: Option<String>,
}

/// A Wi-Fi network.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Wifi {
    pub(crate) name: String,
    /// Derived key in hex; empty for an open network.
    pub(crate) key: String,
    /// Whether it does not send its name.
    pub(crate) hidden: bool,
}

impl Wifi {
    /// Whether `set_wlan` would take the name for one of its options.
    pub(crate) fn is_like_an_option(&self) -> bool {
        ["-h", "--hidden", "-p", "--plain", "--"].contains(&self.name.as_str())
    }
}

/// What is appended to the kernel's command line, with a space before it.
pub(crate) const CMDLINE: &str = " systemd.run=/boot/firstrun.sh systemd.run_success_action=reboot systemd.unit=kernel-command-line.target";

impl Settings {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The script. It goes on after a step that fails: a wrong time zone must not cost
    /// the user's account.
    pub(crate) fn script(&self) -> String {
        let mut text = "#!/bin/sh\n\nset +e\n\n".to_owned();
        let mut call = |program: &str, words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
            let _ = writeln!(text, "{program} {}", words.join(" "));
        };
        if let Some(name) = &self.hostname {
            call(IMAGER_COMMANDS, &["set_hostname", name]);
        }
        if !self.ssh_keys.is_empty() {
            let keys = self.ssh_keys.iter().map(String::as_str);
            let words: Vec<&str> = ["enable_ssh", "-k"].into_iter().chain(keys).collect();
            call(IMAGER_COMMANDS, &words);
        }
        if let Some((name, hash)) = &self.user {
            call("/usr/lib/userconf-pi/userconf", &[name, hash]);
        }
        let country = self.country.as_deref().unwrap_or_default();
        if let Some(wifi) = &self.wifi {
            let mut words = vec!["set_wlan"];
            if wifi.hidden {
                words.push("-h");
            }
            if wifi.is_like_an_option() {
                words.push("--");
            }
            words.extend([wifi.name.as_str(), &wifi.key, country]);
            call(IMAGER_COMMANDS, &words);
        } else if !country.is_empty() {
            call(IMAGER_COMMANDS, &["set_wlan_country", country]);
        }
        if let Some(zone) = &self.timezone {
            call(IMAGER_COMMANDS, &["set_timezone", zone]);
        }
        text.push_str("rm -f /boot/firstrun.sh\n");
        text.push_str("sed -i 's| systemd.run.*||g' /boot/cmdline.txt\nexit 0\n");
        text
    }
}

/// `cmdline.txt` with the script's start at its end, whatever was there of an earlier one.
pub(crate) fn command_line(old: &str) -> String {
    let line = old
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    let before = line.find(" systemd.run").map_or(line, |at| &line[..at]);
    format!("{}{CMDLINE}\n", before.trim_end())
}

/// A word that a shell takes literally.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_reaches_the_programs_as_one_word() {
        let evil = "a'b $(touch x) `y` \\ \"z\" ; | * ü";
        let settings = Settings {
            wifi: Some(Wifi {
                name: evil.to_owned(),
                ..Wifi::default()
            }),
            country: Some("GB".to_owned()),
            ..Settings::default()
        };
        let dir = tempfile::tempdir().unwrap();
        // The program's place is taken by one that prints its words.
        let script = settings
            .script()
            .replace(IMAGER_COMMANDS, "printf '<%s>\\n'");
        let script = script
            .lines()
            .take_while(|line| !line.starts_with("rm "))
            .collect::<Vec<_>>();
        let out = std::process::Command::new("sh")
            .args(["-c", &script.join("\n")])
            .current_dir(dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8(out.stdout).unwrap();
        assert_eq!(said, format!("<set_wlan>\n<{evil}>\n<>\n<GB>\n"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_hidden_network_is_said_to_be_one_whatever_its_name() {
        let script = |name: &str, hidden| {
            let wifi = Some(Wifi {
                name: name.to_owned(),
                key: "k".to_owned(),
                hidden,
            });
            let settings = Settings {
                wifi,
                ..Settings::default()
            };
            settings.script()
        };
        assert!(script("home", true).contains("'set_wlan' '-h' 'home' 'k'"));
        assert!(script("home", false).contains("'set_wlan' 'home' 'k'"));
        assert!(script("-h", false).contains("'set_wlan' '--' '-h' 'k'"));
        assert!(script("-p", true).contains("'set_wlan' '-h' '--' '-p' 'k'"));
    }

    #[test]
    fn the_command_line_stays_one_line_and_is_extended_once() {
        let once = command_line("root=x rootwait \n");
        assert_eq!(once, format!("root=x rootwait{CMDLINE}\n"));
        assert_eq!(command_line(&once), once);
    }
}
