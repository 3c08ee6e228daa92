//! The tree's own stages 0 to 2 as Raspberry Pi OS, to an image.

use crate::archive::{Archive, Key, raspberrypi, run};
use crate::common::{Tree, cache, host_mirror, release};
use std::fs;
use std::path::{Path, PathBuf};

const STAGES: [&str; 3] = ["stages/stage0", "stages/stage1", "stages/stage2"];
/// Compilers would double the time, and nothing in them differs.
const LEFT_OUT: &str = "stages/stage2/05-dev/SKIP";

/// The tree's lite stages with a config for `archive`.
fn tree(arch: &str, config: &str, archive: &Archive, key: &Key) -> Tree {
    let tree = Tree::new(arch);
    fs::create_dir(tree.dir.join("stages")).unwrap();
    for stage in STAGES {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(stage);
        let to = tree.dir.join(stage);
        let args = ["-a", from.to_str().unwrap(), to.to_str().unwrap()];
        run("cp", &args, Path::new("/"));
    }
    tree.file(LEFT_OUT, "");
    let common = format!(
        "IMG_NAME=Pi\nIMG_DATE=2026-01-31\nARCH={arch}\nDISTRO=raspios\nDEPLOY_COMPRESSION=none\n\
         RASPBERRYPI_MIRROR={}\nRASPBERRYPI_FINGERPRINT={}\nRASPBERRYPI_KEY='{}'\n",
        archive.address,
        key.fingerprint,
        key.file.display()
    );
    tree.file("config", &(common + config));
    tree
}

/// What the image of `tree` must have whatever its architecture: its boot files, packages and
/// sources are Raspberry Pi OS's. Returns the texts of its information file and of config.txt.
fn look_into(tree: &Tree, kernels: &[&str], archive: &Archive) -> (String, String) {
    let image = tree.dir.join("deploy/2026-01-31-Pi-lite.img");
    let table: serde_json::Value = serde_json::from_str(&run(
        "sfdisk",
        &["--json", image.to_str().unwrap()],
        Path::new("/"),
    ))
    .unwrap();
    let start = |number: usize| {
        let partition = &table["partitiontable"]["partitions"][number];
        partition["start"].as_u64().unwrap() * 512
    };
    let boot = format!("{}@@{}", image.display(), start(0));
    let files = run("mdir", &["-b", "-i", &boot, "::"], Path::new("/"));
    for kernel in kernels {
        let initramfs = kernel.replace("kernel", "initramfs");
        for file in [&format!("{kernel}.img"), &initramfs] {
            let line = format!("::/{file}");
            assert!(files.lines().any(|found| found == line), "{file}: {files}");
        }
    }
    let cmdline = run("mtype", &["-i", &boot, "::cmdline.txt"], Path::new("/"));
    assert!(cmdline.contains("root=PARTUUID="), "{cmdline}");
    let root = format!("{}?offset={}", image.display(), start(1));
    let cat = |path: &str| {
        run(
            "debugfs",
            &["-R", &format!("cat {path}"), &root],
            Path::new("/"),
        )
    };
    let sources = cat("/etc/apt/sources.list.d/raspi.sources");
    assert!(sources.contains(&archive.address), "{sources}");
    assert!(
        sources.contains("Signed-By: /usr/share/keyrings/raspberrypi-archive-keyring.pgp"),
        "{sources}"
    );
    // Raspberry Pi's swap comes with its own settings, where there is one.
    let own = cat("/etc/systemd/zram-generator.conf").is_empty();
    assert_eq!(own, release("arm64") != "bookworm");
    let info = fs::read_to_string(tree.dir.join("deploy/2026-01-31-Pi-lite.info")).unwrap();
    for package in [
        "raspi-config",
        "raspberrypi-sys-mods",
        "rpi-update",
        "rpi-eeprom",
        "rpicam-apps-lite",
        "raspi-utils",
        "userconf-pi",
        "firmware-mediatek",
    ] {
        assert!(info.contains(package), "{package} is not in the image");
    }
    let lock = fs::read_to_string(tree.dir.join("westwork.lock")).unwrap();
    assert!(
        lock.contains(&archive.address),
        "the archive is not in the lock file"
    );
    let settings = run("mtype", &["-i", &boot, "::config.txt"], Path::new("/"));
    let overlay = settings.contains("dtoverlay=nospi10");
    assert_eq!(overlay, release("arm64") != "bookworm", "{settings}");
    // The file that programs of the build must not preload has its name again.
    let preload = cat("/etc/ld.so.preload");
    assert_eq!(
        !preload.is_empty(),
        kernels.contains(&"kernel7"),
        "{preload}"
    );
    (info, settings)
}

#[test]
fn arm64_is_debian_with_the_raspberry_pi_archive() {
    let key = Key::new("The Raspberry Pi archive");
    let archive = raspberrypi(release("arm64"));
    archive.publish(&key);
    let config = format!("RELEASE={}\nexport EXTRA_SUITES=\n", release("arm64"));
    let tree = tree("arm64", &config, &archive, &key);
    println!("{}", tree.build(&["--timings"]));
    let (info, settings) = look_into(&tree, &["kernel8", "kernel_2712"], &archive);
    assert!(!info.contains("raspi-copies-and-fills"), "{info}");
    // A Pi 3 would look for a 32-bit kernel.
    assert!(settings.contains("arm_64bit=1"), "{settings}");
}

#[test]
fn armhf_is_raspbian_with_the_raspberry_pi_archive() {
    let (key, base_key) = (Key::new("The Raspberry Pi archive"), Key::new("Raspbian"));
    let suite = match release("armhf") {
        "stable" => "trixie",
        named => named,
    };
    let archive = raspberrypi(suite);
    archive.publish(&key);
    let base = Archive::new(suite, &["main", "contrib", "non-free", "rpi"], &["armhf"]);
    for deb in armhf_packages() {
        let name = deb
            .file_name()
            .unwrap()
            .to_string_lossy()
            .replace("%3a", ":");
        std::os::unix::fs::symlink(&deb, base.pool().join(name)).unwrap();
    }
    base.publish(&base_key);
    // The packages are Debian's after all, so an ARMv6 does not do.
    let config = format!(
        "RELEASE={suite}\nENABLE_CLOUD_INIT=1\nMIRROR={}\nRASPBIAN_FINGERPRINT={}\nRASPBIAN_KEY='{}'\nQEMU_CPU=cortex-a7\n",
        base.address,
        base_key.fingerprint,
        base_key.file.display()
    );
    let tree = tree("armhf", &config, &archive, &key);
    println!("{}", tree.build(&["--timings"]));
    // A Pi 4 starts the 64-bit kernel.
    let (info, settings) = look_into(&tree, &["kernel", "kernel7", "kernel8"], &archive);
    assert!(!settings.contains("arm_64bit"), "{settings}");
    for (package, arch) in [
        ("raspi-copies-and-fills", ""),
        ("cloud-init", ""),
        ("linux-image-rpi-v8", " arm64"),
    ] {
        let start = format!("{package} ");
        let is_it = |line: &str| line.starts_with(&start) && line.ends_with(arch);
        assert!(info.lines().any(is_it), "{package}{arch}: {info}");
    }
}

/// Debian's packages for stages 0 to 2, which stand for Raspbian's.
fn armhf_packages() -> Vec<PathBuf> {
    let dir = match release("armhf") {
        "bookworm" => cache().join("raspbian-bookworm"),
        _ => cache().join("raspbian"),
    };
    let archives = dir.join("archives");
    for name in ["etc/apt", "lists/partial", "archives/partial"] {
        fs::create_dir_all(dir.join(name)).unwrap();
    }
    // What other tests have downloaded need not be again.
    for entry in fs::read_dir(cache().join("packages/armhf"))
        .into_iter()
        .flatten()
        .flatten()
    {
        // NAME.deb.SHA256
        let name = entry.path().file_stem().unwrap().to_owned();
        if name.to_string_lossy().ends_with(".deb") {
            let _ = fs::hard_link(entry.path(), archives.join(name));
        }
    }
    let source = format!(
        "deb [arch=armhf signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {} {} main non-free-firmware\n",
        host_mirror(),
        release("armhf")
    );
    fs::write(dir.join("sources.list"), source).unwrap();
    let options = [
        format!("Dir::Etc={}", dir.join("etc/apt").display()),
        format!("Dir::Etc::sourcelist={}/sources.list", dir.display()),
        "Dir::Etc::sourceparts=/dev/null".to_owned(),
        format!("Dir::State::lists={}/lists", dir.display()),
        "Dir::State::status=/dev/null".to_owned(),
        format!("Dir::Cache={}", dir.display()),
        "APT::Architecture=armhf".to_owned(),
        "APT::Architectures=armhf".to_owned(),
        "Acquire::Languages=none".to_owned(),
        "Acquire::GzipIndexes=false".to_owned(),
        "APT::Sandbox::User=root".to_owned(),
    ];
    let options: Vec<&str> = options.iter().flat_map(|option| ["-o", option]).collect();
    let apt = |args: &[&str]| run("apt-get", &[&options[..], args].concat(), Path::new("/"));
    apt(&["update", "--error-on=any"]);
    let mut names: Vec<String> = [
        "?priority(required)",
        "?priority(important)",
        // What scripts name, or others depend on.
        "systemd-zram-generator",
        "tasksel",
        "udisks2",
        "v4l-utils",
        "ifupdown",
        "dhcpcd-base",
    ]
    .map(str::to_owned)
    .into();
    for stage in STAGES {
        names.extend(listed(Path::new(stage)));
    }
    let names = names.iter().map(String::as_str);
    let install = ["install", "--yes", "--no-install-recommends"];
    let args: Vec<&str> = install.into_iter().chain(names).collect();
    apt(&[&args[..], &["--download-only"]].concat());
    // Only what was chosen now: older versions may lie beside it.
    let chosen = apt(&[
        &args[..],
        &[
            "--print-uris",
            "--reinstall",
            "-oDir::Cache::archives=/nonexistent",
        ],
    ]
    .concat());
    let files = chosen.lines().filter(|line| line.starts_with('\''));
    files
        .filter_map(|line| line.split(' ').nth(1))
        .map(|file| archives.join(file))
        .collect()
}

/// The packages that the lists of a stage name, of those that Raspbian has.
fn listed(stage: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(stage))
        .unwrap()
        .flatten()
    {
        if entry.path().ends_with("05-dev") {
            continue;
        }
        for list in ["00-packages", "00-packages-nr"] {
            let text = fs::read_to_string(entry.path().join(list)).unwrap_or_default();
            let words = text
                .lines()
                .filter_map(|line| line.split('#').next())
                .flat_map(str::split_whitespace);
            names.extend(
                words
                    .filter(|word| *word != "raspi-firmware")
                    .map(str::to_owned),
            );
        }
    }
    names
}
