//! Encryption of backups, by age(1).
//!
//! The box knows the public half of the owner's key alone, so that who takes the box cannot read
//! the backups, and backups can be made by a timer. Beside it each backup is encrypted for a key
//! that lives in the memory of one run, with which `backup` reads what it has written.

use crate::root::{Root, Running, write_file};
use crate::secrets::Secret;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

const AGE: &str = "/usr/bin/age";
const KEYGEN: &str = "/usr/bin/age-keygen";

/// A key: the secret half opens what was encrypted for the public one.
pub(super) struct Key {
    pub(super) secret: Secret,
    pub(super) public: String,
}

impl Key {
    pub(super) fn new(root: &Root) -> Result<Self> {
        let text = root.program(KEYGEN).run().context("making a key")?;
        let text = String::from_utf8(text).context("making a key")?;
        let secret = text
            .lines()
            .find(|line| line.starts_with("AGE-SECRET-KEY-"));
        let public = text
            .lines()
            .find_map(|line| line.strip_prefix("# public key: "));
        match (secret, public) {
            (Some(secret), Some(public)) => Ok(Self {
                secret: Secret::new(secret),
                public: public.to_owned(),
            }),
            _ => bail!("age-keygen wrote no key"),
        }
    }
}

fn public_key(root: &Root) -> PathBuf {
    root.own().join("backup-key")
}

/// Makes the owner's key and keeps its public half; the secret half is returned and nowhere else.
/// A key that is there stays unless it is to be replaced.
pub fn make_key(root: &Root, replace: bool) -> Result<Secret> {
    may_set(root, replace)?;
    let key = Key::new(root)?;
    store(root, &key.public)?;
    Ok(key.secret)
}

/// Takes a public key that the owner has already.
pub fn use_key(root: &Root, public: &str, replace: bool) -> Result<()> {
    may_set(root, replace)?;
    root.program(AGE)
        .args(["-r", public])
        .input("x")
        .run()
        .with_context(|| format!("{public:?} is no public key of age"))?;
    store(root, public)
}

fn may_set(root: &Root, replace: bool) -> Result<()> {
    if !root.is_configured() {
        bail!("this box is not set up yet");
    }
    if !replace && public_key(root).exists() {
        bail!(
            "there is a key already; with --replace later backups need the new one, earlier ones still the old one"
        );
    }
    Ok(())
}

fn store(root: &Root, public: &str) -> Result<()> {
    let _lock = root.lock()?;
    write_file(&public_key(root), 0o644, format!("{public}\n").as_bytes())
}

/// The public half of the owner's key.
pub(super) fn owners_key(root: &Root) -> Result<String> {
    match std::fs::read_to_string(public_key(root)) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("backups have no key yet: make one with `westwork backup-key`")
        }
        Err(error) => Err(error).context("reading the key for backups"),
    }
}

/// Encrypts what is written to it into a file.
pub(super) struct Encrypting(Running);

impl Encrypting {
    pub(super) fn new(root: &Root, publics: &[&str], out: &File) -> Result<Self> {
        let mut age = root.program(AGE);
        for public in publics {
            age = age.args(["-r", public]);
        }
        Ok(Self(age.start(out.try_clone()?)?))
    }

    pub(super) fn finish(self) -> Result<()> {
        let (status, said) = self.0.end()?;
        if !status.success() {
            bail!("encrypting: {said}");
        }
        Ok(())
    }
}

impl Write for Encrypting {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match &mut self.0.child.stdin {
            Some(input) => input.write(bytes),
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Decrypts a file; what it gives is right, except that the end may be missing until
/// [`Decrypting::finish`] says otherwise.
pub(super) struct Decrypting(Running);

impl Decrypting {
    pub(super) fn new(root: &Root, file: &Path, secret: &Secret) -> Result<Self> {
        let file = std::path::absolute(file)?;
        let mut running = root
            .program(AGE)
            .args(["-d", "-i", "-"])
            .arg(file)
            .start(Stdio::piped())?;
        if let Some(mut input) = running.child.stdin.take() {
            // If age does not read it, its exit says why.
            let _ = writeln!(input, "{}", secret.reveal());
        }
        Ok(Self(running))
    }

    /// Whether age found a fault. That nobody read to the end (not `whole`) is none.
    pub(super) fn finish(self, whole: bool) -> Result<()> {
        let (status, said) = self.0.end()?;
        let stopped = !whole && status.signal().is_some();
        if !(status.success() || stopped) {
            bail!("it is damaged, no backup, or of another key: {said}");
        }
        Ok(())
    }
}

impl Read for Decrypting {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.0.child.stdout {
            Some(output) => output.read(buffer),
            None => Ok(0),
        }
    }
}
