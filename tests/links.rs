//! Links, FIFOs and hard links in a tree are the image's business: what they lead to on the build
//! machine stays as it is, byte for byte, and they are in the image as they were in the tree.

#[path = "common/mod.rs"]
mod common;

use common::{PROGRAM, ROOT, Tree, both, debugfs};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A directory of the build machine that no tree may touch.
struct Machine {
    dir: tempfile::TempDir,
}

/// Mode, owner, time of the last change to the contents, and the contents.
type State = BTreeMap<PathBuf, (u32, u32, i64, Vec<u8>)>;

impl Machine {
    fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("machine-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .unwrap();
        for (path, text) in [
            ("log/syslog", "precious"),
            ("log/deep/er/file", "precious"),
            ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
            ("etc/fstab", "BOOTDEV ROOTDEV /\n"),
            ("etc/raspi-gpio", "ROOTDEV\n"),
            ("etc/resolv.conf", "nameserver 192.0.2.1\n"),
            ("etc/temp.list", "deb http://192.0.2.7/temp x main\n"),
            ("ssh/ssh_host_rsa_key", "secret"),
            ("xml/catalog.old", "old"),
            ("apt/mirror.list", "deb http://old.example/debian x main\n"),
            ("boot/firmware/cmdline.txt", "root=ROOTDEV rootwait\n"),
            ("data/precious/file", "precious"),
            (
                "hard/fstab",
                "BOOTDEV /boot/firmware vfat x 0 2\nROOTDEV / ext4 x 0 1\n",
            ),
            (
                "dpkg/status",
                "Package: host\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n",
            ),
            ("copyright", "of the machine"),
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        }
        Self { dir }
    }

    fn path(&self, path: &str) -> String {
        self.dir.path().join(path).to_str().unwrap().to_owned()
    }

    fn state(&self) -> State {
        let mut state = State::new();
        for entry in walkdir::WalkDir::new(self.dir.path()).sort_by_file_name() {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            let bytes = match meta.is_file() {
                true => fs::read(entry.path()).unwrap(),
                false => Vec::new(),
            };
            let facts = (meta.mode(), meta.uid(), meta.mtime(), bytes);
            state.insert(entry.path().to_owned(), facts);
        }
        assert!(state.len() > 20);
        state
    }
}

/// A tree on the disk and the export of it, which nobody has finalised.
struct Plain {
    dir: tempfile::TempDir,
}

impl Plain {
    fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("plain-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .unwrap();
        let plain = Self { dir };
        let fstab = "BOOTDEV /boot/firmware vfat x 0 2\nROOTDEV / ext4 x 0 1\n";
        plain.file("etc/fstab", fstab);
        plain.file("boot/firmware/cmdline.txt", "root=ROOTDEV rootwait\n");
        fs::create_dir(plain.dir.path().join("out")).unwrap();
        plain
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("root").join(path)
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, path: &str, target: impl AsRef<Path>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if path.exists() || path.is_symlink() {
            fs::remove_file(&path)
                .or_else(|_| fs::remove_dir_all(&path))
                .unwrap();
        }
        symlink(target, path).unwrap();
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("out/test.img")
    }

    /// Exports within a minute, or fails: a FIFO must not be waited for.
    fn export(&self, settings: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        command.args(["60", PROGRAM, "internal", "export"]);
        command.args(["--set", "BOOT_SIZE=64M", "--set", "DEPLOY_COMPRESSION=none"]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        command.arg(self.path("")).arg(self.dir.path().join("out"));
        command
            .args(["--name", "test"])
            .current_dir(self.dir.path());
        let began = Instant::now();
        let output = command.output().unwrap();
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{}",
            both(&output)
        );
        output
    }
}

#[test]
fn an_export_writes_and_reads_inside_the_tree_only() {
    let machine = Machine::new();
    let before = machine.state();
    let plain = Plain::new();
    // Absolute and relative, at the end and on the way.
    plain.link("etc/fstab", "/data/etc/fstab");
    plain.file("data/etc/fstab", "ROOTDEV / ext4 x 0 1\n");
    plain.link("etc/default", machine.path("etc"));
    plain.link("var/lib/dpkg", machine.path("dpkg"));
    plain.link("usr/share/doc", "../../usr/share/papers");
    plain.link("usr/share/papers", machine.path(""));
    let output = plain.export(&[]);
    assert!(output.status.success(), "{}", both(&output));
    assert_eq!(machine.state(), before);
    let image = plain.image();
    let fstab = debugfs(&image, ROOT, "cat /data/etc/fstab");
    assert!(fstab.contains("PARTUUID="), "{fstab}");
    for (path, target) in [
        ("/etc/fstab", "/data/etc/fstab".to_owned()),
        ("/usr/share/doc", "../../usr/share/papers".to_owned()),
        ("/etc/default", machine.path("etc")),
    ] {
        let stat = debugfs(&image, ROOT, &format!("stat {path}"));
        assert!(stat.contains("Type: symlink"), "{path}: {stat}");
        if target.len() < 60 {
            assert!(stat.contains(&format!("\"{target}\"")), "{path}: {stat}");
        }
    }
    let info = fs::read_to_string(plain.dir.path().join("out/test.info")).unwrap();
    assert!(!info.contains("host"), "{info}");
}

#[test]
fn fifos_and_hard_links_are_no_way_out_either() {
    let machine = Machine::new();
    let before = machine.state();
    let plain = Plain::new();
    let fifo = |path: &str| {
        fs::create_dir_all(plain.path(path).parent().unwrap()).unwrap();
        let made = Command::new("mkfifo").arg(plain.path(path)).status();
        assert!(made.unwrap().success());
    };
    fifo("etc/default/raspi-x");
    fifo("usr/share/doc/a/copyright");
    plain.file(
        "var/lib/dpkg/status",
        "Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n",
    );
    fs::remove_file(plain.path("etc/fstab")).unwrap();
    fs::hard_link(machine.path("hard/fstab"), plain.path("etc/fstab")).unwrap();
    // Two names of one file in the tree go on being that.
    plain.file("etc/default/raspi", "ROOTDEV\n");
    fs::hard_link(plain.path("etc/default/raspi"), plain.path("etc/other")).unwrap();
    let output = plain.export(&[]);
    assert!(output.status.success(), "{}", both(&output));
    assert_eq!(machine.state(), before);
    let image = plain.image();
    for path in ["/etc/fstab", "/etc/other"] {
        let text = debugfs(&image, ROOT, &format!("cat {path}"));
        assert!(text.contains("PARTUUID="), "{path}: {text}");
    }
    let stat = debugfs(&image, ROOT, "stat /etc/other");
    assert!(stat.contains("Links: 2"), "{stat}");
    assert!(debugfs(&image, ROOT, "stat /etc/default/raspi-x").contains("Type: FIFO"));
    for place in ["boot/firmware/cmdline.txt", "var/lib/dpkg/status"] {
        // The export before has taken the boot partition's files out of the tree.
        drop(fs::remove_file(plain.path(place)));
        fifo(place);
        let output = plain.export(&[]);
        let text = both(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            text.contains("is not a file") && text.contains(place),
            "{text}"
        );
        fs::remove_file(plain.path(place)).unwrap();
        plain.file(place, "root=ROOTDEV\n");
    }
}

#[test]
fn a_linked_mount_point_is_an_error_and_takes_nothing_of_the_machine() {
    let machine = Machine::new();
    let before = machine.state();
    let extra = "EXTRA_PARTITIONS=share:24M:ext4:/srv/x";
    for (place, target, settings) in [
        ("data", machine.path("data"), vec!["DATA_SIZE=24M"]),
        ("data", "mnt".to_owned(), vec!["DATA_SIZE=24M"]),
        ("srv", machine.path("data"), vec![extra]),
        ("srv/x", "../mnt".to_owned(), vec![extra]),
        ("boot", machine.path("boot"), vec![]),
        ("boot/firmware", "/mnt".to_owned(), vec![]),
    ] {
        let plain = Plain::new();
        plain.file("mnt/cmdline.txt", "root=ROOTDEV\n");
        plain.link(place, &target);
        let output = plain.export(&settings);
        let text = both(&output);
        assert_eq!(output.status.code(), Some(1), "{place}: {text}");
        let line = text.lines().find(|line| line.contains("is a link to"));
        let line = line.unwrap_or_else(|| panic!("{place}: {text}"));
        assert!(
            line.contains(&format!("/{place} is a link to {target}")),
            "{line}"
        );
        assert!(line.contains("make it a directory"), "{line}");
        assert!(!plain.image().exists());
        assert_eq!(machine.state(), before, "{place}");
    }
}

/// A whole build, with what is finalised before the export. Nothing of the tree has to run.
#[test]
fn a_build_leaves_the_machine_alone_and_keeps_the_links() {
    let machine = Machine::new();
    let before = machine.state();
    let tree = Tree::new("arm64");
    let m = machine.path("");
    let m = m.trim_end_matches('/');
    tree.script(
        "stages/stage0/prerun.sh",
        &format!(
            r#"mkdir -p "${{ROOTFS_DIR}}"/{{etc/apt/sources.list.d,usr/sbin,boot/firmware,var/lib,data/log,data/apt}}
cd "${{ROOTFS_DIR}}"
echo 'ROOTDEV / ext4 defaults 0 1' > etc/fstab
echo 'root=ROOTDEV rootwait' > boot/firmware/cmdline.txt
echo x > data/log/x
ln -s /data/log var/log
ln -s '{m}/log' var/tmp
ln -s ../../../../../../../../../../'{m}/log' tmp
ln -s '{m}/etc/machine-id' etc/machine-id
ln -s '{m}/ssh' etc/ssh
ln -s '{m}/xml' etc/xml
ln -s '{m}/etc/resolv.conf' etc/resolv.conf
ln -s '{m}/log' var/cache
ln -s '{m}/dpkg' var/lib/dpkg
ln -s '{m}/apt/mirror.list' etc/apt/sources.list.d/a.list
ln -s /data/apt/b.list etc/apt/sources.list.d/b.list
echo 'deb http://old.example/debian x main' > data/apt/b.list
echo 'deb http://192.0.2.7/temp '"${{RELEASE}}"' main' > etc/apt/sources.list.d/00-temp.list"#
        ),
    );
    tree.file("stages/stage0/EXPORT_IMAGE", "IMG_SUFFIX=-links\n");
    let settings = [
        "BOOT_SIZE=64M",
        "DEPLOY_COMPRESSION=none",
        "TEMP_REPO=deb http://192.0.2.7/temp RELEASE main",
    ];
    let settings: Vec<&str> = settings.iter().flat_map(|set| ["--set", set]).collect();
    // The links have the machine's directory, which is that of the tests and no trace of a build.
    let output = tree.run(&[&["build"], &settings[..]].concat());
    let text = both(&output);
    assert_eq!(machine.state(), before, "{text}");
    assert!(output.status.success(), "{text}");
    let image = tree.dir.join("deploy/2026-01-31-Test-links.img");
    for path in [
        "/var/log",
        "/var/tmp",
        "/tmp",
        "/etc/machine-id",
        "/etc/ssh",
        "/etc/xml",
        "/var/cache",
        "/etc/resolv.conf",
        "/var/lib/dpkg",
        "/etc/apt/sources.list.d/a.list",
    ] {
        let stat = debugfs(&image, ROOT, &format!("stat {path}"));
        assert!(stat.contains("Type: symlink"), "{path}: {stat}");
    }
    let log = debugfs(&image, ROOT, "ls -p /data/log");
    assert!(
        !log.contains("/x/"),
        "the image's own log was not emptied: {log}"
    );
    let sources = debugfs(&image, ROOT, "ls -p /etc/apt/sources.list.d");
    assert!(!sources.contains("00-temp.list"), "{sources}");
}

/// It reads a directory of packages on the machine as well.
const COLLECT: &str = "archives/lockfile/collect.rs";

/// The types leave no way to join a path to a root file system; nobody goes around them.
#[test]
fn nothing_reaches_into_a_root_but_by_its_type() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    // What handles files of the machine: the image, artefacts, tools' own files and requests.
    let machines_own = [
        "export/mod.rs",
        "export/disk/ext4.rs",
        "export/disk/ext4_blocks.rs",
        "export/publish/",
    ];
    let hands = |path: &str| {
        !machines_own.iter().any(|own| path.starts_with(own)) && path != COLLECT
            || ["publish/dpkg.rs", "publish/sbom/"]
                .iter()
                .any(|own| path.contains(own))
    };
    let mut looked_at = 0;
    for entry in walkdir::WalkDir::new(&src) {
        let entry = entry.unwrap();
        let path = entry.path().strip_prefix(&src).unwrap().to_str().unwrap();
        let concerned = path.starts_with("export/") || path == COLLECT;
        if !entry.file_type().is_file() || !concerned || path.ends_with("_tests.rs") {
            continue;
        }
        looked_at += 1;
        let text = fs::read_to_string(entry.path()).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for (number, line) in code.lines().enumerate() {
            let wrong = goes_around(line, hands(path));
            assert!(!wrong, "src/{path}:{}: {line}", number + 1);
        }
    }
    assert!(looked_at > 20, "{looked_at} files");
    for line in [
        "    rootfs: &Path,",
        "let x = request.rootfs.join(\"etc\");",
        "root.join(x)",
    ] {
        assert!(goes_around(line, false), "{line}");
    }
    assert!(goes_around("use walkdir::WalkDir;", true));
    assert!(!goes_around("    rootfs: &'a Root,", true));
}

/// Whether a line of code takes a root file system for a path; in `hands`, which have to do with
/// trees, also whether it walks or writes by paths at all.
fn goes_around(line: &str, hands: bool) -> bool {
    let line = line.split("//").next().unwrap_or_default();
    let root = [
        "rootfs: &Path",
        "root: &Path",
        "rootfs.join(",
        "root.join(",
        "rootfs: PathBuf",
    ];
    let path = [
        "walkdir",
        "fs::write",
        "fs::remove",
        "fs::create_dir",
        "fs::copy",
        "read_dir(",
    ];
    root.iter().any(|way| line.contains(way)) || hands && path.iter().any(|way| line.contains(way))
}
