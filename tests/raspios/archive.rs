//! Package archives made for the tests: built with dpkg-deb and apt-ftparchive, signed with
//! throw-away keys, served on loopback by a server that can be told to misbehave.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// Runs a program that must succeed, and returns what it printed.
pub(crate) fn run(program: &str, args: &[&str], dir: &Path) -> String {
    let output = Command::new(program)
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}:\n{said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Version of packages that a build must really fetch: the cache of other runs has no such.
pub(crate) fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_nanos().to_string()
    })
}

/// Packs the tree `package` as `deb`, the same each time: caches know packages by their names.
pub(crate) fn pack(package: &Path, deb: &Path) {
    let status = Command::new("dpkg-deb")
        .args(["--root-owner-group", "-Zgzip", "-b"])
        .args([package, deb])
        .env("SOURCE_DATE_EPOCH", "1577836800")
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "dpkg-deb -b {}", package.display());
}

/// A throw-away key with a gpg directory of its own.
pub(crate) struct Key {
    home: TempDir,
    pub(crate) fingerprint: String,
    /// The public key, as keyring packages have it.
    pub(crate) file: PathBuf,
}

impl Key {
    pub(crate) fn new(name: &str) -> Self {
        Self::made(name, &[], "never")
    }

    /// One that has been no good for years.
    pub(crate) fn expired(name: &str) -> Self {
        Self::made(name, &["--faked-system-time", "20200101T000000!"], "1d")
    }

    fn made(name: &str, options: &[&str], expires: &str) -> Self {
        // A socket's path in it must be short.
        let home = TempDir::new().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let mut args = options.to_vec();
        args.extend(["--batch", "--passphrase", ""]);
        args.extend(["--quick-gen-key", name, "rsa2048", "sign", expires]);
        gpg(home.path(), &args);
        let listing = gpg(home.path(), &["--list-keys", "--with-colons"]);
        let line = listing.lines().find(|line| line.starts_with("fpr:"));
        let fingerprint = line.unwrap().split(':').nth(9).unwrap().to_owned();
        let file = home.path().join("archive-keyring.pgp");
        gpg(
            home.path(),
            &["--output", file.to_str().unwrap(), "--export", &fingerprint],
        );
        Self {
            home,
            fingerprint,
            file,
        }
    }

    /// `file` with a signature around it, as `to`.
    fn sign(&self, file: &Path, to: &Path, digest: &str) {
        let _ = fs::remove_file(to);
        let (file, to) = (file.to_str().unwrap(), to.to_str().unwrap());
        let digest = ["--digest-algo", digest];
        let rest = ["--output", to, "--clearsign", file];
        gpg(self.home.path(), &[&digest[..], &rest[..]].concat());
    }
}

impl Drop for Key {
    /// gpg leaves an agent behind in each directory.
    fn drop(&mut self) {
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(self.home.path())
            .args(["--kill", "all"])
            .status();
    }
}

fn gpg(home: &Path, args: &[&str]) -> String {
    let home = home.to_str().unwrap();
    let all = [&["--homedir", home, "--batch", "--quiet"], args].concat();
    run("gpg", &all, Path::new("/"))
}

/// What the server does with a file instead of sending it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not there.
    Gone,
    /// It has the right length and other contents.
    Changed,
    /// Nothing comes after the header, this many times.
    Stalls(usize),
}

/// An archive with its server.
pub(crate) struct Archive {
    dir: TempDir,
    suite: String,
    components: &'static [&'static str],
    architectures: &'static [&'static str],
    pub(crate) address: String,
    faults: Arc<Mutex<BTreeMap<String, Fault>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Archive {
    pub(crate) fn new(
        suite: &str,
        components: &'static [&'static str],
        architectures: &'static [&'static str],
    ) -> Self {
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::create_dir(dir.path().join("pool")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let archive = Self {
            address: format!("http://{}/archive", listener.local_addr().unwrap()),
            suite: suite.to_owned(),
            components,
            architectures,
            faults: Arc::default(),
            asked: Arc::default(),
            dir,
        };
        let root = archive.dir.path().to_owned();
        let (faults, asked) = (Arc::clone(&archive.faults), Arc::clone(&archive.asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (root, faults) = (root.clone(), Arc::clone(&faults));
                let asked = Arc::clone(&asked);
                // A client that goes away is no failure of the server.
                std::thread::spawn(move || {
                    let _ = serve(&stream, &root, &faults, &asked);
                });
            }
        });
        archive
    }

    pub(crate) fn pool(&self) -> PathBuf {
        self.dir.path().join("pool")
    }

    /// From now on, `fault` for files whose name begins with `name`.
    pub(crate) fn fault(&self, name: &str, fault: Fault) {
        self.faults.lock().unwrap().insert(name.to_owned(), fault);
    }

    /// How often files whose name begins with `name` were asked for.
    pub(crate) fn asked(&self, name: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|file| file.starts_with(name)).count()
    }

    /// Makes a package out of fields of its control file and its files, scripts among them as
    /// `DEBIAN/postinst` and executables by their first line.
    pub(crate) fn package(&self, fields: &str, files: &[(&str, &str)]) {
        let tree = TempDir::new().unwrap();
        let root = tree.path().join("package");
        let field = |name: &str, default: &str| {
            let line = fields.lines().find_map(|line| line.strip_prefix(name));
            line.map_or_else(|| default.to_owned(), |value| value.trim().to_owned())
        };
        let mut control = fields.trim().to_owned() + "\n";
        for (name, default) in [
            ("Version:", version()),
            ("Architecture:", "all"),
            ("Maintainer:", "Nobody <nobody@example.org>"),
            ("Description:", "made for a test"),
        ] {
            if !fields.lines().any(|line| line.starts_with(name)) {
                control += &format!("{name} {default}\n");
            }
        }
        for (path, text) in [("DEBIAN/control", control.as_str())].iter().chain(files) {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let (name, arch) = (field("Package:", ""), field("Architecture:", "all"));
        let version = field("Version:", version()).replace(':', "-");
        let file = self.pool().join(format!("{name}_{version}_{arch}.deb"));
        pack(&root, &file);
    }

    /// Writes the index and signs it.
    pub(crate) fn publish(&self, key: &Key) {
        self.publish_with(key, "SHA512");
    }

    pub(crate) fn publish_with(&self, key: &Key, digest: &str) {
        let root = self.dir.path();
        let dists = root.join("dists").join(&self.suite);
        for component in self.components {
            for arch in self.architectures {
                let dir = dists.join(component).join(format!("binary-{arch}"));
                fs::create_dir_all(&dir).unwrap();
                let text = if *component == "main" {
                    run(
                        "apt-ftparchive",
                        &["--arch", arch, "packages", "pool"],
                        root,
                    )
                } else {
                    String::new()
                };
                fs::write(dir.join("Packages"), text).unwrap();
            }
        }
        let options = [
            ("Suite", self.suite.clone()),
            ("Codename", self.suite.clone()),
            ("Components", self.components.join(" ")),
            ("Architectures", self.architectures.join(" ")),
        ]
        .map(|(name, value)| format!("-oAPT::FTPArchive::Release::{name}={value}"));
        let mut args: Vec<&str> = options.iter().map(String::as_str).collect();
        args.extend(["release", "."]);
        for file in ["Release", "InRelease"] {
            let _ = fs::remove_file(dists.join(file));
        }
        let release = run("apt-ftparchive", &args, &dists);
        fs::write(dists.join("Release"), release).unwrap();
        key.sign(&dists.join("Release"), &self.in_release(), digest);
    }

    pub(crate) fn in_release(&self) -> PathBuf {
        self.dir
            .path()
            .join("dists")
            .join(&self.suite)
            .join("InRelease")
    }
}

/// Answers the requests of one connection.
fn serve(
    stream: &TcpStream,
    root: &Path,
    faults: &Mutex<BTreeMap<String, Fault>>,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut out = stream;
    while let Some(request) = lines.next() {
        let request = request?;
        // No header of a request matters here.
        for line in lines.by_ref() {
            if line?.is_empty() {
                break;
            }
        }
        let path = request.split(' ').nth(1).unwrap_or_default();
        let path = decode(path.strip_prefix("/archive/").unwrap_or_default());
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        asked.lock().unwrap().push(name.clone());
        let fault = {
            let mut faults = faults.lock().unwrap();
            let found = faults
                .iter_mut()
                .find(|(start, _)| name.starts_with(*start));
            match found {
                Some((_, Fault::Stalls(0))) | None => None,
                Some((_, Fault::Stalls(times))) => {
                    *times -= 1;
                    Some(Fault::Stalls(*times))
                }
                Some((_, fault)) => Some(*fault),
            }
        };
        let file = fs::read(root.join(&path))
            .ok()
            .filter(|_| fault != Some(Fault::Gone));
        let Some(mut body) = file else {
            out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        };
        write!(
            out,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )?;
        match fault {
            Some(Fault::Stalls(_)) => {
                std::thread::sleep(Duration::from_secs(20));
                return Ok(());
            }
            Some(Fault::Changed) => body.iter_mut().for_each(|byte| *byte ^= 1),
            _ => {}
        }
        out.write_all(&body)?;
    }
    Ok(())
}

/// A path with `%2b` and the like as it is on the disk.
fn decode(path: &str) -> String {
    let mut parts = path.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at(2.min(part.len()));
        bytes.extend(u8::from_str_radix(digits, 16));
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

const HOOK: &str = r#"#!/bin/sh -e
# As the real one does: the firmware's files, and each kernel under its board's name.
cp /usr/lib/raspi-firmware/* /boot/firmware/
for kernel in /boot/vmlinuz-*; do
	case "$kernel" in
	*-v6) name= ;;
	*-v7) name=7 ;;
	*-v8) name=8 ;;
	*-2712) name=_2712 ;;
	*) continue ;;
	esac
	cp "$kernel" "/boot/firmware/kernel$name.img"
	initrd="/boot/initrd.img-${kernel#/boot/vmlinuz-}"
	[ ! -e "$initrd" ] || cp "$initrd" "/boot/firmware/initramfs$name"
done
"#;

/// The packages of the Raspberry Pi archive that the stages name, with the relations they have
/// there, and as little in them as goes.
pub(crate) fn raspberrypi(suite: &str) -> Archive {
    let archive = Archive::new(suite, &["main"], &["arm64", "armhf"]);
    archive.package(
        "Package: raspi-firmware\nVersion: 1:1.20991231-1\nMulti-Arch: foreign",
        &[
            ("usr/lib/raspi-firmware/bootcode.bin", "boot"),
            ("usr/lib/raspi-firmware/start.elf", "start"),
            ("usr/lib/raspi-firmware/start4.elf", "start"),
            ("etc/kernel/postinst.d/z50-raspi-firmware", HOOK),
            ("boot/firmware/.keep", ""),
        ],
    );
    for (flavour, arch) in [
        ("v6", "armhf"),
        ("v7", "armhf"),
        ("v8", "arm64"),
        ("2712", "arm64"),
    ] {
        let version = format!("6.12.99+rpt-rpi-{flavour}");
        let postinst = format!(
            "#!/bin/sh -e\nexport DEB_MAINT_PARAMS=\"$*\"\nexec run-parts --report --exit-on-error --arg={version} --arg=/boot/vmlinuz-{version} /etc/kernel/postinst.d\n"
        );
        archive.package(
            &format!(
                "Package: linux-image-{version}\nVersion: 1:6.12.99-1+rpt1\nArchitecture: {arch}\nDepends: initramfs-tools, raspi-firmware"
            ),
            &[
                (&format!("boot/vmlinuz-{version}"), "kernel"),
                (&format!("boot/config-{version}"), "CONFIG_RD_ZSTD=y\n"),
                (&format!("usr/lib/modules/{version}/modules.order"), ""),
                (&format!("usr/lib/modules/{version}/modules.builtin"), ""),
                ("DEBIAN/postinst", &postinst),
            ],
        );
        archive.package(
            &format!(
                "Package: linux-image-rpi-{flavour}\nVersion: 1:6.12.99-1+rpt1\nArchitecture: {arch}\nDepends: linux-image-{version} (= 1:6.12.99-1+rpt1)"
            ),
            &[],
        );
    }
    if suite != "bookworm" {
        archive.package(
            "Package: rpi-swap\nVersion: 1.0-1\nDepends: systemd-zram-generator",
            &[("usr/lib/systemd/system-generators/rpi-swap", "#!/bin/sh\n")],
        );
        archive.package("Package: rpi-loop-utils\nVersion: 20991231", &[]);
        archive.package("Package: rpi-cloud-init-mods\nVersion: 20991231", &[]);
    }
    archive.package("Package: cloud-init\nVersion: 9.20991231", &[]);
    archive.package(
        "Package: raspi-copies-and-fills\nVersion: 20991231\nArchitecture: armhf",
        &[(
            "etc/ld.so.preload",
            "/usr/lib/arm-linux-gnueabihf/libarmmem-${PLATFORM}.so\n",
        )],
    );
    archive.package(
        "Package: raspi-config\nVersion: 20991231\nDepends: parted",
        &[],
    );
    for name in [
        "raspberrypi-sys-mods",
        "raspberrypi-net-mods",
        "firmware-atheros",
        "firmware-libertas",
        "firmware-mediatek",
        "firmware-realtek",
        "rpi-eeprom",
        "rpi-keyboard-config",
        "rpi-update",
        "rpicam-apps-lite",
        "userconf-pi",
    ] {
        archive.package(&format!("Package: {name}\nVersion: 20991231"), &[]);
    }
    for arch in ["arm64", "armhf"] {
        archive.package(
            &format!("Package: raspi-utils\nVersion: 20991231-1\nArchitecture: {arch}"),
            &[],
        );
    }
    archive
}
