//! `/data/conf/westwork/settings.toml`, the one file that all templates are rendered from.

use crate::domain::Domain;
use crate::root::{Root, write_file};
use crate::secrets::Secrets;
use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What the owner has chosen. Holds no secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The household's domain.
    pub domain: Domain,
    /// Is the chat server part of this image?
    #[serde(default)]
    pub chat: bool,
    /// Who has set the box up.
    pub owner: Owner,
    /// The radio's.
    pub wifi: Wifi,
    /// Where the certificate comes from.
    pub certificate: Certificate,
}

/// Who has set the box up, and gets the mail for postmaster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// The person's name.
    pub name: String,
    /// The part of the address before the @.
    pub user: String,
}

/// What the radio has to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wifi {
    /// Two letters, ISO 3166-1.
    pub country: String,
}

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "kind")]
pub enum Certificate {
    /// Made by the box for itself.
    SelfSigned,
    /// From Let's Encrypt, which has to reach the box by its domain.
    LetsEncrypt {
        /// For the authority, should it have something to say.
        email: String,
        /// The authority's test service, whose certificates nobody trusts.
        staging: bool,
    },
}

impl Settings {
    /// Reads and judges the file of a box that has been set up.
    pub fn load(root: &Root) -> Result<Self> {
        let path = root.own().join("settings.toml");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    /// Judges the text of the file.
    pub fn parse(text: &str) -> Result<Self> {
        let settings: Self = toml::from_str(text)
            .map_err(|error| anyhow!("{}", error.to_string().trim().replace('\n', " ")))?;
        let named = |key: &'static str| move |message: String| anyhow!("{key}: {message}");
        person_name(&settings.owner.name).map_err(named("owner.name"))?;
        user_name(&settings.owner.user).map_err(named("owner.user"))?;
        country(&settings.wifi.country).map_err(named("wifi.country"))?;
        if let Certificate::LetsEncrypt { email, .. } = &settings.certificate {
            self::email(email).map_err(named("certificate.email"))?;
        }
        Ok(settings)
    }

    /// Writes the file, whole or not at all.
    pub fn save(&self, root: &Root) -> Result<()> {
        let text = toml::to_string(self).context("writing settings as TOML")?;
        write_file(&root.own().join("settings.toml"), 0o644, text.as_bytes())
    }

    /// All names that templates can use:
    ///
    /// `domain`, `domain_display`, `chat`; `ldap.base`, `ldap.people`, `ldap.services_dn`;
    /// `owner.name`, `owner.user`, `owner.mail`; `wifi.country`; `certificate.self_signed`,
    /// `certificate.lets_encrypt`; `tls.certificate`, `tls.key` (paths); and `secret.NAME` for
    /// each file of the secrets directory.
    pub fn values(&self, secrets: &Secrets) -> Value {
        let base = self.domain.ldap_base();
        let lets_encrypt = matches!(self.certificate, Certificate::LetsEncrypt { .. });
        json!({
            "domain": self.domain.as_str(),
            "domain_display": self.domain.display(),
            "chat": self.chat,
            "ldap": {
                "base": base,
                "people": format!("ou=people,{base}"),
                "services_dn": format!("cn=services,{base}"),
            },
            "owner": {
                "name": self.owner.name,
                "user": self.owner.user,
                "mail": format!("{}@{}", self.owner.user, self.domain.as_str()),
            },
            "wifi": {"country": self.wifi.country},
            "certificate": {"self_signed": !lets_encrypt, "lets_encrypt": lets_encrypt},
            "tls": {"certificate": "/data/conf/tls/fullchain.pem", "key": "/data/conf/tls/privkey.pem"},
            "secret": secrets.values(),
        })
    }
}

/// The errors of all these are sentences for the owner.
type Checked = Result<String, String>;

/// A person's name: anything printable, on one line, up to 64 characters.
pub fn person_name(typed: &str) -> Checked {
    let name = typed.trim();
    match name {
        "" => Err("Enter a name.".into()),
        _ if name.chars().count() > 64 => Err("A name has at most 64 characters.".into()),
        _ if name.chars().any(char::is_control) => Err("A name has no control characters.".into()),
        _ => Ok(name.to_owned()),
    }
}

/// Names that mail or the system need for themselves.
const RESERVED: [&str; 15] = [
    "abuse",
    "admin",
    "hostmaster",
    "mail",
    "mailer-daemon",
    "nobody",
    "noreply",
    "postmaster",
    "root",
    "security",
    "services",
    "vmail",
    "webmaster",
    "westwork",
    "www-data",
];
/// The box's own accounts begin with this.
pub(crate) const OWN_PREFIX: &str = "westwork-";

/// The part before the @: 2 to 32 lower-case letters, digits, `.`, `_` and `-`.
pub fn user_name(typed: &str) -> Checked {
    let user = typed.trim();
    let inner =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let ends = user.starts_with(|c: char| c.is_ascii_lowercase())
        && user.ends_with(|c: char| c.is_ascii_alphanumeric());
    match user {
        "" => Err("Enter a user name.".into()),
        _ if !(2..=32).contains(&user.len()) => Err("A user name has 2 to 32 characters.".into()),
        _ if !user.bytes().all(inner) || !ends || user.contains("..") => {
            Err("A user name has lower-case letters, digits, dots, hyphens and underscores, and begins with a letter.".into())
        }
        _ if RESERVED.contains(&user) || user.starts_with(OWN_PREFIX) => Err("This name is needed by the system; choose another.".into()),
        _ => Ok(user.to_owned()),
    }
}

/// At least 10 characters, 5 of them different, without the user's name.
pub fn password(typed: &str, user: &str) -> Result<(), String> {
    let mut different: Vec<char> = typed.chars().collect();
    different.sort_unstable();
    different.dedup();
    let lower = typed.to_lowercase();
    let common = [
        "password",
        "passwort",
        "1234567890",
        "0123456789",
        "qwertyuiop",
        "qwertzuiop",
        "westwork",
    ];
    match typed.chars().count() {
        0 => Err("Choose a password.".into()),
        1..=9 => Err("A password has at least 10 characters; four words are a good one.".into()),
        129.. => Err("A password has at most 128 characters.".into()),
        _ if typed.chars().any(char::is_control) => {
            Err("A password has no control characters.".into())
        }
        _ if different.len() < 5 => Err("Use at least five different characters.".into()),
        _ if !user.is_empty() && lower.contains(user) => {
            Err("The password must not contain the user name.".into())
        }
        _ if common.iter().any(|word| lower.starts_with(word)) => {
            Err("This password is one of the first anybody would try.".into())
        }
        _ => Ok(()),
    }
}

/// A code of two letters, in capitals.
pub fn country(typed: &str) -> Checked {
    let code = typed.trim().to_uppercase();
    if code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Ok(code);
    }
    Err("Choose the country; its rules apply to the Wi-Fi.".into())
}

/// An address with the domain as A-labels.
pub fn email(typed: &str) -> Checked {
    let address = typed.trim();
    let sentence = || "Enter an e-mail address, for example me@example.org.".to_owned();
    let (local, domain) = address.split_once('@').ok_or_else(sentence)?;
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    if local.is_empty() || local.len() > 64 || !local.bytes().all(inner) || local.starts_with('-') {
        return Err(sentence());
    }
    let domain = Domain::parse(domain).map_err(|_| sentence())?;
    Ok(format!("{local}@{}", domain.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_judged_when_read() {
        let text = "domain = 'example.org'\nowner = {name = 'Ada', user = 'ada'}\nwifi = {country = 'DE'}\ncertificate = {kind = 'self-signed'}\n";
        let settings = Settings::parse(text).unwrap();
        assert_eq!(
            Settings::parse(&toml::to_string(&settings).unwrap()).unwrap(),
            settings
        );
        for (good, bad) in [
            ("example.org", "a;b.org"),
            ("'ada'", "'ada\"'"),
            ("DE", "Germany"),
            ("'Ada'", "'Ada', x = 1"),
            ("self-signed", "none"),
        ] {
            assert!(Settings::parse(&text.replace(good, bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn people_and_passwords() {
        assert_eq!(person_name(" Jörg O'Neil ").unwrap(), "Jörg O'Neil");
        for bad in ["", " ", "a\nb", "a\0"] {
            assert!(person_name(bad).is_err());
        }
        for bad in [
            "",
            "a",
            "Ada",
            "ada lovelace",
            "root",
            "postmaster",
            "westwork-admin",
            "-ada",
            "ada.",
            "1ada",
            "a..b",
            "a*b",
            "a,b",
            "ä",
        ] {
            assert!(user_name(bad).is_err(), "{bad}");
        }
        assert_eq!(user_name("ada.l").unwrap(), "ada.l");
        for bad in [
            "",
            "short",
            "aaaaaaaaaaaa",
            "my-ada-secret",
            "password1234",
            "1234567890ab",
            "abcde\nfghijk",
        ] {
            assert!(password(bad, "ada").is_err(), "{bad}");
        }
        assert!(password("correct horse battery", "ada").is_ok());
        assert_eq!(email("me+x@müller.de").unwrap(), "me+x@xn--mller-kva.de");
        for bad in [
            "",
            "me",
            "@a.org",
            "me@",
            "-o@a.org",
            "me you@a.org",
            "me@a.org\nx",
            "me@[1.2.3.4]",
        ] {
            assert!(email(bad).is_err(), "{bad}");
        }
    }
}
