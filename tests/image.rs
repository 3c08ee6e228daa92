//! The default image: built, its partitions judged by the usual tools, and booted.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

fn run(program: &str, args: &[&str]) -> (Option<i32>, String) {
    let out = Command::new(program)
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.code(), text)
}

fn good(program: &str, args: &[&str]) -> String {
    let (code, text) = run(program, args);
    assert_eq!(code, Some(0), "{program} {args:?}: {text}");
    text
}

/// Start and length in bytes of the two partitions, and the disk's signature.
fn partitions(image: &Path) -> ([(u64, u64); 2], String) {
    let mut sector = [0; 512];
    File::open(image).unwrap().read_exact(&mut sector).unwrap();
    assert_eq!(sector[510..], [0x55, 0xaa]);
    let number = |at: usize| u32::from_le_bytes(sector[at..at + 4].try_into().unwrap());
    let entry = |n: usize| {
        let at = 446 + 16 * n;
        (
            u64::from(number(at + 8)) * 512,
            u64::from(number(at + 12)) * 512,
        )
    };
    ([entry(0), entry(1)], format!("{:08x}", number(440)))
}

fn image_in(dir: &Path) -> PathBuf {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|ext| ext == "img"))
        .expect("no image")
}

#[test]
fn the_default_image_is_sound_and_boots() {
    let cache = std::env::var_os("WESTWORK_TEST_CACHE").map_or_else(
        || Path::new(env!("CARGO_TARGET_TMPDIR")).join("../test-cache"),
        PathBuf::from,
    );
    fs::create_dir_all(&cache).unwrap();
    let dir = tempfile::Builder::new()
        .prefix("image-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .unwrap();
    let set = |key: &str, path: &Path| format!("{key}={}", path.display());
    let deploy = dir.path().join("deploy");
    let settings = [
        set("WORK_DIR", &dir.path().join("work")),
        set("DEPLOY_DIR", &deploy),
        set("CACHE_DIR", &cache.canonicalize().unwrap()),
        "DEPLOY_COMPRESSION=none".to_owned(),
    ];
    let program = env!("CARGO_BIN_EXE_westwork-gen");
    let mut args = vec!["build", "-c", "config.example", "--timings"];
    for setting in &settings {
        args.extend(["--set", setting]);
    }
    println!("{}", good(program, &args));

    let image = image_in(&deploy);
    let ([boot, root], id) = partitions(&image);
    let fat = dir.path().join("boot.fat");
    let mut source = File::open(&image).unwrap();
    source.seek(SeekFrom::Start(boot.0)).unwrap();
    std::io::copy(&mut source.take(boot.1), &mut File::create(&fat).unwrap()).unwrap();
    let fat = fat.to_str().unwrap();
    good("fsck.vfat", &["-n", fat]);
    let listed = good("mdir", &["-b", "-i", fat, "::"]);
    for name in ["config.txt", "cmdline.txt", "vmlinuz", "initrd.img"] {
        assert!(listed.contains(name), "no {name} in:\n{listed}");
    }
    let cmdline = good("mtype", &["-i", fat, "::cmdline.txt"]);
    assert!(
        cmdline.contains(&format!("root=PARTUUID={id}-02")),
        "{cmdline}"
    );

    let at = format!("{}?offset={}", image.display(), root.0);
    good("e2fsck", &["-fn", &at]);
    let fstab = good("debugfs", &["-R", "cat /etc/fstab", &at]);
    for part in ["-01", "-02"] {
        assert!(fstab.contains(&format!("PARTUUID={id}{part}")), "{fstab}");
    }
    let machine_id = good("debugfs", &["-R", "stat /etc/machine-id", &at]);
    assert!(
        machine_id.contains("Size: 0") || machine_id.contains("File not found"),
        "{machine_id}"
    );
    let keys = good("debugfs", &["-R", "ls -p /etc/ssh", &at]);
    assert!(!keys.contains("ssh_host_"), "{keys}");

    let before = good("sha256sum", &[image.to_str().unwrap()]);
    let said = good(program, &["boot", "--test", image.to_str().unwrap()]);
    println!("{said}");
    let size: u64 = said
        .lines()
        .find_map(|line| line.strip_prefix("root file system: "))
        .and_then(|rest| rest.split(' ').next())
        .expect("no size of the root file system")
        .parse()
        .unwrap();
    assert!(size > 6000, "the root file system did not grow: {size} MiB");
    assert_eq!(before, good("sha256sum", &[image.to_str().unwrap()]));
}
