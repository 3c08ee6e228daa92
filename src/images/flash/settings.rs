//! From the command line's settings to judged ones.

use super::args::SettingsArgs;
use super::firstrun::{Settings, Wifi};
use crate::base::names;
use crate::base::problem::{Problem, Problems};
use crate::base::releases;
use crate::base::ssh_key;
use anyhow::Result;
use std::fs;
use std::io::IsTerminal;
use std::path::Path;

/// Judges the settings; passwords are left empty.
///
/// # Errors
/// [`Problems`] with everything that is wrong.
pub(super) fn parse(args: &SettingsArgs) -> Result<Settings> {
    let mut found = Found::default();
    found.hostname(args);
    found.user(args);
    found.place(args);
    found.wifi(args);
    found.terminal(args);
    let ssh_keys = args.ssh_key.as_deref().map(keys).transpose();
    let ssh_keys = ssh_keys.unwrap_or_else(|mut problems| {
        found.0.append(&mut problems);
        None
    });
    Problems(found.0).into_result()?;

    Ok(Settings {
        hostname: args.hostname.clone(),
        user: args.user.clone().map(|name| (name, String::new())),
        ssh_keys: ssh_keys.unwrap_or_default(),
        wifi: args.wifi.clone().map(|name| Wifi {
            name,
            key: String::new(),
            hidden: args.wifi_hidden,
        }),
        country: args.country.clone(),
        timezone: args.timezone.clone(),
    })
}

/// What is wrong so far.
#[derive(Default)]
struct Found(Vec<Problem>);

impl Found {
    fn check(&mut self, good: bool, what: impl Into<String>, remedy: &str) {
        if !good {
            self.0.push(Problem::new(what, remedy));
        }
    }

    fn hostname(&mut self, args: &SettingsArgs) {
        if let Some(name) = &args.hostname {
            self.check(
                names::is_label(name),
                format!("{name} cannot be a host name"),
                "use letters, digits and -, at most 63",
            );
        }
    }

    fn user(&mut self, args: &SettingsArgs) {
        let Some(name) = &args.user else {
            return;
        };
        self.check(
            is_user(name),
            format!("{name} cannot be a user's name"),
            "use small letters, digits, - and _; start with a letter; at most 31",
        );
        self.check(
            !releases::any_has_account(name),
            format!("{name} is the name of an account or a group of the system"),
            "give the user another name",
        );
        let way_in = args.password || args.password_file.is_some() || args.ssh_key.is_some();
        self.check(
            way_in,
            format!("{name} could not log in"),
            "add --password, --password-file or --ssh-key",
        );
    }

    fn place(&mut self, args: &SettingsArgs) {
        if let Some(country) = &args.country {
            if let Err((what, remedy)) = releases::country(country) {
                self.check(false, what, &remedy);
            }
        }
        if let Some(zone) = &args.timezone {
            let letter = |b: u8| b.is_ascii_alphanumeric() || b"+-_".contains(&b);
            let mut parts = zone.split('/');
            self.check(
                parts.all(|part| !part.is_empty() && part.bytes().all(letter)),
                format!("{zone} is not a time zone"),
                "use a name such as Europe/London",
            );
        }
    }

    fn wifi(&mut self, args: &SettingsArgs) {
        let Some(name) = &args.wifi else {
            return;
        };
        self.check(
            (1..=32).contains(&name.len()),
            "the Wi-Fi network's name is not of 1 to 32 bytes",
            "check --wifi",
        );
        self.check(
            !name.chars().any(char::is_control),
            "the Wi-Fi network's name has control characters",
            "check --wifi",
        );
        self.check(
            args.country.is_some(),
            "Wi-Fi stays off without a country",
            "add --country",
        );
    }

    fn terminal(&mut self, args: &SettingsArgs) {
        let asks = args.password || (args.wifi.is_some() && args.wifi_password_file.is_none());
        self.check(
            !asks || std::io::stdin().is_terminal(),
            "there is no terminal to ask for a password",
            "add --password-file or --wifi-password-file",
        );
    }
}

/// As the image's own first boot takes it.
fn is_user(name: &str) -> bool {
    names::is_user(name, 31)
}

/// The public keys in a file such as id_ed25519.pub or authorized_keys.
fn keys(path: &Path) -> Result<Vec<String>, Vec<Problem>> {
    let text = fs::read_to_string(path).map_err(|error| {
        let what = format!("the file cannot be read as text ({error})");
        vec![Problem::new(what, "check --ssh-key").at(path)]
    })?;
    let mut keys = Vec::new();
    let mut problems = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match ssh_key::check(line) {
            Ok(()) => keys.push(line.to_owned()),
            Err(what) => {
                let remedy = "name the file that ends in .pub, or an authorized_keys";
                problems.push(Problem::new(what, remedy).at(path).line(number));
                // Whatever it is, it is the same on its other lines.
                break;
            }
        }
    }
    if keys.is_empty() && problems.is_empty() {
        let remedy = "name the file that ends in .pub, or an authorized_keys";
        problems.push(Problem::new("there is no public SSH key in it", remedy).at(path));
    }
    if problems.is_empty() {
        Ok(keys)
    } else {
        Err(problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(
            names::is_label("pi-1")
                && !names::is_label("-pi")
                && !names::is_label("a.b")
                && !names::is_label("")
        );
        assert!(is_user("pi") && !is_user("root") && !is_user("1a") && !is_user("Ä"));
    }
}
