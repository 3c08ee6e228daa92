//! Secrets: made on the device, each in a file of its own that only root can read.

use crate::root::{Root, make_directory, write_file};
use anyhow::{Context, Result};
use base64::Engine;
use std::collections::BTreeMap;

/// Text that is never printed: its `Debug` form has dots instead.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text; nothing is checked.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for where it belongs.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Is there no text?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// Letters and digits that nobody takes for one another, from the kernel's generator.
pub fn random_text(length: usize) -> Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).context("asking the kernel for random bytes")?;
    Ok(bytes
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(byte % 32)]))
        .collect())
}

/// A verifier for slapd's `userPassword`: `{CRYPT}` with SHA-512, which slapd hands to crypt(3).
pub fn password_hash(password: &str) -> Result<Secret> {
    const ROUNDS: usize = 50_000;
    let params = sha_crypt::Sha512Params::new(ROUNDS)
        .map_err(|_| anyhow::anyhow!("making the parameters of the password hash"))?;
    let hash = sha_crypt::sha512_simple(password, &params)
        .map_err(|_| anyhow::anyhow!("hashing a password"))?;
    Ok(Secret::new(format!("{{CRYPT}}{hash}")))
}

/// The secrets that services share. Each is a file `secrets/NAME` and `{{secret.NAME}}`.
#[derive(Debug, Default)]
pub struct Secrets(BTreeMap<String, Secret>);

impl Secrets {
    /// Reads all there are and makes those that are missing:
    /// `ldap_services` (the services' password in the directory), `roundcube_des` (24 letters),
    /// `synapse_registration`, `synapse_macaroon`, `synapse_form` and `synapse_signing_key`
    /// (Synapse's own format: algorithm, key id, seed in base64).
    pub fn ensure(root: &Root) -> Result<Self> {
        let directory = root.own().join("secrets");
        make_directory(&directory, 0o700)?;
        for (name, length) in [
            ("ldap_services", 32),
            ("roundcube_des", 24),
            ("synapse_registration", 40),
            ("synapse_macaroon", 40),
            ("synapse_form", 40),
        ] {
            let path = directory.join(name);
            if !path.exists() {
                write_file(&path, 0o600, random_text(length)?.as_bytes())?;
            }
        }
        let key = directory.join("synapse_signing_key");
        if !key.exists() {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).context("asking the kernel for random bytes")?;
            let seed = base64::engine::general_purpose::STANDARD_NO_PAD.encode(seed);
            write_file(
                &key,
                0o600,
                format!("ed25519 a_{} {seed}", random_text(4)?).as_bytes(),
            )?;
        }
        Self::load(root)
    }

    /// Those that have been made so far; none on a new box.
    pub fn load(root: &Root) -> Result<Self> {
        let directory = root.own().join("secrets");
        let reading = || format!("reading {}", directory.display());
        let mut secrets = BTreeMap::new();
        if !directory.exists() {
            return Ok(Self(secrets));
        }
        for entry in directory.read_dir().with_context(reading)? {
            let entry = entry.with_context(reading)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                let text = std::fs::read_to_string(entry.path())
                    .with_context(|| format!("reading {}", entry.path().display()))?;
                secrets.insert(name, Secret::new(text.trim_end_matches('\n')));
            }
        }
        Ok(Self(secrets))
    }

    /// The secret of this name.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }

    pub(crate) fn values(&self) -> BTreeMap<&str, &str> {
        self.0
            .iter()
            .map(|(name, secret)| (name.as_str(), secret.reveal()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn secrets_are_made_once_readable_by_root_and_never_printed() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        let first = Secrets::ensure(&root).unwrap();
        let again = Secrets::ensure(&root).unwrap();
        assert_eq!(first.values(), again.values());
        assert_eq!(first.get("roundcube_des").unwrap().reveal().len(), 24);
        let mode = |name: &str| {
            root.own()
                .join(name)
                .metadata()
                .unwrap()
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(
            (mode("secrets"), mode("secrets/ldap_services")),
            (0o700, 0o600)
        );
        assert!(!format!("{first:?}").contains(first.get("ldap_services").unwrap().reveal()));
    }

    #[test]
    fn hashes_are_salted_crypt() {
        let (one, two) = (
            password_hash("correct horse").unwrap(),
            password_hash("correct horse").unwrap(),
        );
        assert_ne!(one, two);
        let text = one.reveal().strip_prefix("{CRYPT}").unwrap();
        assert!(text.starts_with("$6$rounds=50000$"), "{text}");
        sha_crypt::sha512_check("correct horse", text).unwrap();
    }
}
