//! `westwork-gen flash`: to files, to loop devices, and where it must refuse.

#[path = "common/card.rs"]
mod card;
#[path = "common/need.rs"]
mod need;

use card::{BOOT_AT, ROOT_AT, code, image, noise, run, said, text, tree, westwork, with_imager};
use need::{left_out, need};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const TOOLS: [&str; 4] = ["mke2fs", "mkfs.fat", "mcopy", "e2fsck"];

fn same(a: &Path, b: &Path) -> bool {
    // Nothing is printed of files that differ.
    fs::read(a).unwrap() == fs::read(b).unwrap()
}

/// An old card: a file of so many bytes, none of them zero.
fn old_card(path: &Path, size: u64) {
    let file = File::create(path).unwrap();
    for at in (0..size).step_by(1 << 20) {
        let length = usize::try_from((size - at).min(1 << 20)).unwrap();
        file.write_all_at(&vec![0xa5; length], at).unwrap();
    }
}

fn head_is_empty(card: &Path) -> bool {
    let mut head = vec![1; 1 << 20];
    File::open(card)
        .unwrap()
        .read_exact_at(&mut head, 0)
        .unwrap();
    head.iter().all(|byte| *byte == 0)
}

#[test]
fn every_form_becomes_the_raw_image() {
    need!(need::tools(&TOOLS));
    need!(need::tools(&["zstd", "xz", "gzip", "zip"]));
    let dir = tempfile::tempdir().unwrap();
    tree(&dir.path().join("root"));
    let raw = image(&dir.path().join("root"), dir.path(), "a");
    let name = text(&raw);
    run("zstd", &["-q", "-1", name]);
    run("xz", &["-k", "-0", name]);
    run("gzip", &["-k", "-1", name]);
    run("zip", &["-q", "-j", "-1", &format!("{name}.zip"), name]);
    for (n, extension) in ["", ".zst", ".xz", ".gz", ".zip"].iter().enumerate() {
        let new = dir.path().join(format!("new{n}"));
        let out = westwork(&["flash", &format!("{name}{extension}"), text(&new)]);
        assert_eq!(code(&out), 0, "{extension}: {}", said(&out));
        assert!(said(&out).contains("read back"), "{}", said(&out));
        assert!(same(&raw, &new), "{extension}");
    }
    // Over an old card, which is larger: what lies behind the image is left alone.
    let card = dir.path().join("card");
    let size = fs::metadata(&raw).unwrap().len();
    old_card(&card, size + (8 << 20));
    let out = westwork(&["flash", "--yes", &format!("{name}.zst"), text(&card)]);
    assert_eq!(code(&out), 0, "{}", said(&out));
    let bytes = fs::read(&card).unwrap();
    let (image_part, rest) = bytes.split_at(usize::try_from(size).unwrap());
    assert!(image_part == fs::read(&raw).unwrap());
    assert!(rest.iter().all(|byte| *byte == 0xa5));
}

#[test]
fn by_block_map_only_data_is_written_and_a_wrong_map_is_noticed() {
    need!(need::tools(&TOOLS));
    need!(need::tools(&["bmaptool", "debugfs", "mtype", "zstd"]));
    let dir = tempfile::tempdir().unwrap();
    tree(&dir.path().join("root"));
    let raw = image(&dir.path().join("root"), dir.path(), "a");
    let map = dir.path().join("a.bmap");
    run("bmaptool", &["-q", "create", "-o", text(&map), text(&raw)]);
    run("zstd", &["-q", text(&raw)]);
    let card = dir.path().join("card");
    old_card(&card, fs::metadata(&raw).unwrap().len());
    let out = westwork(&[
        "flash",
        "--yes",
        &format!("{}.zst", text(&raw)),
        text(&card),
    ]);
    assert_eq!(code(&out), 0, "{}", said(&out));
    // Holes kept the old card's bytes, and nothing that is in use did.
    assert!(!same(&raw, &card));
    run(
        "e2fsck",
        &["-fn", &format!("{}?offset={ROOT_AT}", text(&card))],
    );
    let line = run(
        "debugfs",
        &[
            "-R",
            "cat /etc/hostname",
            &format!("{}?offset={ROOT_AT}", text(&card)),
        ],
    );
    assert!(line.contains("testpi"), "{line}");
    let line = run(
        "mtype",
        &[
            "-i",
            &format!("{}@@{BOOT_AT}", text(&card)),
            "::/config.txt",
        ],
    );
    assert!(line.contains("kernel=vmlinuz-6.1"), "{line}");

    // One byte of the image is another one now.
    let file = File::options().read(true).write(true).open(&raw).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, ROOT_AT + 1024 + 0x78)
        .unwrap();
    file.write_all_at(&[byte[0] ^ 1], ROOT_AT + 1024 + 0x78)
        .unwrap();
    let out = westwork(&["flash", "--yes", text(&raw), text(&card)]);
    assert_eq!(code(&out), 1, "{}", said(&out));
    assert!(said(&out).contains("block map"), "{}", said(&out));
    assert!(
        head_is_empty(&card),
        "a bad image must not leave a card that looks good"
    );
    // And a map that was edited.
    let edited = fs::read_to_string(&map)
        .unwrap()
        .replacen("</Range>", " </Range>", 1);
    fs::write(&map, edited).unwrap();
    let out = westwork(&["flash", "--yes", text(&raw), text(&card)]);
    assert!(
        said(&out).contains("its own checksum is wrong"),
        "{}",
        said(&out)
    );
}

#[test]
fn killed_in_the_middle_the_card_is_not_a_good_one_and_a_second_run_is() {
    need!(need::tools(&TOOLS));
    need!(need::tools(&["sfdisk"]));
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    tree(&root);
    noise(&root.join("noise"), 64);
    let raw = image(&root, dir.path(), "a");
    // The card has a good image already, though an inverted one behind the table.
    let card = dir.path().join("card");
    let mut old: Vec<u8> = fs::read(&raw).unwrap();
    old[1 << 20..].iter_mut().for_each(|byte| *byte = !*byte);
    fs::write(&card, &old).unwrap();
    run("sfdisk", &["-d", text(&card)]);
    let probe = ROOT_AT + (24 << 20);
    for signal in ["KILL", "INT"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_westwork-gen"))
            .args(["flash", "--yes", text(&raw), text(&card)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Until the middle is on the card.
        let file = File::open(&card).unwrap();
        let begun = Instant::now();
        let mut byte = [0; 64];
        let at = usize::try_from(probe).unwrap();
        loop {
            file.read_exact_at(&mut byte, probe).unwrap();
            if byte != old[at..at + 64] {
                break;
            }
            assert!(child.try_wait().unwrap().is_none(), "it ended too early");
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "nothing was written"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        run("kill", &["-s", signal, &child.id().to_string()]);
        let ended = child.wait().unwrap();
        assert_eq!(ended.code(), (signal == "INT").then_some(130), "{ended}");
        assert!(head_is_empty(&card), "after SIG{signal}");
        let table = Command::new("sfdisk")
            .arg("-d")
            .arg(&card)
            .output()
            .unwrap();
        assert!(!table.status.success(), "a table was found");
        // The middle is old again, for the next one.
        File::options()
            .write(true)
            .open(&card)
            .unwrap()
            .write_all_at(&old[at..at + 64], probe)
            .unwrap();
    }
    let out = westwork(&["flash", "--yes", text(&raw), text(&card)]);
    assert_eq!(code(&out), 0, "{}", said(&out));
    assert!(same(&raw, &card));
    // A new file is there complete or not at all.
    assert!(fs::read_dir(dir.path()).unwrap().all(|e| {
        !e.unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with(".flash")
    }));
}

#[test]
fn what_will_not_do_is_refused_before_anything_is_written() {
    need!(need::tools(&TOOLS));
    let dir = tempfile::tempdir().unwrap();
    tree(&dir.path().join("root"));
    let raw = image(&dir.path().join("root"), dir.path(), "a");
    let small = dir.path().join("small");
    let size = fs::metadata(&raw).unwrap().len();
    old_card(&small, size - (3 << 20));
    let right = dir.path().join("right");
    old_card(&right, size);
    let nowhere = dir.path().join("no/where");
    let new = dir.path().join("new");
    for (args, words) in [
        (
            &["--yes", text(&raw), text(&small)][..],
            "too small by 3 MiB",
        ),
        (&[text(&raw), text(&right)][..], "add --yes"),
        (&["--yes", text(&raw), text(&raw)][..], "the image itself"),
        (
            &["--yes", text(&raw), text(dir.path())][..],
            "neither a disk nor a file",
        ),
        (
            &["--yes", text(&raw), text(&nowhere)][..],
            "directory does not exist",
        ),
        (
            &["--yes", text(&raw), "/dev/null"][..],
            "neither a disk nor a file",
        ),
        (
            &["--yes", text(&raw), "/dev/no-such-disk"][..],
            "no such device",
        ),
        (
            &["--yes", text(&nowhere), text(&small)][..],
            "no such image",
        ),
        (
            &["--size", "1M", text(&raw), text(&new)][..],
            "too small by",
        ),
        (
            &["--size", "1M", text(&raw), text(&small)][..],
            "not there yet",
        ),
        (
            &[
                "--hostname",
                "x_",
                "--user",
                "Root",
                "--country",
                "gb",
                text(&raw),
                text(&new),
            ][..],
            "gb is not a country",
        ),
        (
            &["--hostname", "x", text(&raw), text(&new)][..],
            "does not take settings",
        ),
    ] {
        let out = westwork(&[&["flash"], args].concat());
        assert_eq!(code(&out), 2, "{args:?}: {}", said(&out));
        assert!(said(&out).contains(words), "{args:?}: {}", said(&out));
    }
    assert!(!new.exists());
    for untouched in [&small, &right] {
        assert!(
            fs::read(untouched)
                .unwrap()
                .iter()
                .all(|byte| *byte == 0xa5)
        );
    }
    let out = westwork(&["flash", text(&raw)]);
    assert_eq!(code(&out), 0, "{}", said(&out));
    let text = said(&out);
    assert!(
        text.contains("write with:") || text.contains("no removable disk"),
        "{text}"
    );
}

#[test]
fn settings_arrive_on_the_boot_partition() {
    need!(need::tools(&TOOLS));
    need!(need::tools(&["mtype", "fsck.vfat", "zstd"]));
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    tree(&root);
    with_imager(&root);
    let raw = image(&root, dir.path(), "a");
    run("zstd", &["-q", text(&raw)]);
    let file = |name: &str, text: &str| {
        fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name).to_str().unwrap().to_owned()
    };
    let (password, wifi) = (file("pw", "it's $ecret\n"), file("wifi", "long enough\n"));
    let key = file(
        "id.pub",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGOuxk/R9+LJSF46qiptoBKJQyMk80tw49Ih8anV+/G2 me@here\n",
    );
    let card = dir.path().join("card");
    let settings = [
        "--hostname",
        "kitchen",
        "--user",
        "ann",
        "--password-file",
        &password,
        "--ssh-key",
        &key,
        "--wifi",
        "it's mine",
        "--wifi-password-file",
        &wifi,
        "--country",
        "GB",
        "--timezone",
        "Europe/London",
    ];
    let zst = format!("{}.zst", text(&raw));
    let out = westwork(
        &[
            &["flash", &zst, text(&card), "--size", "200M"],
            &settings[..],
        ]
        .concat(),
    );
    assert_eq!(code(&out), 0, "{}", said(&out));
    assert_eq!(fs::metadata(&card).unwrap().len(), 200 << 20);
    let on_card = format!("{}@@{BOOT_AT}", text(&card));
    let script = run("mtype", &["-i", &on_card, "::/firstrun.sh"]);
    for words in [
        "set_hostname' 'kitchen'",
        "userconf 'ann' '$6$",
        "'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGOuxk/R9+LJSF46qiptoBKJQyMk80tw49Ih8anV+/G2 me@here'",
        "'set_wlan' 'it'\\''s mine' '",
        "' 'GB'",
        "'Europe/London'",
    ] {
        assert!(script.contains(words), "{words} in {script}");
    }
    assert!(
        !script.contains("ecret") && !script.contains("long enough"),
        "{script}"
    );
    let line = run("mtype", &["-i", &on_card, "::/cmdline.txt"]);
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(
        line.contains(
            "-02 rootwait systemd.run=/boot/firstrun.sh systemd.run_success_action=reboot"
        ),
        "{line}"
    );
    // Nothing else of the card is another, and the FAT is in order.
    let (a, b) = (fs::read(&raw).unwrap(), fs::read(&card).unwrap());
    let boot = usize::try_from(BOOT_AT).unwrap()..usize::try_from(ROOT_AT).unwrap();
    assert!(a[..boot.start] == b[..boot.start] && a[boot.end..] == b[boot.end..a.len()]);
    let fat = dir.path().join("fat");
    fs::write(&fat, &b[boot]).unwrap();
    run("fsck.vfat", &["-n", text(&fat)]);
    // A second time over the first: still one line, one start.
    let out = westwork(&["flash", "--yes", &zst, text(&card), "--hostname", "cellar"]);
    assert_eq!(code(&out), 0, "{}", said(&out));
    assert!(run("mtype", &["-i", &on_card, "::/firstrun.sh"]).contains("cellar"));
    let out = westwork(&[
        "flash",
        "--yes",
        &zst,
        text(&card),
        "--timezone",
        "Europe/Atlantis",
    ]);
    assert_eq!(code(&out), 2, "{}", said(&out));
}

/// A loop device over a file, let go at the end.
struct Loop(String);

impl Loop {
    /// An error where none can be had.
    fn new(file: &Path) -> Result<Self, String> {
        let out = Command::new("losetup")
            .args(["-f", "--show"])
            .arg(file)
            .output()
            .unwrap();
        match out.status.success() {
            true => Ok(Self(String::from_utf8_lossy(&out.stdout).trim().to_owned())),
            false => Err(format!("no loop device can be had: {}", said(&out).trim())),
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.0]).status();
    }
}

#[test]
fn a_real_device_is_written_and_a_mounted_one_is_refused() {
    need!(need::tools(&TOOLS));
    need!(need::tools(&["losetup", "unshare"]));
    let dir = tempfile::tempdir().unwrap();
    tree(&dir.path().join("root"));
    let raw = image(&dir.path().join("root"), dir.path(), "a");
    let backing = dir.path().join("backing");
    old_card(&backing, fs::metadata(&raw).unwrap().len() + (4 << 20));
    run("mke2fs", &["-q", "-F", "-t", "ext4", text(&backing)]);
    let before = fs::read(&backing).unwrap();
    let device = Loop::new(&backing);
    need!(device.as_ref().map(|_| ()).map_err(String::clone));
    let device = device.unwrap();
    let mount = dir.path().join("mnt");
    fs::create_dir(&mount).unwrap();
    // Seen in the mount table; then by the kernel alone, from another mount namespace.
    let program = env!("CARGO_BIN_EXE_westwork-gen");
    let script = "mount -o ro \"$1\" \"$2\" || exit 77; shift 2; exec \"$@\" </dev/null";
    let flash = [program, "flash", "--yes", text(&raw), &device.0];
    let out = Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh", &device.0, text(&mount)])
        .args(flash)
        .output()
        .unwrap();
    if code(&out) == 77 {
        need!(Err(format!(
            "nothing can be mounted: {}",
            said(&out).trim()
        )));
    }
    assert_eq!(code(&out), 2, "{}", said(&out));
    assert!(said(&out).contains("is mounted at"), "{}", said(&out));
    let script = "mount -o ro \"$1\" \"$2\" && echo ready && exec sleep 60";
    let mut holder = Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh", &device.0, text(&mount)])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(holder.stdout.take().unwrap()),
        &mut ready,
    )
    .unwrap();
    let out = westwork(&flash[1..]);
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(code(&out), 2, "{}", said(&out));
    assert!(said(&out).contains("in use"), "{}", said(&out));
    assert!(
        before == fs::read(&backing).unwrap(),
        "a refused disk was written to"
    );

    let out = westwork(&flash[1..]);
    assert_eq!(code(&out), 0, "{}", said(&out));
    assert!(said(&out).contains("can be taken out"), "{}", said(&out));
    drop(device);
    let (a, b) = (fs::read(&raw).unwrap(), fs::read(&backing).unwrap());
    assert!(a[..] == b[..a.len()]);
}

#[test]
fn the_disk_that_holds_the_system_is_refused() {
    // Judging needs no rights; without them, not even a fault could do any harm.
    let root = Command::new("findmnt")
        .args(["-no", "SOURCE", "/"])
        .output()
        .unwrap();
    let root = String::from_utf8_lossy(&root.stdout).trim().to_owned();
    let own = fs::metadata("/proc/self")
        .map(|facts| std::os::unix::fs::MetadataExt::uid(&facts))
        .unwrap();
    need!(need::tools(&["setpriv"]));
    if !root.starts_with("/dev/") || !Path::new(&root).exists() {
        left_out!("/ lies on {root}, and not on a disk");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    run("chmod", &["755", text(dir.path())]);
    let raw = dir.path().join("a.img");
    fs::write(&raw, vec![0; 4096]).unwrap();
    // The program, where everyone may run it.
    let program = dir.path().join("westwork-gen");
    fs::copy(env!("CARGO_BIN_EXE_westwork-gen"), &program).unwrap();
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let out = Command::new("setpriv")
        .args(if own == 0 { &nobody[..] } else { &[] })
        .arg(&program)
        .args(["flash", "--yes", text(&raw), &root])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(code(&out), 2, "{}", said(&out));
    assert!(
        said(&out).contains("is this machine's /;"),
        "{}",
        said(&out)
    );
}
