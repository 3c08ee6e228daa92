//! Passwords: where they come from, and what is derived from them.

use super::args::SettingsArgs;
use super::firstrun::Settings;
use crate::base::problem::{Problem, Problems};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

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
    if let Some(wifi) = &mut settings.wifi {
        let password = match &args.wifi_password_file {
            Some(file) => first_line(file)?,
            None => ask(&format!("password of the network {}", wifi.name))?,
        };
        wifi.key = network_key(&wifi.name, &password)?;
    }
    Ok(())
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
        let out = std::process::Command::new("openssl")
            .args(args)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(out.stdout).unwrap().trim(), hash);
    }
}
