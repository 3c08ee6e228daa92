//! The owner's answers: read, judged, and shown again with what is wrong with them.

use crate::domain::Domain;
use crate::secrets::Secret;
use crate::settings::{
    Certificate, Owner, Settings, Wifi, country, email, password, person_name, user_name,
};
use crate::setup::HomeWifi;
use std::collections::BTreeMap;

/// What was typed, without the passwords, which are never sent back.
#[derive(Debug, Clone, Default)]
pub(super) struct Typed {
    pub(super) fields: BTreeMap<&'static str, String>,
}

/// The fields that may be shown again.
const SHOWN: [&str; 8] = [
    "domain",
    "name",
    "user",
    "country",
    "wifi",
    "certificate",
    "email",
    "staging",
];

/// Messages by field.
pub(super) type Faults = BTreeMap<&'static str, String>;

/// Judged answers.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) settings: Settings,
    pub(super) password: Secret,
    pub(super) home_wifi: Option<HomeWifi>,
}

/// Judges every field, so that all messages are shown at once.
pub(super) fn judge(form: &[(String, String)], chat: bool) -> (Typed, Result<Answers, Faults>) {
    let get = |name: &str| {
        form.iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .unwrap_or_default()
    };
    let typed = Typed {
        fields: SHOWN
            .iter()
            .map(|name| (*name, get(name).chars().take(400).collect()))
            .collect(),
    };
    let mut faults = Faults::new();
    let domain = note(&mut faults, "domain", Domain::parse(get("domain")));
    let name = note(&mut faults, "name", person_name(get("name")));
    let user = note(&mut faults, "user", user_name(get("user")));
    let country = note(&mut faults, "country", country(get("country")));
    let certificate = certificate(&get, domain.as_ref(), &mut faults);
    let home_wifi = note(
        &mut faults,
        "wifi",
        home_wifi(get("wifi"), get("wifi_password")),
    );
    note(
        &mut faults,
        "password",
        password(get("password"), get("user").trim()),
    );
    if get("password") != get("password2") {
        faults.insert("password2", "The two passwords are not the same.".into());
    }
    let answers = match (domain, name, user, country, certificate, home_wifi) {
        (
            Some(domain),
            Some(name),
            Some(user),
            Some(country),
            Some(certificate),
            Some(home_wifi),
        ) if faults.is_empty() => {
            let settings = Settings {
                domain,
                chat,
                owner: Owner { name, user },
                wifi: Wifi { country },
                certificate,
            };
            Ok(Answers {
                settings,
                password: Secret::new(get("password")),
                home_wifi,
            })
        }
        _ => Err(faults),
    };
    (typed, answers)
}

fn note<T>(faults: &mut Faults, field: &'static str, judged: Result<T, String>) -> Option<T> {
    judged.map_err(|message| faults.insert(field, message)).ok()
}

fn certificate<'a>(
    get: &impl Fn(&str) -> &'a str,
    domain: Option<&Domain>,
    faults: &mut Faults,
) -> Option<Certificate> {
    match get("certificate") {
        "self-signed" => Some(Certificate::SelfSigned),
        "lets-encrypt" => {
            if domain.is_some_and(|domain| !domain.is_public()) {
                faults.insert("certificate", "Let’s Encrypt signs for names on the Internet only; this one is for a home network.".into());
                return None;
            }
            let email = note(faults, "email", email(get("email")))?;
            Some(Certificate::LetsEncrypt {
                email,
                staging: get("staging") == "on",
            })
        }
        _ => {
            faults.insert("certificate", "Choose one.".into());
            None
        }
    }
}

/// An empty name means none; an empty passphrase an open network.
fn home_wifi(ssid: &str, passphrase: &str) -> Result<Option<HomeWifi>, String> {
    let hex = passphrase.len() == 64 && passphrase.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words = (8..=63).contains(&passphrase.len())
        && passphrase.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if ssid.is_empty() && passphrase.is_empty() {
        return Ok(None);
    }
    if ssid.is_empty() || ssid.len() > 32 || ssid.chars().any(char::is_control) {
        return Err("The name of a Wi-Fi network has 1 to 32 characters.".into());
    }
    if !(passphrase.is_empty() || hex || words) {
        return Err("A Wi-Fi password has 8 to 63 letters, digits and signs.".into());
    }
    Ok(Some(HomeWifi {
        ssid: ssid.to_owned(),
        passphrase: Secret::new(passphrase),
    }))
}
