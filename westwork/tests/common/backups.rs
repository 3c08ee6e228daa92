//! Boxes that can be backed up, backups, and archives that look like some.

use super::{Device, with_input};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tar::EntryType;

const SETTINGS: &str = "domain = 'example.org'\nowner = {name = 'Ada', user = 'ada'}\nwifi = {country = 'DE'}\ncertificate = {kind = 'self-signed'}\n";

/// A new key: its secret half and its public one.
pub fn key() -> (String, String) {
    let made = Command::new("age-keygen").output().expect("age-keygen");
    let text = String::from_utf8(made.stdout).unwrap();
    let line = |part: &str| text.lines().find(|line| line.contains(part)).unwrap();
    let public = line("public key: ").rsplit(' ').next().unwrap();
    (line("AGE-SECRET-KEY-").to_owned(), public.to_owned())
}

pub fn without_key() -> Device {
    with_settings(Device::new())
}

fn with_settings(device: Device) -> Device {
    device.write("data/conf/westwork/settings.toml", SETTINGS);
    device.write("data/conf/westwork/configured", "");
    device.write("data/ldap/data.mdb", "database");
    device.program("usr/sbin/slapcat", "printf 'dn: dc=example,dc=org\\n\\n'");
    device.program("usr/bin/systemctl", "[ \"$1\" != is-active ] || exit 0");
    device
}

/// A box in use, and the key of its backups.
pub fn configured() -> (Device, String) {
    with_key(without_key())
}

/// The same in memory.
pub fn configured_in_memory() -> (Device, String) {
    with_key(with_settings(Device::in_memory()))
}

fn with_key(device: Device) -> (Device, String) {
    let made = device.westwork(&["backup-key"]);
    assert!(made.status.success(), "{}", message(&made));
    std::fs::remove_file(device.path("calls")).unwrap();
    (device, String::from_utf8(made.stdout).unwrap())
}

pub fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn restore(device: &Device, file: &Path, key: &str) -> Output {
    let mut command = device.command(&["restore", file.to_str().unwrap()]);
    with_input(&mut command, key)
}

/// A device with data of every kind, its backup and the key.
pub fn source() -> (Device, PathBuf, String) {
    let (device, key) = configured();
    let mail = "data/mail/example.org/ada/cur/1";
    device.write(mail, "a mail\n");
    for (path, mode) in [("data/mail/example.org", 0o2750), (mail, 0o640)] {
        std::fs::set_permissions(device.path(path), PermissionsExt::from_mode(mode)).unwrap();
    }
    let second = device.path("data/mail/example.org/ada/cur/2");
    std::fs::hard_link(device.path(mail), second).unwrap();
    symlink("../elsewhere", device.path("data/mail/link")).unwrap();
    let long = "long-".repeat(40);
    device.write(&format!("data/mail/{long}/{long}"), "long");
    let hole = std::fs::File::create(device.path("data/mail/hole")).unwrap();
    hole.set_len(8 << 20).unwrap();
    hole.write_at(b"end", 5 << 20).unwrap();
    let _ = xattr::set(device.path(mail), "user.note", b"kept");
    let file = device.path("backup.wwb");
    let output = device.westwork(&["backup", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", message(&output));
    (device, file, key)
}

/// What ordinary programs find in a backup.
pub fn listing(file: &Path, key: &str) -> String {
    unpacked(file, key, &["tz"])
}

/// One text in it.
pub fn member(file: &Path, key: &str, name: &str) -> String {
    unpacked(file, key, &["xzO", name])
}

fn unpacked(file: &Path, key: &str, tar: &[&str]) -> String {
    let line = "file=$1; shift; age -d -i - \"$file\" | tar \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", line, "sh"]).arg(file).args(tar);
    let output = with_input(&mut command, key);
    assert!(output.status.success(), "{}", message(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Encrypts for this key.
pub fn encrypt(path: &Path, public: &str, bytes: &[u8]) {
    let mut age = Command::new("age")
        .args(["-r", public])
        .stdin(Stdio::piped())
        .stdout(std::fs::File::create(path).unwrap())
        .spawn()
        .unwrap();
    age.stdin.take().unwrap().write_all(bytes).unwrap();
    assert!(age.wait().unwrap().success());
}

/// An archive made by hand.
pub struct Forgery(flate2::write::GzEncoder<Vec<u8>>);

impl Forgery {
    pub fn empty() -> Self {
        Self(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::fast(),
        ))
    }

    /// With the head alone.
    pub fn headed(head: &str) -> Self {
        Self::empty().file("westwork-backup.json", head)
    }

    /// With what every archive has.
    pub fn new(head: &str) -> Self {
        Self::headed(head)
            .file("directory.ldif", "dn: dc=example,dc=org\n")
            .member("data", EntryType::Directory, "")
    }

    pub fn file(self, name: &str, text: &str) -> Self {
        self.raw(
            name,
            EntryType::Regular,
            "",
            text.len() as u64,
            text.as_bytes(),
        )
    }

    pub fn member(self, name: &str, kind: EntryType, link: &str) -> Self {
        self.raw(name, kind, link, 0, &[][..])
    }

    /// So many zeros, which are next to nothing when compressed.
    pub fn zeros(self, name: &str, kind: EntryType, size: u64) -> Self {
        self.raw(name, kind, "", size, std::io::repeat(0).take(size))
    }

    /// Says that it has this size, and ends there.
    pub fn claims(self, name: &str, size: u64) -> Self {
        self.raw(name, EntryType::Regular, "", size, &[][..])
    }

    fn raw(
        mut self,
        name: &str,
        kind: EntryType,
        link: &str,
        size: u64,
        mut contents: impl Read,
    ) -> Self {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_760_000_000);
        header.set_size(size);
        header.set_cksum();
        self.0.write_all(header.as_bytes()).unwrap();
        let length = std::io::copy(&mut contents, &mut self.0).unwrap();
        let filling = usize::try_from(length.next_multiple_of(512) - length).unwrap();
        self.0.write_all(&[0; 512][..filling]).unwrap();
        self
    }

    pub fn write(mut self, path: &Path, public: &str) {
        self.0.write_all(&[0; 1024]).unwrap();
        encrypt(path, public, &self.0.finish().unwrap());
    }
}
