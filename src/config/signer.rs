//! Signing the checksums, by minisign or gpg.

use crate::base::command::Command;
use crate::base::dsse;
use crate::base::tool::Tool;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// `SIGN_WITH`: who signs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Signer {
    /// `minisign:FILE`: a secret key without a pass phrase, as `minisign -G -W` makes it.
    Minisign(PathBuf),
    /// `gpg:KEY`: a key of the user's key ring, as `gpg --local-user` takes it.
    Gpg(String),
}

impl Signer {
    /// Of the signature files, after the name of the signed file.
    pub(crate) const EXTENSIONS: [&'static str; 2] = [".minisig", ".asc"];

    pub(crate) fn extension(&self) -> &'static str {
        match self {
            Self::Minisign(_) => Self::EXTENSIONS[0],
            Self::Gpg(_) => Self::EXTENSIONS[1],
        }
    }

    /// The program that signs.
    pub fn tool(&self) -> Tool {
        match self {
            Self::Minisign(_) => Tool::Minisign,
            Self::Gpg(_) => Tool::Gpg,
        }
    }

    /// Signs something of no meaning, so that a build does not end in vain.
    ///
    /// # Errors
    /// The program or the key is missing, or it cannot be used without being asked.
    pub fn try_out(&self) -> Result<()> {
        self.sign("", 0).map(|_| ())
    }

    /// The bare Ed25519 signature of `bytes`, and its key's identifier in hex; `None` with gpg, whose
    /// signatures are of another kind.
    pub(crate) fn sign_bytes(&self, bytes: &[u8]) -> Result<Option<(String, [u8; 64])>> {
        let Self::Minisign(key) = self else {
            return Ok(None);
        };
        // -l: of the bytes themselves, and not of their hash.
        let text = self.minisign(key, "provenance", bytes, &["-l", "-t", "provenance"])?;
        let found = text.lines().nth(1).and_then(dsse::of_minisign);
        found.context("reading minisign's signature").map(Some)
    }

    /// What minisign writes of `bytes`, which it is given as a file with this name.
    fn minisign(&self, key: &Path, name: &str, bytes: &[u8], options: &[&str]) -> Result<String> {
        let dir = tempfile::tempdir().context("making a temporary directory")?;
        let [file, signature] = [name, "signature"].map(|name| dir.path().join(name));
        fs::write(&file, bytes).context("writing what is to be signed")?;
        // Standard input is empty: a key with a pass phrase fails, and does not wait.
        Command::new(self.tool())
            .arg("-S")
            .args(options)
            .arg("-s")
            .arg(key)
            .arg("-m")
            .arg(&file)
            .arg("-x")
            .arg(&signature)
            .read()?;
        fs::read_to_string(&signature).context("reading minisign's signature")
    }

    /// The detached signature of `text`. `epoch` is the time that a minisign signature
    /// speaks of; gpg's always has the time of the signing.
    pub(crate) fn sign(&self, text: &str, epoch: i64) -> Result<String> {
        match self {
            Self::Minisign(key) => {
                let comment = format!("timestamp:{epoch}\tfile:SHA256SUMS");
                self.minisign(key, "SHA256SUMS", text.as_bytes(), &["-t", &comment])
            }
            Self::Gpg(key) => {
                let signature = Command::new(self.tool())
                    .args(["--batch", "--no-tty", "--armor", "--local-user", key])
                    .args(["--detach-sign", "--output", "-"])
                    .input(text)
                    .read()?;
                if !signature.contains("BEGIN PGP SIGNATURE") {
                    bail!("gpg made no signature");
                }
                Ok(signature)
            }
        }
    }
}
