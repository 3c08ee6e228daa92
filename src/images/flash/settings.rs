//! From the command line's settings to judged ones, and from passwords to hashes.

use super::args::SettingsArgs;
use super::firstrun::Settings;
use crate::base::names;
use crate::base::problem::{Problem, Problems};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::{IsTerminal, Read};
use std::path::Path;

/// Judges the settings; passwords are left empty.
///
/// # Errors
/// [`Problems`] with everything that is wrong.
pub(super) fn judge(args: &SettingsArgs) -> Result<Settings> {
    let mut problems = Problems::default();
    let mut check = |good: bool, what: String, remedy: &str| {
        if !good {
            problems.0.push(Problem::new(what, remedy));
        }
    };
    if let Some(name) = &args.hostname {
        check(
            names::is_label(name),
            format!("{name} cannot be a host name"),
            "use letters, digits and -, at most 63",
        );
    }
    if let Some(name) = &args.user {
        let remedy = "use small letters, digits, - and _; start with a letter; at most 31";
        check(
            is_user(name),
            format!("{name} cannot be a user's name"),
            remedy,
        );
        let way_in = args.password || args.password_file.is_some() || args.ssh_key.is_some();
        check(
            way_in,
            format!("{name} could not log in"),
            "add --password, --password-file or --ssh-key",
        );
    }
    if let Some(country) = &args.country {
        let good = country.len() == 2 && country.bytes().all(|b| b.is_ascii_uppercase());
        check(
            good,
            format!("{country} is not a country"),
            "use two capital letters, such as GB",
        );
    }
    if let Some(zone) = &args.timezone {
        let good = zone.split('/').all(|part| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"+-_".contains(&b))
        });
        check(
            good,
            format!("{zone} is not a time zone"),
            "use a name such as Europe/London",
        );
    }
    if let Some(name) = &args.wifi {
        check(
            (1..=32).contains(&name.len()),
            "the Wi-Fi network's name is not of 1 to 32 bytes".to_owned(),
            "check --wifi",
        );
        check(
            !name.chars().any(char::is_control),
            "the Wi-Fi network's name has control characters".to_owned(),
            "check --wifi",
        );
        check(
            args.country.is_some(),
            "Wi-Fi stays off without a country".to_owned(),
            "add --country",
        );
    }
    let asks = args.password || (args.wifi.is_some() && args.wifi_password_file.is_none());
    let terminal = std::io::stdin().is_terminal();
    check(
        !asks || terminal,
        "there is no terminal to ask for a password".to_owned(),
        "add --password-file or --wifi-password-file",
    );
    let ssh_keys = args.ssh_key.as_deref().map(keys).transpose();
    let ssh_keys = match ssh_keys {
        Ok(keys) => keys.unwrap_or_default(),
        Err(problem) => {
            problems.0.push(problem);
            Vec::new()
        }
    };
    problems.into_result()?;

    Ok(Settings {
        hostname: args.hostname.clone(),
        user: args.user.clone().map(|name| (name, String::new())),
        ssh_keys,
        wifi: args.wifi.clone().map(|name| (name, String::new())),
        country: args.country.clone(),
        timezone: args.timezone.clone(),
    })
}

/// Adds what is derived from the passwords: those in files, and those asked for.
pub(super) fn add_secrets(args: &SettingsArgs, settings: &mut Settings) -> Result<()> {
    if let Some((_, user_hash)) = &mut settings.user {
        let password = match &args.password_file {
            Some(file) => Some(first_line(file)?),
            None if args.password => Some(ask("password of the user")?),
            None => None,
        };
        if let Some(password) = password {
            *user_hash = hash(&password)?;
        }
    }
    if let Some((name, key)) = &mut settings.wifi {
        let password = match &args.wifi_password_file {
            Some(file) => first_line(file)?,
            None => ask(&format!("password of the network {name}"))?,
        };
        *key = network_key(name, &password)?;
    }
    Ok(())
}

/// As the image's own first boot takes it.
fn is_user(name: &str) -> bool {
    names::is_user(name, 31)
}

/// The public keys in a file such as id_ed25519.pub or authorized_keys.
fn keys(path: &Path) -> Result<Vec<String>, Problem> {
    let text = fs::read_to_string(path).map_err(|error| {
        Problem::new(
            format!("the file cannot be read ({error})"),
            "check --ssh-key",
        )
        .at(path)
    })?;
    if text.contains("PRIVATE KEY") {
        return Err(
            Problem::new("this is a private key", "name the file that ends in .pub").at(path),
        );
    }
    let lines = text.lines().map(str::trim);
    let keys: Vec<String> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    let known = |key: &String| {
        ["ssh-", "ecdsa-", "sk-"]
            .iter()
            .any(|kind| key.starts_with(kind))
    };
    if keys.is_empty() || !keys.iter().all(known) {
        return Err(Problem::new(
            "this is no public SSH key",
            "name the file that ends in .pub",
        )
        .at(path));
    }
    Ok(keys)
}

fn first_line(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Asks twice, until both are the same.
fn ask(what: &str) -> Result<String> {
    loop {
        let first =
            rpassword::prompt_password(format!("{what}: ")).context("asking for a password")?;
        let second =
            rpassword::prompt_password("the same again: ").context("asking for a password")?;
        if first == second {
            return Ok(first);
        }
        eprintln!("they differ");
    }
}

/// SHA-512 crypt, `$6$…` of crypt(5), with a random salt.
fn hash(password: &str) -> Result<String> {
    let problem = |what| Problems(vec![Problem::new(what, "give another one")]);
    if password.is_empty() {
        return Err(problem("the password is empty").into());
    }
    const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut random = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut random))
        .context("reading random numbers")?;
    let salt: String = random
        .iter()
        .map(|b| char::from(LETTERS[usize::from(b & 63)]))
        .collect();
    let sum = sha_crypt::sha512_crypt_b64(
        password.as_bytes(),
        salt.as_bytes(),
        &sha_crypt::Sha512Params::default(),
    )
    .map_err(|error| anyhow::anyhow!("hashing the password: {error:?}"))?;
    Ok(format!("$6${salt}${sum}"))
}

/// The key that WPA derives from a password (IEEE 802.11, annex J.4), so that the password
/// itself is not on the card; a key of 64 digits is taken as it is.
fn network_key(network: &str, password: &str) -> Result<String> {
    let hex = |b: u8| b.is_ascii_hexdigit();
    if password.is_empty() || (password.len() == 64 && password.bytes().all(hex)) {
        return Ok(password.to_owned());
    }
    if !(8..=63).contains(&password.len()) {
        let problem = Problem::new("a Wi-Fi password has 8 to 63 characters", "check it");
        return Err(Problems(vec![problem]).into());
    }
    let mut key = [0; 32];
    pbkdf2::pbkdf2_hmac::<sha1::Sha1>(password.as_bytes(), network.as_bytes(), 4096, &mut key);
    Ok(hex::encode(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::need::{self, need};

    #[test]
    fn a_network_key_is_that_of_the_standard() {
        // The standard's own example.
        let key = network_key("IEEE", "password").unwrap();
        assert_eq!(
            key,
            "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"
        );
        assert!(network_key("IEEE", "short").is_err());
    }

    #[test]
    fn a_password_hash_is_one_that_crypt_accepts() {
        let hash = hash("pässword").unwrap();
        let salt = hash.split('$').nth(2).unwrap();
        let args = ["passwd", "-6", "-salt", salt, "pässword"];
        need!(need::tools(&["openssl"]));
        let out = std::process::Command::new("openssl").args(args).output();
        let out = out.unwrap();
        assert_eq!(String::from_utf8(out.stdout).unwrap().trim(), hash);
    }

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
